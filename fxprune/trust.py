"""What may be done with a model's files that could run code: by default nothing of the kind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """What the user vouches for.

    Attributes:
        pickles: weights may be read from pickles, tensors and nothing else (``weights_only``).
        code: Python files that lie beside the weights may be run.
    """

    pickles: bool = False
    code: bool = False


_NONE = Trust()
_CURRENT: ContextVar[Trust] = ContextVar("trust", default=_NONE)


def trust() -> Trust:
    """Return what holds now."""
    return _CURRENT.get()


@contextmanager
def trusting(*, pickles: bool = False, code: bool = False) -> Iterator[None]:
    """Load models with this much trust.

    >>> with trusting(pickles=True):
    ...     trust().pickles
    True
    >>> trust().pickles
    False
    """
    token = _CURRENT.set(Trust(pickles=pickles, code=code))
    try:
        yield
    finally:
        _CURRENT.reset(token)
