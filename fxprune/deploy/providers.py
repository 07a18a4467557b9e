"""Execution providers of ONNX Runtime by short names: ``cpu``, ``cuda``, whatever is installed."""

from __future__ import annotations

from fxprune.deploy.session import CPU
from fxprune.errors import UsageError, nearest

__all__ = ["CPU", "check_used", "find_provider", "installed_providers"]

_SUFFIX = "ExecutionProvider"
_MODEL_RUNNERS = ("Azure",)  # providers that call a service and run no ordinary file


def installed_providers() -> list[str]:
    """Return the short names of the providers this ONNX Runtime has, the processor's last."""
    import onnxruntime

    return [_short(name) for name in onnxruntime.get_available_providers() if not name.startswith(_MODEL_RUNNERS)]


def find_provider(name: str) -> str:
    """Return ONNX Runtime's own name of a provider; long names and any spelling of letters are taken too.

    Raises:
        UsageError: this ONNX Runtime has no such provider; lists those it has.

    >>> find_provider("cpu"), find_provider("CPUExecutionProvider")
    ('CPUExecutionProvider', 'CPUExecutionProvider')
    """
    import onnxruntime

    known = {_short(full): full for full in onnxruntime.get_available_providers()}
    if (found := known.get(_short(name))) is not None:
        return found
    listed = installed_providers()
    near = nearest(_short(name), listed, 1)
    raise UsageError(
        f"this ONNX Runtime has no provider {name!r}",
        cause=f"onnxruntime {onnxruntime.__version__} has {', '.join(listed)}",
        remedy=f"pass --provider {near[0] if near else 'cpu'}, or install the build of onnxruntime that has it",
    )


def check_used(session_providers: list[str], wanted: str) -> None:
    """Raise UsageError if a session runs without the provider it was given: a library it needs is missing here."""
    if wanted not in session_providers:
        raise UsageError(
            f"the provider {_short(wanted)!r} is installed and does not start",
            cause=f"ONNX Runtime fell back to {', '.join(map(_short, session_providers))}",
            remedy="install the driver and libraries it needs, or pass --provider cpu",
        )


def _short(name: str) -> str:
    return name.removesuffix(_SUFFIX).lower()
