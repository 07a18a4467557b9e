"""The page and the card, written into the folder they are about."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from fxprune.atomic import atomic_write
from fxprune.deploy.manifest import add_files, listed_files
from fxprune.report.card import render_card
from fxprune.report.making import CARD, PAGE
from fxprune.report.page import render_page
from fxprune.report.reading import read_results


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What became of the page and the card.

    Attributes:
        files: that were written.
        left: why others were not, in words.
    """

    files: tuple[Path, ...]
    left: tuple[str, ...]


def write_report(folder: Path, ours: Iterable[Path] = ()) -> Written:
    """Write ``report.html`` and ``README.md``, made of the other files of an output folder alone.

    A file of that name that no run wrote is someone's own, and stays. A folder without a model gets no card.

    Args:
        folder: that `write_outputs` or `begin_outputs` wrote.
        ours: files that may be replaced besides those the folder lists as written by a run.
    Raises:
        SourceError: it is no such folder, or its ``fxprune.json`` is damaged.
    """
    results = read_results(folder)
    replaced = {folder / name for name in listed_files(folder)} | set(ours)
    texts = {PAGE: render_page(results)}
    left: list[str] = []
    if results.has_model:
        texts[CARD] = render_card(results)
    else:
        left.append(f"{CARD}: not written, there is no model in the folder")
    files = []
    for name, content in texts.items():
        path = folder / name
        if path.exists() and path not in replaced:
            left.append(f"{path} is not of a run, and stays as it is")
            continue
        atomic_write(path, content)
        files.append(path)
    add_files(folder, files)
    return Written(files=tuple(files), left=tuple(left))
