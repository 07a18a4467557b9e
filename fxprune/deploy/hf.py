"""An ordinary Hugging Face folder of the slim model, checked by loading it back."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from fxprune.atomic import move_files
from fxprune.deploy.class_search import ClassSearch, output_error
from fxprune.deploy.config_solver import changed_fields, solve_config
from fxprune.deploy.parity import output_tensors
from fxprune.errors import DeployError
from fxprune.quiet import quiet
from fxprune.shapes import second_shape
from fxprune.verify.compare import same_draws

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Mapping, Set

    from torch import Tensor
    from transformers import GenerationConfig, PretrainedConfig, PreTrainedModel

    from fxprune.deploy.class_graph import Fit
    from fxprune.deploy.class_search import Runs
    from fxprune.deploy.size_classes import SizeClasses
    from fxprune.shapes import Dims

    Weights = Mapping[str, Tensor]


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
    folded: tuple[str, ...] = ()  # nodes whose number the class computes from its sizes, absorbed by the weights
    fresh: tuple[str, ...] = ()  # parameters no output depends on, which the slim graph does not have
    proved: bool = False  # the graph of the class itself was compared, node by node


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
    fit: Callable[[PreTrainedModel], Fit] | None = None,
    tokenizer: Any = None,
    tolerance: float = 1e-4,
    classes: SizeClasses | None = None,
    dims: Dims | None = None,
    generation: GenerationConfig | None = None,
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
        fit: finds the weights for a model of the class at one config, or refuses it with a DeployError; configs it
            refuses are tried with the given weights only if it accepts none.
        tokenizer: saved beside the model, if given.
        tolerance: largest difference allowed, relative to the largest output.
        classes: from `size_classes`, if already known.
        dims: the dimensions the slim model leaves free, if not those of `dynamic_shapes`.
        generation: how the dense model generates: where texts end, what they must begin with.
    Raises:
        DeployError: no config has these shapes, or none of those that have them gives these outputs.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in state_dict.items()}
    configs = solve_config(model_cls, config, shapes, hints, classes)
    runs = _runs(reference, example_kwargs, dims)
    search = ClassSearch(model_cls, config, [state_dict, *variants], runs, tolerance)
    found = search.best(configs, fit)
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target, prefix=".hf-") as temporary:
        _generates_like(found.model, generation)
        _save(found.model, tokenizer, Path(temporary))
        error = _reloaded_error(model_cls, Path(temporary), found.model.device, runs, tolerance)
        files = move_files(Path(temporary), target)
    return HfExport(
        folder=target,
        files=tuple(files),
        model_class=model_cls.__name__,
        changed=changed_fields(config, found.model.config),
        variant=found.variant,
        max_error=error,
        tried=search.tried,
        folded=found.fit.folded if found.fit else (),
        fresh=tuple(sorted(found.fit.unread)) if found.fit else (),
        proved=found.fit is not None,
    )


def _runs(reference: Callable[[dict[str, Any]], Any], example_kwargs: Mapping[str, Any], dims: Dims | None) -> Runs:
    """Record what the slim model makes of the examples and of a ragged batch of another size."""
    inputs = [dict(example_kwargs), second_shape(example_kwargs, dims)]
    found: Runs = []
    for kwargs in inputs:
        with same_draws():
            found.append((kwargs, output_tensors(reference(kwargs))))
    return found


def _generates_like(model: PreTrainedModel, generation: GenerationConfig | None) -> None:
    if generation is None:
        return
    with suppress(ValueError), quiet():  # the library loads settings that it refuses to save
        generation.validate(strict=True)
        model.generation_config = generation


def _save(model: PreTrainedModel, tokenizer: Any, folder: Path) -> None:
    with quiet():
        model.save_pretrained(folder)
        if tokenizer is not None:
            tokenizer.save_pretrained(folder)
    for file in folder.iterdir():  # safetensors 0.8 leaves its file to the owner alone
        file.chmod((folder / "config.json").stat().st_mode)


def _reloaded_error(
    model_cls: type[PreTrainedModel], folder: Path, device: torch.device, runs: Runs, tolerance: float
) -> float:
    """Return the error of the saved model, loaded as a user would."""
    try:
        with quiet():
            model = model_cls.from_pretrained(folder).eval().to(device)
    except Exception as err:
        raise DeployError("the saved Hugging Face folder cannot be loaded", cause=str(err).splitlines()[0]) from err
    error = output_error(model, runs)
    if error > tolerance:
        raise DeployError(
            "the saved Hugging Face folder loads as another model",
            cause=f"its outputs are {error:.1e} away, {tolerance:.0e} is allowed",
            remedy="use the .pt2 or ONNX file",
        )
    return error
