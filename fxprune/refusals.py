"""Why a model could not be captured, in one sentence with module and source line, and what would help."""

from __future__ import annotations

import dataclasses
import linecache
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from fxprune.errors import CaptureError
from fxprune.quiet import quiet

_NOT_THE_MODEL = (str(Path(torch.__file__).parent), str(Path(__file__).parent))
_PLAIN = (Tensor, int, float, complex, bool, str, type(None), torch.dtype, torch.device)
_REWRITE = "rewrite that line, or choose options that avoid it"
DATA_DEPENDENT = ("GuardOnDataDependent", "DataDependentOutput")


class Outcome:
    """What the model itself makes of the examples, asked once a capture failed.

    Args:
        model: a private copy, in evaluation mode.
        kwargs: the examples.
    """

    def __init__(self, model: nn.Module, kwargs: Mapping[str, Any]) -> None:
        self.error: Exception | None = None
        self.output: object = None
        if any(parameter.is_meta for parameter in model.parameters()):
            return  # without values, a model that looks at some fails for that alone
        try:
            with torch.no_grad(), quiet():
                self.output = model(**kwargs)
        except Exception as error:  # a model raises whatever it likes
            self.error = error

    def foreign(self) -> dict[str, type]:
        """Return the classes in the output that `torch.export` does not look into, by where they stand."""
        fields = self.output.items() if isinstance(self.output, Mapping) else [("", self.output)]
        leaves = [(str(name), leaf) for name, value in fields for leaf in tree_leaves(value)]
        return {name: type(leaf) for name, leaf in leaves if not isinstance(leaf, _PLAIN)}


def register_dataclasses(outcome: Outcome) -> bool:
    """Let `torch.export` look into the dataclasses an output holds, and those inside; return whether there were any."""
    found = False
    while kinds := {kind for kind in outcome.foreign().values() if dataclasses.is_dataclass(kind)}:
        found = True
        for kind in sorted(kinds, key=str):
            torch.export.register_dataclass(kind, serialized_type_name=f"{kind.__module__}.{kind.__qualname__}")
    return found


def refusal(model: nn.Module, failures: list[Exception], outcome: Outcome) -> CaptureError:
    """Turn what `torch.export` raised into one error with module and source line."""
    name = type(model).__name__
    if outcome.error is not None:
        return _error(
            model,
            f"{name} does not run on the example inputs",
            [outcome.error],
            "pass the keyword arguments of a call that works; forward may need more of them",
        )
    if foreign := outcome.foreign():
        place, kind = next(iter(foreign.items()))
        return CaptureError(
            f"{name} returns a {kind.__name__}{f' as {place!r}' if place else ''}, which no graph can hold",
            remedy="return tensors in tuples, dictionaries or dataclasses; a cache is switched off by use_cache=False",
        )
    depends = any(type(failure).__name__.startswith(DATA_DEPENDENT) for failure in failures)
    remedy = f"values of tensors may not decide what is computed: {_REWRITE}" if depends else _REWRITE
    return _error(model, f"{name} cannot be captured as one graph", failures, remedy)


def _error(model: nn.Module, message: str, failures: list[Exception], remedy: str) -> CaptureError:
    error = failures[-1]
    where = next((found for failure in reversed(failures) if (found := _user_frame(model, failure))), None)
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return CaptureError(
        message,
        node=where[1] if where else None,
        module=where[0] if where else None,
        cause=f"{type(error).__name__}: {text[:300]}",
        remedy=remedy,
    )


def _user_frame(model: nn.Module, error: Exception) -> tuple[str, str] | None:
    """Return (module path, source line) of the innermost frame of the model's own code."""
    paths = {id(module): name for name, module in model.named_modules()}
    found, module = None, ""
    for frame, number in _frames(error):
        owner = frame.f_locals.get(next(iter(frame.f_code.co_varnames), ""))  # self, whatever it is called
        module = paths.get(id(owner), module)
        file = frame.f_code.co_filename
        if not file.startswith(_NOT_THE_MODEL) and id(owner) in paths:
            line = linecache.getline(file, number).strip()
            found = (module, f"{file.rpartition('/')[2]}:{number}  {line}")
    return found


def _frames(error: Exception) -> Iterable[tuple[Any, int]]:
    step = error.__traceback__
    while step is not None:
        yield step.tb_frame, step.tb_lineno
        step = step.tb_next
