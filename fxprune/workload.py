"""Where a latency counts, and how long it may be: ``8x128,2`` and ``4ms``."""

from __future__ import annotations

import re
from dataclasses import dataclass

from fxprune.errors import UsageError

_SCALES = {"": 1.0, "ms": 1.0, "s": 1e3, "us": 1e-3}


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """The shape a model is timed at: `batch` rows of `length` tokens, on so many CPU threads."""

    batch: int = 1
    length: int = 128
    threads: int = 1

    @classmethod
    def read(cls, text: str) -> Workload:
        """Read ``batch x length``, and threads behind a comma.

        Raises:
            UsageError: the text is none of these.

        >>> print(Workload.read("8x128"), "and", Workload.read("1x32,2"))
        8x128 and 1x32, 2 threads
        """
        match = re.fullmatch(r"\s*([1-9]\d*)\s*x\s*([1-9]\d*)\s*(?:,\s*([1-9]\d*)\s*)?", text.lower())
        if match is None:
            raise UsageError(
                f"{text!r} is no shape to time at", remedy="write batch x length, as 8x128, or 8x128,2 for two threads"
            )
        return cls(batch=int(match[1]), length=int(match[2]), threads=int(match[3] or 1))

    def __str__(self) -> str:
        return f"{self.batch}x{self.length}" + (f", {self.threads} threads" if self.threads > 1 else "")


def parse_ms(text: str | float) -> float:
    """Read a time in milliseconds: ``4ms``, ``0.5s``, ``800us`` or a number.

    Raises:
        UsageError: the text is none of these, or no time is left.

    >>> parse_ms("4ms"), parse_ms("0.5 s"), parse_ms(3)
    (4.0, 500.0, 3.0)
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|us|)\s*", str(text).lower())
    if match is None or float(match[1]) == 0.0:
        raise UsageError(f"{text!r} is no time a model could take", remedy="write it as 4ms, 0.5s or 800us")
    return float(match[1]) * _SCALES[match[2]]
