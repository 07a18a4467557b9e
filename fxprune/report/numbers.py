"""Numbers with the digits that matter, and their units."""

from __future__ import annotations

from fxprune.wording import megabytes, short

__all__ = ["change", "count", "error", "megabytes", "milliseconds", "ratio", "seconds", "short", "value"]


def count(number: float | None) -> str:
    """Return a whole number in groups of three.

    >>> count(5315136.0), count(None)
    ('5,315,136', '')
    """
    return "" if number is None else f"{number:,.0f}"


def value(number: float | None) -> str:
    """Return a loss or a score.

    >>> value(5.579966), value(0.01234), value(0.0000123), value(0.0)
    ('5.580', '0.0123', '1.2e-05', '0')
    """
    if number is None:
        return ""
    if number == 0:
        return "0"
    if abs(number) < 1e-3 or abs(number) >= 1e6:
        return f"{number:.1e}"
    return f"{number:.3f}" if abs(number) >= 0.1 else f"{number:.4f}"


def milliseconds(number: float | None) -> str:
    """Return a latency with three digits.

    >>> milliseconds(1.98765), milliseconds(49.7), milliseconds(409.36)
    ('1.99 ms', '49.7 ms', '409 ms')
    """
    if number is None:
        return ""
    digits = 2 if number < 10 else 1 if number < 100 else 0
    return f"{number:,.{digits}f} ms"


def seconds(number: float | None) -> str:
    """Return a duration.

    >>> seconds(118.8), seconds(7500.0), seconds(3.21)
    ('119 s', '2 h 5 min', '3.2 s')
    """
    if number is None:
        return ""
    if number < 600:
        return f"{number:.1f} s" if number < 10 else f"{number:.0f} s"
    minutes = round(number / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"


def ratio(before: float | None, after: float | None, word: str) -> str:
    """Return how many times smaller, fewer or faster something became, or the other way round.

    >>> ratio(12.0, 3.0, "smaller"), ratio(None, 3.0, "smaller")
    ('4.00x smaller', '')
    """
    if not before or not after:
        return ""
    return f"{before / after:.2f}x {word}"


def change(before: float | None, after: float | None) -> str:
    """Return a difference with its sign.

    >>> change(4.035, 5.580), change(0.81, 0.79)
    ('+1.545', '-0.020')
    """
    return "" if before is None or after is None else f"{after - before:+.3f}"


def error(number: float | None) -> str:
    """Return a relative error.

    >>> error(7.3756e-07)
    '7.4e-07'
    """
    return "" if number is None else f"{number:.1e}"
