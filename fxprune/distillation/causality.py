"""Whether a language model sees the tokens after the one it is asked for, found by running it."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.fx import GraphModule
from torch.utils._pytree import tree_leaves

from fxprune.calls import shape_of
from fxprune.inference import output_values

_ROWS, _LENGTH, _IDS = 3, 9, 32  # of the trial, where the graph leaves rows and length open; ids are below that
_NOTHING = 1e-3  # of the change at the changed token


def looks_ahead(gm: GraphModule, place: int) -> bool | None:
    """Change the last token of a text: do the predictions in front of it change?

    Args:
        gm: captured; takes token ids, and masks or segments beside them.
        place: of the logits among the outputs, (batch, length, vocabulary).
    Returns:
        None where that cannot be tried: without weights, or if nothing changes at all.
    """
    if any(tensor.is_meta for tensor in (*gm.parameters(), *gm.buffers())):
        return None
    device = next((tensor.device for tensor in gm.parameters()), torch.device("cpu"))
    sizes = {node.target: shape_of(node.meta["val"]) for node in gm.graph.nodes if node.op == "placeholder"}
    shape = [
        size if isinstance(size, int) else usual
        for size, usual in zip(sizes["input_ids"], (_ROWS, _LENGTH), strict=True)
    ]
    width = shape_of(output_values(gm)[place].meta["val"])[-1]
    words = min(_IDS, width) if isinstance(width, int) else _IDS
    ids = torch.randint(words, shape, generator=torch.Generator().manual_seed(0)).to(device)
    others = {
        name: torch.zeros_like(ids) if name == "token_type_ids" else torch.ones_like(ids)
        for name in sizes
        if name != "input_ids"
    }
    changed = ids.clone()
    changed[:, -1] = (ids[:, -1] + 1) % words
    with torch.no_grad():
        before, after = (_tensors(gm(**{"input_ids": given, **others}))[place] for given in (ids, changed))
    change = (before - after).abs().amax((0, 2)).float()
    if not change[-1] > 0:
        return None
    return bool(change[:-1].max() > _NOTHING * change[-1])


def _tensors(output: object) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]
