"""Prose out of program text: which paragraphs of a docstring, comment or documentation file are English."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_QUOTES = ('"""', "'''")
# begins with a newline, not with ^: a literal first character makes the search six times as fast
_COMMENTS = re.compile(r"\n[ \t]*# [^\n]*(?:\n[ \t]*# [^\n]*)+")
_COMMENT_MARK = re.compile(r"^[ \t]*# ", re.MULTILINE)

_FENCED = re.compile(r"^[ \t]*(```|~~~).*?^[ \t]*\1[ \t]*$", re.DOTALL | re.MULTILINE)
_DOCTEST = re.compile(r"^[ \t]*(?:>>>|\.\.\. |In \[)")
_BULLET = re.compile(r"^(?:[-*+•]|\(?\d{1,2}[.)]|\w+\))\s+")
_DIRECTIVE = re.compile(r"^\.\. ?(?:\w[\w:-]*::|_)")
_ADMONITION = re.compile(r"^(?:\.\. (?:note|warning|versionadded|versionchanged|deprecated)::|NOTE:|Note:)\s*[\d.]*\s*")
_LINK = re.compile(r"!?\[([^\]\n]*)\]\([^)\s]*\)|`([^`<]+?)\s*<[^`>]*>`_{0,2}")
_ROLE = re.compile(r":[a-zA-Z][\w:+-]*:`[~!]?([^`]*)`|\[`~?([^\]`]*)`\]")
_URL = re.compile(r"<?(?:https?|ftp)://\S+>?|<[^<>\s][^<>]*>")
_MARKUP = re.compile(r"`+|\*{1,3}(?=\S)|(?<=\S)\*{1,3}|(?<=\w)_{1,2}(?=\s|$)|\\[a-zA-Z]*")
_SPACE = re.compile(r"\s+")
_DOTTED = re.compile(r"\b(?:[A-Za-z_]\w+\.)+([A-Za-z_]\w+)")
_UNDERLINE = re.compile(r"^([-=~^*\"'#+])\1{2,}$")

_WORD = re.compile(r"^[(\"']*[A-Za-z]+(?:[-'/][a-z]+)*[)\"']*[.,;:!?]*[)\"']*$")
_PLAIN = re.compile(r"\b[a-z]+\b")
_SENTENCE_END = re.compile(r"(?<=[.!?:])\s+(?=[A-Z])")
# common words that no programming language uses as keywords
_COMMON = frozenset(
    re.findall(
        r"\w+",
        """the of a to an be this that are it will on which you by can should when has used than its they these was
        have been would at such we there any must may does so but what all only use their more other where between""",
    )
)
_LEGAL = re.compile(r"copyright|licen[cs]e|warrant|\bhttp|all rights reserved|permission", re.IGNORECASE)

_ENDS = (".", "!", "?", ":")
_MIN_WORDS, _MAX_WORDS = 8, 400
_MIN_WORD_SHARE, _MIN_COMMON_SHARE = 0.8, 0.12


def strings_of_source(source: str) -> Iterator[str]:
    """Yield the triple-quoted strings and the comment blocks (two lines or more) of Python `source`."""
    # split, not `ast`: the dependencies hold 220 MB of Python, which ast parses in 30 s and this in less than 1 s. What
    # it finds beside docstrings (a template, or code where quotes do not pair up) fails the prose test like any code
    for quotes in _QUOTES:
        yield from source.split(quotes)[1::2]
    for block in _COMMENTS.findall(source):
        yield _COMMENT_MARK.sub("", block)


def paragraphs(text: str) -> Iterator[str]:
    """Yield the prose paragraphs of documentation `text`, one line each, without markup.

    >>> list(paragraphs("Return the sum of two numbers, which may be of any type.\\n\\n>>> add(1, 2)"))
    ['Return the sum of two numbers, which may be of any type.']
    """
    for block in _blocks(text):
        # three quarters of the blocks end here, before the costly part
        if (
            block.count(" ") + 1 >= _MIN_WORDS
            and block.rstrip("`*_ ")[-1:] in _ENDS
            and is_prose(plain := plain_text(block))
        ):
            yield plain


def _blocks(text: str) -> Iterator[str]:
    """Yield runs of lines with the same indentation; blank lines, bullets, doctests and fences end a run."""
    if "```" in text or "~~~" in text:
        text = _FENCED.sub("\n", text)
    run: list[str] = []
    indent, skipping = -1, False
    # the first line of a docstring stands behind the quotes, so its indentation says nothing
    for line in text.expandtabs().split("\n"):
        body = line.strip()
        skipping = bool(body) and (skipping or _DOCTEST.match(line) is not None)
        here = len(line) - len(line.lstrip())
        bullet = _BULLET.match(body)
        if _UNDERLINE.match(body):
            run, body = run[:-1], ""  # the line above was a heading
        if run and (not body or skipping or bullet or (here != indent and indent >= 0)):
            yield " ".join(run)
            run = []
        if body and not skipping:
            indent = here + len(bullet.group()) if bullet else here
            run.append(body[len(bullet.group()) :] if bullet else body)
    if run:
        yield " ".join(run)


def plain_text(block: str) -> str:
    """Return `block` without reStructuredText and Markdown markup, addresses and repeated white space.

    >>> plain_text("See :class:`~torch.nn.Linear` and [the guide](https://a.b/c) for ``y``.")
    'See Linear and the guide for y.'
    """
    block = _ADMONITION.sub("", block)
    if _DIRECTIVE.match(block):
        return ""
    block = _LINK.sub(lambda m: m[1] or m[2] or "", block)
    block = _ROLE.sub(lambda m: m[1] or m[2] or "", block)
    block = _URL.sub("", block)
    block = _MARKUP.sub("", block)
    block = _DOTTED.sub(r"\1", block)
    return _SPACE.sub(" ", block).strip()


def is_prose(text: str) -> bool:
    """Return whether `text` reads as English sentences: whole words, common words, a capital, a full stop.

    >>> is_prose("The result is a tensor that has the same shape as the input."), is_prose("x = f(y) + 1.")
    (True, False)
    """
    if not text or not text[0].isupper() or text[-1] not in _ENDS or _LEGAL.search(text):
        return False
    words = text.split(" ")
    if not _MIN_WORDS <= len(words) <= _MAX_WORDS:
        return False
    if sum(word.lower() in _COMMON for word in words) < _MIN_COMMON_SHARE * len(words):
        return False
    return sum(_WORD.match(word) is not None for word in words) >= _MIN_WORD_SHARE * len(words)


class Novelty:
    """Remembers sentences, and tells of a paragraph whether most of it is new.

    Only lower-case words count, so that "Constructs a Bert tokenizer." repeats "Constructs a Bart tokenizer.".
    """

    def __init__(self) -> None:
        self._seen: set[int] = set()

    def admits(self, paragraph: str) -> bool:
        """Return whether at least two thirds of the sentences of `paragraph` are new; remember all of them."""
        keys = {hash(tuple(_PLAIN.findall(sentence))) for sentence in _SENTENCE_END.split(paragraph)}
        fresh = keys - self._seen
        self._seen |= fresh
        return 3 * len(fresh) >= 2 * len(keys)
