"""Text from elsewhere on a terminal: names in files may hold characters that move the cursor or hide what follows."""

from __future__ import annotations

import unicodedata

_KEPT = "\n\t"
_KINDS = ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")  # controls, directions of writing, halves of characters, other breaks


def printable(text: str) -> str:
    r"""Return `text` with every character that is no sign written as its number; lines and tabs stay.

    >>> print(printable("red\x1b[31m"))
    red\x1b[31m
    """
    if text.isascii() and all(c.isprintable() or c in _KEPT for c in text):
        return text
    return "".join(c if c in _KEPT or unicodedata.category(c) not in _KINDS else _number(c) for c in text)


def _number(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}"
