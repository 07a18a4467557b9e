from __future__ import annotations

import pytest

from fxprune.demo.prose import Novelty, is_prose, paragraphs, plain_text, strings_of_source

DOCSTRING = """Return the weighted mean of the values, which may be of any numeric type.

    Parameters
    ----------
    values : array_like, shape (n,)
        The values that are to be averaged along the given axis of the array.
    axis : int, optional

    Notes
    -----
    See :func:`~numpy.average` and `the guide <https://example.org/guide>`_ for what ``nan`` does to the result of this
    function, and when it matters to you.

    * A bullet is a paragraph of its own, and it loses the mark in front of it.

    >>> mean([1, 2]) # The result of this is the mean of the two numbers.
    1.5

    .. code-block:: python

        the_result = mean(values)

    ```python
    This fenced text is not prose although it looks like it to the reader of it.
    ```
    """


def test_a_docstring_gives_its_prose_and_nothing_else() -> None:
    assert list(paragraphs(DOCSTRING)) == [
        "Return the weighted mean of the values, which may be of any numeric type.",
        "The values that are to be averaged along the given axis of the array.",
        "See average and the guide for what nan does to the result of this function, and when it matters to you.",
        "A bullet is a paragraph of its own, and it loses the mark in front of it.",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Returns the number of rows that are in the table.", True),
        ("returns the number of rows that are in the table.", False),  # no capital
        ("Returns the number of rows that are in the table", False),  # cut off
        ("The table.", False),  # too short
        ("If x1 == y2 and f(x3) or g[y4] is 7 then z5 will be the 9.", False),  # code
        ("This table may be used under the terms of the MIT license.", False),  # the same in every package
        ("Die Anzahl der Zeilen ist gleich der Anzahl aller Zeilen zuvor.", False),  # not English
    ],
)
def test_only_english_sentences_are_prose(text: str, expected: bool) -> None:
    assert is_prose(text) is expected


def test_abbreviations_survive_while_module_paths_are_shortened() -> None:
    assert plain_text("Use torch.nn.functional.linear, e.g. for a projection.") == "Use linear, e.g. for a projection."


def test_comment_blocks_and_triple_quoted_strings_are_found() -> None:
    source = 'x = """first"""\n# one line is not enough\ny = 1\n    # second\n    # block\n'
    assert list(strings_of_source(source)) == ["first", "\nsecond\nblock"]


def test_a_paragraph_repeated_with_another_class_name_is_not_new() -> None:
    novelty = Novelty()
    assert novelty.admits("Constructs a Bert tokenizer. It is based on WordPiece.")
    assert not novelty.admits("Constructs a Bart tokenizer. It is based on WordPiece.")
    assert novelty.admits("Trains a tokenizer from files. It needs some time.")
