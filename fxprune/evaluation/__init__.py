"""What a model is worth on a task: fine-tuned and scored with the task's official metric."""

from importlib import import_module
from typing import Any

# imported when asked for: the command line lists the tasks without waiting for torch
_HOMES = {
    "Evaluation": "fxprune.evaluation.result",
    "EvaluationConfig": "fxprune.evaluation.config",
    "evaluate": "fxprune.evaluation.run",
}
__all__ = ["Evaluation", "EvaluationConfig", "evaluate"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'fxprune.evaluation' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
