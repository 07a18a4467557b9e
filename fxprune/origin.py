"""Where a captured model came from: what is needed to write it out as what it was."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from fxprune.shapes import batch_size, frees_batch, length_of
from fxprune.traced import FIXED, Traced


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """The class and config of the dense model, inputs it runs on, and how it generates, if it does."""

    model_class: type[nn.Module]
    config: Any | None
    example_kwargs: Mapping[str, Any]
    generation: Any | None = None

    @classmethod
    def of(cls, model: nn.Module, example_kwargs: Mapping[str, Any]) -> Origin:
        """Read it off the user's model, which is not kept."""
        return cls(
            model_class=type(model),
            config=copy.deepcopy(getattr(model, "config", None)),
            example_kwargs=tree_map_only(Tensor, lambda tensor: tensor.detach().clone(), dict(example_kwargs)),
            generation=copy.deepcopy(getattr(model, "generation_config", None)),
        )


def only_length(traced: Traced) -> int | None:
    """Return the tokens of the only texts that a graph with a fixed length takes; None if its length is free."""
    return length_of(traced.meta["origin"].example_kwargs) if traced.provenance.rung == FIXED else None


def only_batch(traced: Traced) -> int | None:
    """Return the rows of the only inputs that a graph with a fixed batch takes; None if its batch is free."""
    dims = dict(traced.provenance.dynamic)
    return None if not dims or frees_batch(dims) else batch_size(traced.meta["origin"].example_kwargs)
