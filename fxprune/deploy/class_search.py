"""Of the configs with the slim shapes, the one with the slim outputs, and the weights it needs."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor

from fxprune.deploy.parity import output_tensors, worst_error
from fxprune.errors import DeployError
from fxprune.quiet import quiet
from fxprune.verify.compare import same_draws

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Set

    from transformers import PretrainedConfig, PreTrainedModel

    from fxprune.deploy.class_graph import Fit

    Weights: TypeAlias = Mapping[str, Tensor]

Runs: TypeAlias = list[tuple[dict[str, Any], dict[str, Tensor]]]  # inputs, and what the slim model makes of them


@dataclass(frozen=True, slots=True)
class Found:
    model: PreTrainedModel
    variant: int
    error: float
    fit: Fit | None = None


@dataclass
class ClassSearch:
    """Looks for the config and weights with the outputs of the slim graph."""

    model_cls: type[PreTrainedModel]
    dense: PretrainedConfig
    weights: list[Weights]
    runs: Runs
    tolerance: float
    tried: int = 0

    def best(self, configs: Iterator[PretrainedConfig], fit: Callable[[PreTrainedModel], Fit] | None) -> Found:
        """Return the first model that fits by its graph, or else the one with the closest outputs."""
        refused: list[PretrainedConfig] = []
        reasons: list[str] = []
        for config in configs:
            if fit is not None:
                try:
                    return self._fitted(config, fit)
                except DeployError as error:
                    reasons.append(f"{error.message}: {error.cause}")
            refused.append(config)
        found = min(
            (found for config in refused for found in self._unfitted(config, graph=fit is not None)),
            key=lambda one: one.error,
            default=None,
        )
        if found is not None and found.error <= self.tolerance:
            return found
        closest = f"the closest is {found.error:.1e} away, {self.tolerance:.0e} is allowed" if found else "none runs"
        raise DeployError(
            f"{self.tried} combinations of config and weights of {self.model_cls.__name__} have the slim shapes, "
            "none its outputs",
            cause="; ".join([closest, *reasons[:1]]),
            remedy="use the .pt2 or ONNX file, or plan with fewer kinds of cuts",
        )

    def _fitted(self, config: PretrainedConfig, fit: Callable[[PreTrainedModel], Fit]) -> Found:
        fitted = fit(self._built(config))
        model = self._built(config, random=bool(fitted.unread))
        _fill(model, fitted.weights, fitted.unread)
        self.tried += 1
        error = output_error(model, self.runs)
        if error > self.tolerance:
            raise DeployError(
                "the class computes other outputs", cause=f"{error:.1e} away, {self.tolerance:.0e} is allowed"
            )
        return Found(model, int(bool(fitted.folded)), error, fitted)

    def _unfitted(self, config: PretrainedConfig, *, graph: bool) -> Iterator[Found]:
        """Try all weights; those of a graph hold nothing that no output depends on."""
        for variant, state in enumerate(self.weights):
            self.tried += 1
            model = self._built(config, random=graph)
            _fill(model, state, model.state_dict().keys() if graph else frozenset())
            yield Found(model, variant, output_error(model, self.runs))

    def _built(self, config: PretrainedConfig, *, random: bool = False) -> PreTrainedModel:
        """Build the class with undefined weights, or with those it starts from."""
        from transformers.initialization import no_init_weights

        config = copy.deepcopy(config)
        config._attn_implementation = self.dense._attn_implementation
        with quiet(), nullcontext() if random else no_init_weights(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = self.model_cls(config)
        model.tie_weights()
        like = next(tensor for tensor in self.weights[0].values() if tensor.is_floating_point())
        return model.eval().to(dtype=like.dtype, device=like.device)


def _fill(model: PreTrainedModel, state: Weights, unread: Set[str] = frozenset()) -> None:
    """Load these weights; names left out must be tied to names that are there, or not be read."""
    own = model.state_dict()
    loaded = {own[name].data_ptr() for name in state if name in own}
    missing = [name for name, tensor in own.items() if name not in state and tensor.data_ptr() not in loaded]
    if lacking := [name for name in missing if name not in unread]:
        raise DeployError(f"the slim weights lack {lacking[0]!r}", remedy="pass the whole state dict of the slim model")
    model.load_state_dict(state, strict=False)


def output_error(model: PreTrainedModel, runs: Runs, stop_at: float = float("inf")) -> float:
    """Return the largest error over all runs; a model that cannot run has an infinite one."""
    worst = 0.0
    for kwargs, want in runs:
        try:
            with same_draws(), quiet():
                got = output_tensors(_without_cache(model(**kwargs)))
            worst = max(worst, worst_error({name: got[name] for name in want if name in got}, want))
        except (RuntimeError, ValueError, TypeError, IndexError, DeployError):
            # a config with the right shapes may still be wrong: heads that do not divide, other output shapes
            return float("inf")
        if worst > stop_at:
            break
    return worst


def _without_cache(outputs: Any) -> dict[str, Any]:
    """Drop what the class returns beside tensors: the slim graph was captured without a cache."""
    kept = torch.Tensor | tuple | list | Mapping  # a model of two towers returns the outputs of each
    return {name: value for name, value in outputs.items() if isinstance(value, kept)}
