"""Where a latency counts, and how long it may be: ``8x128,2,int8`` and ``4ms``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, get_args

from fxprune.errors import UsageError

Precision = Literal["float32", "int8"]
_SCALES = {"": 1.0, "ms": 1.0, "s": 1e3, "us": 1e-3}


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What is timed: `batch` rows of `length` tokens, on so many CPU threads, in a file of one precision."""

    batch: int = 1
    length: int = 128
    threads: int = 1
    precision: Precision = "float32"

    @classmethod
    def read(cls, text: str) -> Workload:
        """Read ``batch x length``, and behind commas threads and the precision.

        Raises:
            UsageError: the text is none of these.

        >>> print(Workload.read("8x128"), "and", Workload.read("1x32,2,int8"))
        8x128 and 1x32, 2 threads, int8
        """
        precisions = "|".join(get_args(Precision))
        match = re.fullmatch(
            rf"([1-9]\d*)x([1-9]\d*)(?:,([1-9]\d*))?(?:,({precisions}))?", re.sub(r"\s", "", text.lower())
        )
        if match is None:
            raise UsageError(
                f"{text!r} is no shape to time at",
                remedy="write batch x length, as 8x128; 8x128,2 for two threads; 8x128,int8 for the int8 file",
            )
        precision: Precision = "int8" if match[4] == "int8" else "float32"
        return cls(batch=int(match[1]), length=int(match[2]), threads=int(match[3] or 1), precision=precision)

    def __str__(self) -> str:
        threads = f", {self.threads} threads" if self.threads > 1 else ""
        return f"{self.batch}x{self.length}{threads}" + (", int8" if self.precision == "int8" else "")


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
