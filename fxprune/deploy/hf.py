"""An ordinary Hugging Face folder of the slim model, checked by loading it back."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from fxprune.atomic import move_files
from fxprune.deploy.config_solver import changed_fields, solve_config
from fxprune.deploy.parity import output_tensors, worst_error
from fxprune.deploy.quiet import quiet
from fxprune.errors import DeployError
from fxprune.shapes import second_shape

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Iterator, Mapping, Set

    from torch import Tensor
    from transformers import PretrainedConfig, PreTrainedModel

    from fxprune.deploy.size_classes import SizeClasses
    from fxprune.shapes import Dims

    Weights = Mapping[str, Tensor]
    Runs = list[tuple[dict[str, Any], dict[str, Tensor]]]  # inputs, and what the slim model makes of them


@dataclass(frozen=True, slots=True, kw_only=True)
class HfExport:
    """What was written, and how close its outputs are to those of the slim graph."""

    folder: Path
    files: tuple[Path, ...]
    model_class: str
    changed: Mapping[str, tuple[Any, Any]]  # config field -> (dense, slim)
    variant: int  # which weights fitted: 0 as given, i + 1 the i-th variant
    max_error: float  # relative to the largest output
    tried: int = field(default=1)  # configs and weights built until one fitted


def save_hf(
    model_cls: type[PreTrainedModel],
    config: PretrainedConfig,
    state_dict: Weights,
    folder: str | os.PathLike[str],
    *,
    reference: Callable[[dict[str, Any]], Any],
    example_kwargs: Mapping[str, Any],
    hints: Mapping[int, Set[int]] | None = None,
    variants: Iterable[Weights] = (),
    tokenizer: Any = None,
    tolerance: float = 1e-4,
    classes: SizeClasses | None = None,
    dims: Dims | None = None,
) -> HfExport:
    """Write `folder` so that ``from_pretrained`` gives the slim model without fxprune; other files in it stay.

    Every config that gives the slim shapes is tried with every set of weights until the outputs agree, at the shape
    of the examples and at another batch and length.

    Args:
        model_cls: the class of the dense model.
        config: its config.
        state_dict: slim weights by the names of the class; tied names may be left out.
        folder: made if missing.
        reference: runs the slim model on keyword arguments and returns its outputs.
        example_kwargs: such arguments.
        hints: see `solve_config`.
        variants: other weights of the same shapes that may be needed, for example with a pinned attention scale
            absorbed into the query weights.
        tokenizer: saved beside the model, if given.
        tolerance: largest difference allowed, relative to the largest output.
        classes: from `size_classes`, if already known.
        dims: the dimensions the slim model leaves free, if not those of `dynamic_shapes`.
    Raises:
        DeployError: no config has these shapes, or none of those that have them gives these outputs.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in state_dict.items()}
    configs = solve_config(model_cls, config, shapes, hints, classes)
    runs = _runs(reference, example_kwargs, dims)
    model, variant, tried = _first_match(model_cls, configs, [state_dict, *variants], runs, tolerance)
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target, prefix=".hf-") as temporary:
        _save(model, tokenizer, Path(temporary))
        error = _reloaded_error(model_cls, Path(temporary), model.device, runs, tolerance)
        files = move_files(Path(temporary), target)
    return HfExport(
        folder=target,
        files=tuple(files),
        model_class=model_cls.__name__,
        changed=changed_fields(config, model.config),
        variant=variant,
        max_error=error,
        tried=tried,
    )


def _runs(reference: Callable[[dict[str, Any]], Any], example_kwargs: Mapping[str, Any], dims: Dims | None) -> Runs:
    """Record what the slim model makes of the examples and of a ragged batch of another size."""
    inputs = [dict(example_kwargs), second_shape(example_kwargs, dims)]
    with torch.no_grad():
        return [(kwargs, output_tensors(reference(kwargs))) for kwargs in inputs]


def _first_match(
    model_cls: type[PreTrainedModel],
    configs: Iterator[PretrainedConfig],
    weights: list[Weights],
    runs: Runs,
    tolerance: float,
) -> tuple[PreTrainedModel, int, int]:
    """Return the first model with the outputs of the slim graph, which weights it has, and how many were tried."""
    best, tried = float("inf"), 0
    for config in configs:
        for variant, state in enumerate(weights):
            tried += 1
            model = _load(model_cls, config, state)
            error = _error(model, runs, stop_at=tolerance)
            if error <= tolerance:
                return model, variant, tried
            best = min(best, error)
    raise DeployError(
        f"{tried} combinations of config and weights of {model_cls.__name__} have the slim shapes, none its outputs",
        cause=f"the closest is {best:.1e} away, {tolerance:.0e} is allowed",
        remedy="use the .pt2 or ONNX file, or plan with fewer kinds of cuts",
    )


def _load(model_cls: type[PreTrainedModel], config: PretrainedConfig, state: Weights) -> PreTrainedModel:
    """Build the class with these weights; names left out must be tied to names that are there."""
    from transformers.initialization import no_init_weights

    with quiet(), no_init_weights():
        model = model_cls(config)
    model.tie_weights()
    dtype = next((tensor.dtype for tensor in state.values() if tensor.is_floating_point()), None)
    model.eval().to(dtype=dtype, device=next(iter(state.values())).device)
    own = model.state_dict()
    loaded = {own[name].data_ptr() for name in state if name in own}
    missing = [name for name, tensor in own.items() if name not in state and tensor.data_ptr() not in loaded]
    if missing:
        raise DeployError(f"the slim weights lack {missing[0]!r}", remedy="pass the whole state dict of the slim model")
    model.load_state_dict(state, strict=False)
    return model


def _error(model: PreTrainedModel, runs: Runs, stop_at: float = float("inf")) -> float:
    """Return the largest error over all runs; a model that cannot run has an infinite one."""
    worst = 0.0
    for kwargs, want in runs:
        try:
            with torch.no_grad(), quiet():
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
    return {name: value for name, value in outputs.items() if isinstance(value, torch.Tensor | tuple | list)}


def _save(model: PreTrainedModel, tokenizer: Any, folder: Path) -> None:
    with quiet():
        model.save_pretrained(folder)
        if tokenizer is not None:
            tokenizer.save_pretrained(folder)


def _reloaded_error(
    model_cls: type[PreTrainedModel], folder: Path, device: torch.device, runs: Runs, tolerance: float
) -> float:
    """Return the error of the saved model, loaded as a user would."""
    try:
        with quiet():
            model = model_cls.from_pretrained(folder).eval().to(device)
    except Exception as err:
        raise DeployError("the saved Hugging Face folder cannot be loaded", cause=str(err).splitlines()[0]) from err
    error = _error(model, runs)
    if error > tolerance:
        raise DeployError(
            "the saved Hugging Face folder loads as another model",
            cause=f"its outputs are {error:.1e} away, {tolerance:.0e} is allowed",
            remedy="use the .pt2 or ONNX file",
        )
    return error
