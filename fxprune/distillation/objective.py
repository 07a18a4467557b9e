"""Objectives: what the student is trained on besides its teacher's features, found from the graph and the tokenizer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor
from torch.fx import GraphModule, Node

from fxprune.calls import is_tensor, operand_nodes, shape_of
from fxprune.distillation.batch import Batch
from fxprune.distillation.causality import looks_ahead
from fxprune.distillation.losses import IGNORED
from fxprune.distillation.packing import mask_tokens
from fxprune.distillation.spans import corrupted
from fxprune.errors import UsageError
from fxprune.groups import byproducts, feature_outputs
from fxprune.inference import output_values

__all__ = ["Batch", "Objective", "find_objective"]

aten = torch.ops.aten
RESHAPES = {aten.view.default, aten.reshape.default, aten.contiguous.default, aten.to.dtype, aten.alias.default}

MASKED, CAUSAL, SEQ2SEQ, FEATURES = "masked LM", "causal LM", "sequence to sequence", "features"
SEQUENCES, TOKENS, IMAGES, REGRESSION = (
    "sequence classification",
    "token classification",
    "image classification",
    "regression",
)
CLASSES = (SEQUENCES, TOKENS, IMAGES, REGRESSION)

_CHOICES: Mapping[str, tuple[str, ...]] = {
    "masked-lm": (MASKED,),
    "causal-lm": (CAUSAL,),
    "seq2seq": (SEQ2SEQ,),
    "features": (FEATURES,),
    "classification": CLASSES,
}
_TEXT = {"input_ids", "attention_mask", "token_type_ids"}
_PAIRS = {"input_ids", "attention_mask", "decoder_input_ids", "decoder_attention_mask"}
_PIXELS = {"pixel_values"}


@dataclass(frozen=True, slots=True)
class Objective:
    """How a batch is prepared, and which output holds the logits.

    Attributes:
        name: masked LM, causal LM, sequence to sequence, features, sequence or token or image classification, or
            regression.
        logits: place of the logits among the outputs; None for features.
        inputs: names of the model's inputs.
        classes: how many the logits tell apart; None for words.
        labelled: whether the data say what is right; else classes are only compared with the teacher's.
        class_names: where the model has them.
        start: token its decoder starts with, if it has one.
        pixels: (channels, height, width) of the images it takes, if it does.
        exact: whether the model was captured at one length, and takes texts of no other.
    """

    name: str
    logits: int | None
    inputs: tuple[str, ...]
    classes: int | None = None
    labelled: bool = True
    class_names: tuple[str, ...] = ()
    start: int | None = None
    pixels: tuple[int, int, int] | None = None
    exact: bool = False

    def prepare(self, batch: Mapping[str, Tensor], tokenizer: Any, generator: Generator, probability: float) -> Batch:
        """Mask, shift or corrupt one batch of token ids."""
        if self.start is not None:
            return self.picked(corrupted(batch["input_ids"], tokenizer, self.start, generator, probability))
        ids = batch["input_ids"]
        labels = None
        if self.name == MASKED:
            ids, labels = mask_tokens(ids, tokenizer, generator, probability)
        elif self.name == CAUSAL:
            labels = torch.cat([ids[:, 1:], torch.full_like(ids[:, :1], IGNORED)], 1)
        return self.picked(Batch({**batch, "input_ids": ids, "token_type_ids": torch.zeros_like(ids)}, labels))

    def picked(self, batch: Batch) -> Batch:
        """Return `batch` with the inputs the model takes, in its order, and with labels if there are predictions."""
        inputs = {name: batch.inputs[name] for name in self.inputs}
        return Batch(inputs, None if self.logits is None else batch.labels, real=batch.real)


def find_objective(gm: GraphModule, tokenizer: Any, wanted: str = "auto") -> Objective:
    """Choose the objective of a captured model.

    A language-model head is an output as wide as the table the token ids are looked up in: with a decoder input it is
    one of sequences to sequences; with a mask token in the vocabulary, and predictions that depend on later tokens, a
    masked one; else a causal one. An output that is no feature and has one row a sequence or image holds classes (one
    class: a regression), and so does one that has a row a token. What is left is distilled on its features.

    Args:
        gm: captured.
        tokenizer: None for images.
        wanted: "auto", or the one to take: masked-lm, causal-lm, seq2seq, features or classification.
    Raises:
        UsageError: the model takes other inputs than text or images provide, or `wanted` does not fit it.
    """
    inputs = tuple(str(node.target) for node in gm.graph.nodes if node.op == "placeholder")
    _check_inputs(inputs)
    found = _fitting(gm, inputs, tokenizer)
    if wanted == "auto":
        return found[0]
    chosen = [objective for objective in found if objective.name in _CHOICES[wanted]]
    if not chosen:
        fits = [name for name, names in _CHOICES.items() if {each.name for each in found} & set(names)]
        raise UsageError(
            f"the objective {wanted!r} does not fit the model",
            cause=_why_not(wanted, inputs, found, tokenizer),
            remedy=f"what fits: {', '.join(fits)}",
        )
    return chosen[0]


def _check_inputs(inputs: tuple[str, ...]) -> None:
    for known, needed in ((_PIXELS, "pixel_values"), (_TEXT, "input_ids"), (_PAIRS, "decoder_input_ids")):
        if needed in inputs and known.issuperset(inputs):
            return
    strange = [name for name in inputs if name not in _TEXT | _PIXELS] or [_main(inputs)]
    together = {"input_ids", "pixel_values"} <= set(inputs)
    raise UsageError(
        "the model takes text and images together"
        if together
        else f"the model needs the input {strange[0]!r}, which neither text nor images give",
        remedy="distil a model that takes input_ids and attention_mask, with decoder_input_ids or without, or "
        "pixel_values; use `fxprune prune` for others",
    )


def _fitting(gm: GraphModule, inputs: tuple[str, ...], tokenizer: Any) -> list[Objective]:
    """Return the objectives that fit, the best first."""
    found = []
    place = _language_head(gm)
    if place is not None and "decoder_input_ids" in inputs:
        found.append(Objective(SEQ2SEQ, place, inputs))
    elif place is not None:
        names = [CAUSAL]
        if getattr(tokenizer, "mask_token_id", None) is not None:  # some tokenizers of decoders have one too
            names = [CAUSAL, MASKED] if looks_ahead(gm, place) is False else [MASKED, CAUSAL]
        found += [Objective(name, place, inputs) for name in names]
    elif "decoder_input_ids" not in inputs:
        found += _class_heads(gm, inputs)
    return [*found, Objective(FEATURES, None, inputs)]


def free_places(objective: Objective, gm: GraphModule) -> frozenset[int]:
    """Return the outputs a student may narrow: features, where they are not all a model is wanted for."""
    return feature_outputs(gm) if objective.name == FEATURES else byproducts(gm)


def _language_head(gm: GraphModule) -> int | None:
    rows = {
        shape_of(table.meta["val"])[0]
        for node in gm.graph.nodes
        if node.target is aten.embedding.default
        for table, ids in [operand_nodes(node)[:2]]
        if table is not None and ids is not None and _is_input_ids(ids)
    }
    for place, node in enumerate(output_values(gm)):
        if is_tensor(node) and len(shape_of(node.meta["val"])) == 3 and shape_of(node.meta["val"])[-1] in rows:
            return place
    return None


def _class_heads(gm: GraphModule, inputs: tuple[str, ...]) -> list[Objective]:
    """Return an objective for each output that holds classes."""
    (main,) = (node for node in gm.graph.nodes if node.op == "placeholder" and node.target == _main(inputs))
    entered = main.meta["val"].shape
    features, found = feature_outputs(gm), []
    for place, node in enumerate(output_values(gm)):
        shape = node.meta["val"].shape if is_tensor(node) else ()
        if place in features or not shape or not isinstance(shape[-1], int) or str(shape[0]) != str(entered[0]):
            continue
        if len(shape) == 2:
            one = IMAGES if "pixel_values" in inputs else SEQUENCES
            found.append(Objective(REGRESSION if shape[-1] == 1 else one, place, inputs, shape[-1]))
        elif len(shape) == 3 and "input_ids" in inputs and str(shape[1]) == str(entered[1]) and shape[-1] > 1:
            found.append(Objective(TOKENS, place, inputs, shape[-1]))
    return found


def _main(inputs: tuple[str, ...]) -> str:
    return "pixel_values" if "pixel_values" in inputs else "input_ids"


def _why_not(wanted: str, inputs: tuple[str, ...], found: list[Objective], tokenizer: Any) -> str:
    names = {objective.name for objective in found}
    if "decoder_input_ids" in inputs and wanted != "seq2seq":
        return "it has an encoder and a decoder"
    if wanted == "masked-lm" and CAUSAL in names:
        return "its tokenizer has no mask token"
    if wanted == "seq2seq":
        return "it takes no decoder_input_ids"
    if wanted == "classification":
        return "no output has a row of classes for each sequence, token or image"
    return "no output is as wide as the table its token ids are looked up in"


def _is_input_ids(node: Node) -> bool:
    """Tell whether `node` is the token ids: some models view them as (-1, length) before they look them up."""
    while node.target in RESHAPES:
        assert isinstance(node.args[0], Node)
        node = node.args[0]
    return node.op == "placeholder" and node.target in ("input_ids", "decoder_input_ids")
