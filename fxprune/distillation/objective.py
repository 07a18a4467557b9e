"""Objectives: what the student is trained on besides its teacher's features, found from the graph and the tokenizer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Generator, Tensor
from torch.fx import GraphModule, Node

from fxprune.calls import is_tensor, operand_nodes, shape_of
from fxprune.distillation.losses import IGNORED
from fxprune.distillation.packing import mask_tokens
from fxprune.errors import UsageError
from fxprune.groups import byproducts, feature_outputs
from fxprune.inference import output_values

aten = torch.ops.aten
RESHAPES = {aten.view.default, aten.reshape.default, aten.contiguous.default, aten.to.dtype, aten.alias.default}

MASKED, CAUSAL, FEATURES = "masked LM", "causal LM", "features"


@dataclass(frozen=True, slots=True)
class Objective:
    """How a batch is prepared, and which output holds the logits.

    Attributes:
        name: masked LM, causal LM or features.
        logits: place of the logits among the outputs; None without a language-model head.
        inputs: names of the model's inputs.
    """

    name: str
    logits: int | None
    inputs: tuple[str, ...]

    def prepare(self, batch: Mapping[str, Tensor], tokenizer: Any, generator: Generator, probability: float) -> Batch:
        """Mask or shift one batch of token ids."""
        ids = batch["input_ids"]
        labels = None
        if self.name == MASKED:
            ids, labels = mask_tokens(ids, tokenizer, generator, probability)
        elif self.name == CAUSAL:
            labels = torch.cat([ids[:, 1:], torch.full_like(ids[:, :1], IGNORED)], 1)
        given = {**batch, "input_ids": ids, "token_type_ids": torch.zeros_like(ids)}
        return Batch({name: given[name] for name in self.inputs}, labels)


@dataclass(frozen=True, slots=True)
class Whole:
    """What a part knows of the batch it belongs to: a mean over the batch is a sum over its parts."""

    rows: int
    labelled: int


@dataclass(frozen=True, slots=True)
class Batch:
    """Inputs by name, and labels (batch, length) with -100 where there is none.

    Attributes:
        inputs: each with one row a sequence.
        labels: likewise; None without a task.
        of: the batch it is a part of; None: it is whole.
        first: place of its first row there.
    """

    inputs: Mapping[str, Tensor]
    labels: Tensor | None
    of: Whole | None = None
    first: int = 0

    @property
    def whole(self) -> Whole:
        """The batch it is a part of, or itself."""
        if self.of is not None:
            return self.of
        return Whole(self.rows, 0 if self.labels is None else int((self.labels != IGNORED).sum()))

    @property
    def rows(self) -> int:
        """Sequences in it."""
        return len(next(iter(self.inputs.values())))

    @property
    def share(self) -> float:
        """Its sequences, as a fraction of the whole."""
        return self.rows / self.whole.rows

    @property
    def labelled(self) -> Tensor:
        """Places of the labelled positions in the flattened (batch, length)."""
        assert self.labels is not None
        return torch.nonzero(self.labels.flatten() != IGNORED)[:, 0]

    @property
    def picked_labels(self) -> Tensor:
        """Labels of those positions, (n,)."""
        assert self.labels is not None
        return self.labels.flatten()[self.labelled]

    def part(self, first: int, last: int) -> Batch:
        """Return the rows from `first` to before `last`."""
        inputs = {name: tensor[first:last] for name, tensor in self.inputs.items()}
        labels = None if self.labels is None else self.labels[first:last]
        return Batch(inputs, labels, self.whole, self.first + first)

    def parts(self, rows: int | None) -> Iterator[Batch]:
        """Yield parts of at most `rows` sequences; none if there is no sequence."""
        for first in range(0, self.rows, rows or max(self.rows, 1)):
            yield self.part(first, first + (rows or self.rows))

    def to(self, device: torch.device) -> Batch:
        """Move to a device."""
        return replace(
            self,
            inputs={name: tensor.to(device) for name, tensor in self.inputs.items()},
            labels=None if self.labels is None else self.labels.to(device),
        )


def parts_of_one(batches: Sequence[Batch]) -> list[Batch]:
    """Return several batches as parts of a single one, whose rows may differ in length: their means become its mean."""
    wholes = [batch.whole for batch in batches]
    whole = Whole(sum(each.rows for each in wholes), sum(each.labelled for each in wholes))
    return [replace(batch, of=whole) for batch in batches]


def find_objective(gm: GraphModule, tokenizer: Any) -> Objective:
    """Choose the objective of a captured text model.

    A language-model head is an output as wide as the table the token ids are looked up in. With a mask token in the
    vocabulary it is a masked one, else a causal one.

    Raises:
        UsageError: the model takes other inputs than text provides.
    """
    inputs = tuple(str(node.target) for node in gm.graph.nodes if node.op == "placeholder")
    strange = [name for name in inputs if name not in ("input_ids", "attention_mask", "token_type_ids")]
    if strange or "input_ids" not in inputs:
        raise UsageError(
            f"the model needs the input {(strange or ['input_ids'])[0]!r}, which text alone does not give",
            remedy="distil a model that takes input_ids and attention_mask; use `fxprune prune` for others",
        )
    place = _language_head(gm)
    if place is None:
        return Objective(FEATURES, None, inputs)
    return Objective(MASKED if tokenizer.mask_token_id is not None else CAUSAL, place, inputs)


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


def _is_input_ids(node: Node) -> bool:
    """Tell whether `node` is the token ids: some models view them as (-1, length) before they look them up."""
    while node.target in RESHAPES:
        assert isinstance(node.args[0], Node)
        node = node.args[0]
    return node.op == "placeholder" and node.target == "input_ids"
