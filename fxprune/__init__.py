"""fxprune: a graph-rewriting structured-pruning compiler on torch.fx."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from fxprune.errors import FxpruneError

if TYPE_CHECKING:
    from fxprune.api import analyse, capture, load, make_plan, prune
    from fxprune.evaluation.run import evaluate
    from fxprune.groups import Group, Groups
    from fxprune.plan import Plan

__all__ = [
    "FxpruneError",
    "Group",
    "Groups",
    "Plan",
    "analyse",
    "capture",
    "distill",
    "evaluate",
    "load",
    "make_plan",
    "prune",
]
__version__ = "0.1.0"

# imported when asked for: the command line answers --help without waiting for torch
_HOMES = {
    "analyse": "fxprune.api",
    "capture": "fxprune.api",
    "evaluate": "fxprune.evaluation.run",
    "load": "fxprune.api",
    "make_plan": "fxprune.api",
    "prune": "fxprune.api",
    "Group": "fxprune.groups",
    "Groups": "fxprune.groups",
    "Plan": "fxprune.plan",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'fxprune' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})


def distill(
    model: Any,
    tokenizer: Any,
    dataset: str = "demo",
    config: Any = None,
    *,
    target_params: int | str | None = None,
    max_steps: int = 300,
    **options: Any,
) -> Any:
    """Narrow a text model step by step while it learns from its dense self.

    Args:
        model: a Hugging Face text model, or any traceable module that takes token ids; copied, never changed.
        tokenizer: its tokenizer.
        dataset: "demo", local parquet, json or text files, or the name of a data set on the hub.
        config: a `fxprune.distillation.config.DistillConfig`, for all settings there are.
        target_params: instead of `config`: ``"15M"``, 14500000 or ``"25%"``.
        max_steps: with `target_params`: optimizer steps.
        options: as for `fxprune.distillation.run.distill`, such as `examples` and `on_step`.
    Returns:
        A `DistillResult`: `.student` is the slim model, `.held_out` its losses beside the teacher's.
    Raises:
        FxpruneError: before anything is trained, if the call, the model, the data or the target is wrong.
    """
    from fxprune.distillation.config import DistillConfig
    from fxprune.distillation.run import distill as run
    from fxprune.errors import UsageError

    if (config is None) == (target_params is None):
        raise UsageError("give one of config and target_params", remedy='for example target_params="25%"')
    settings = config if target_params is None else DistillConfig(target_params=target_params, max_steps=max_steps)
    return run(model, tokenizer, dataset, settings, **options)
