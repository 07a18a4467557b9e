"""The errors fxprune raises: each says what, where, why and what to do."""

from __future__ import annotations

import reprlib
from difflib import get_close_matches
from typing import TYPE_CHECKING

from fxprune.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from torch.fx import Node


class FxpruneError(Exception):
    """Base of all errors a user may meet.

    Args:
        message: one sentence: what went wrong.
        node: the graph node it went wrong at, or its printed form.
        module: path of the module that owns the node.
        cause: why.
        remedy: what the user can do about it.
    """

    def __init__(
        self,
        message: str,
        *,
        node: Node | str | None = None,
        module: str | None = None,
        cause: object = None,
        remedy: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.node = node
        self.module = module
        self.cause = cause
        self.remedy = remedy

    def __str__(self) -> str:
        fields = {"node": self.node, "module": self.module, "cause": self.cause, "remedy": self.remedy}
        lines = [f"  {name:<7} {value}" for name, value in fields.items() if value]
        return printable("\n".join([self.message, *lines]))


class UsageError(FxpruneError):
    """An option or an argument that cannot be meant; the command line exits with 2."""


class SourceError(FxpruneError):
    """A model, tokenizer or folder that cannot be loaded."""


class DataError(FxpruneError):
    """A data set that cannot be read or holds no text."""


class CaptureError(FxpruneError):
    """A model that `torch.export` cannot turn into one graph."""


class AnalysisError(FxpruneError):
    """A question about groups that has no answer."""


class RuleError(FxpruneError):
    """An op rule that is malformed or registered twice."""


class PassError(FxpruneError):
    """A pass whose requirements do not hold, or which failed."""


class PlanError(FxpruneError):
    """A plan or budget that cannot be met, or that belongs to another model."""


class ScoreError(FxpruneError):
    """Importance scores a plan cannot be made from."""


class VerifyError(FxpruneError):
    """A proof that failed: the slim model does not compute what the plan says."""


class DistillError(FxpruneError):
    """A distillation run that cannot start or go on."""


class CheckpointError(FxpruneError):
    """A checkpoint that is damaged, or of another run."""


class EvaluationError(FxpruneError):
    """A fine-tuning that failed."""


class DeployError(FxpruneError):
    """An output that could not be written or does not match the model."""


def shortened(value: object, most: int = 80) -> str:
    """Return what a value looks like, cut where it is long.

    >>> shortened("a" * 100, 10)
    "'aaaaaa..."
    """
    text = reprlib.repr(value)
    return text if len(text) <= most else f"{text[: most - 3]}..."


_MANY = 24  # names that still fit on a screen


def unknown_name(kind: str, name: str, known: Iterable[str]) -> str:
    """Return one sentence for an unknown `name`: the nearest known names, then all of them, unless they are many.

    >>> unknown_name("score", "talyor", ["fisher", "taylor"])
    "unknown score 'talyor'; did you mean 'taylor'? known: fisher, taylor"
    """
    names = sorted(known)
    near = nearest(name, names, 1 if len(names) <= _MANY else 5)
    hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ";"
    listed = f" known: {', '.join(names)}" if len(names) <= _MANY else f" {len(names)} are known"
    return f"unknown {kind} {name!r}{hint}{listed}"


def nearest(name: str, names: Iterable[str], count: int) -> list[str]:
    """Return up to `count` names that are spelled nearly so, then those that hold the text.

    >>> nearest("query", ["layer.0.query.weight", "layer.0.key.weight"], 3)
    ['layer.0.query.weight']
    """
    known = list(names)
    close = get_close_matches(name, known, n=count, cutoff=0.7)
    holding = [other for other in known if name and name in other]
    return list(dict.fromkeys([*close, *holding, *get_close_matches(name, known, n=count, cutoff=0.6)]))[:count]


def check_one_of(given: Mapping[str, object], example: str) -> None:
    """Raise UsageError unless exactly one of the named values was given.

    Args:
        given: what the caller calls it -> value, None where it was left out.
        example: of a call that is right.
    """
    names = [name for name, value in given.items() if value is not None]
    if len(names) != 1:
        cause, choice = f"given: {', '.join(names) or 'none'}", ", ".join(given)
        raise UsageError(f"give one of {choice}", cause=cause, remedy=f"for example {example}")
