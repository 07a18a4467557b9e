from __future__ import annotations

from pathlib import Path

import pytest

from fxprune.demo import corpus


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Replace the collection by two small documents; the list counts how often it ran."""
    calls: list[int] = []

    def collect() -> list[tuple[str, list[str]]]:
        calls.append(1)
        return [("a", ["one"]), ("b", ["two"])]

    monkeypatch.setattr(corpus, "collect", collect)
    return calls


def test_the_corpus_is_large() -> None:
    texts = corpus.demo_texts()  # from the user's cache, if a run before this one filled it
    assert sum(len(text.split()) for text in texts) > 1_000_000
    assert max(len(text.split()) for text in texts) <= corpus._MAX_WORDS + 400


def test_train_and_held_out_share_no_text() -> None:
    train, held_out = corpus.demo_texts("train"), corpus.demo_texts("held_out")
    assert not set(train) & set(held_out)
    assert 0.01 < len(held_out) / len(train) < 0.04


def test_the_second_call_reads_the_cache(tmp_path: Path, small: list[int]) -> None:
    assert corpus.demo_texts(cache=tmp_path) == corpus.demo_texts(cache=tmp_path) == ["one", "two"]
    assert len(small) == 1


def test_a_cache_that_was_cut_short_is_collected_again(tmp_path: Path, small: list[int]) -> None:
    corpus.demo_texts(cache=tmp_path)
    (file,) = tmp_path.iterdir()
    file.write_text(file.read_text()[:10])
    assert corpus.demo_texts(cache=tmp_path) == ["one", "two"]
    assert len(small) == 2


def test_a_cache_that_cannot_be_written_is_not_used(tmp_path: Path, small: list[int]) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert corpus.demo_texts(cache=blocked / "cache") == ["one", "two"]


def test_the_cache_folder_follows_xdg(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert corpus.cache_folder() == Path("/somewhere/fxprune")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert corpus.cache_folder() == Path.home() / ".cache" / "fxprune"


def test_dependencies_are_followed_and_extras_left_out() -> None:
    found = corpus.dependencies("fxprune")
    assert {"torch", "sympy", "numpy"} <= set(found)  # sympy comes through torch
    assert not {"fxprune", "pytest", "torch-pruning"} & set(found)


def test_long_documents_are_broken_between_paragraphs() -> None:
    paragraph = " ".join(["word"] * 200)
    assert list(corpus._texts([paragraph, "short", paragraph])) == [f"{paragraph}\nshort", paragraph]
