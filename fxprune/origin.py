"""Where a captured model came from: what is needed to write it out as what it was."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.utils._pytree import tree_map_only


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
