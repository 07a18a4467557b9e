"""The demo corpus: English prose found on every machine that can run fxprune, with no network.

It is the documentation of fxprune's dependencies and of the Python standard library: docstrings, comments and the
text files they ship. About two million words; which ones exactly depends on the installed versions.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import json
import os
import re
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from packaging.requirements import Requirement

from fxprune.atomic import atomic_write
from fxprune.demo.prose import Novelty, paragraphs, strings_of_source

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Split = Literal["train", "held_out"]

_VERSION = 1  # part of the cache key: raise it when the cleaning changes
_HELD_OUT_IN = 50  # one document in fifty is held out
_MAX_WORDS = 300  # a text longer than this is broken between two paragraphs
_DOCS = {".md", ".rst", ".txt"}
_SKIP_PARTS = {"test", "tests", "testing", "_vendor", "vendored", "site-packages", "lib2to3", "data", "idlelib"}
_SKIP_STEMS = re.compile(r"licen[cs]e|notice|copying|authors|requirements|entry_points|top_level|vocab|sources", re.I)


def demo_texts(split: Split = "train", *, cache: Path | None = None) -> list[str]:
    """Return the texts of the demo corpus, in an order that depends on nothing but the installed versions.

    The split is made by the hash of a document's path, so a document that one version holds out, all hold out.

    Args:
        split: "train", or "held_out" (about 2 % of the documents).
        cache: folder the collected corpus is kept in; default: fxprune's folder in the user's cache. Collecting takes
            about ten seconds, reading the cache a fraction of one. A folder that cannot be written is not used.
    Returns:
        Texts of one or more paragraphs, separated by newlines, at most about 300 words each.
    """
    path = (cache or cache_folder()) / f"demo-corpus-{_fingerprint()}.json"
    documents = _read(path)
    if documents is None:
        documents = collect()
        _write(path, documents)
    return [text for name, texts in documents if (split == "held_out") == _held_out(name) for text in texts]


def cache_folder() -> Path:
    """Return the folder fxprune keeps rebuildable files in: `$XDG_CACHE_HOME/fxprune` or `~/.cache/fxprune`."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path(os.path.expanduser("~")) / ".cache") / "fxprune"


def collect() -> list[tuple[str, list[str]]]:
    """Collect the corpus anew: (document name, its texts), near-duplicate paragraphs left out."""
    novelty = Novelty()
    seen: set[int] = set()
    documents = []
    for name, raw in _documents():
        kept = [p for text in raw if _first_time(text, seen) for p in paragraphs(text) if novelty.admits(p)]
        if kept:
            documents.append((name, list(_texts(kept))))
    return documents


def _first_time(text: str, seen: set[int]) -> bool:
    key = hash(text)
    new = key not in seen
    seen.add(key)
    return new


def _texts(kept: Iterable[str]) -> Iterator[str]:
    """Join paragraphs to texts of at most about 300 words."""
    block: list[str] = []
    words = 0
    for paragraph in kept:
        size = paragraph.count(" ") + 1
        if block and words + size > _MAX_WORDS:
            yield "\n".join(block)
            block, words = [], 0
        block.append(paragraph)
        words += size
    if block:
        yield "\n".join(block)


def _documents() -> Iterator[tuple[str, list[str]]]:
    """Yield every document as (name, raw texts), sorted by name within the library and each distribution."""
    yield from _library_documents()
    for name, dist in sorted(dependencies("fxprune").items()):
        yield f"{name}/METADATA", [_description(dist)]
        files = sorted((str(file), file) for file in dist.files or [] if _wanted(file.parts, file.suffix))
        for relative, file in files:
            yield from _document(relative, Path(str(dist.locate_file(file))))


def _library_documents() -> Iterator[tuple[str, list[str]]]:
    root = Path(sysconfig.get_path("stdlib"))
    for file in sorted(root.rglob("*.py")):
        relative = file.relative_to(root)
        if relative.as_posix() == "pydoc_data/topics.py":
            yield from _language_reference(file)
        elif _wanted(relative.parts, ".py"):
            yield from _document(relative.as_posix(), file)


def _language_reference(file: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield the topics of `help()`, the one place where documentation stands in ordinary strings."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    pairs = next((zip(n.keys, n.values, strict=True) for n in ast.walk(tree) if isinstance(n, ast.Dict)), ())
    for key, value in pairs:
        if isinstance(key, ast.Constant) and isinstance(value, ast.Constant):
            yield f"topics/{key.value!s}", [str(value.value)]


def _document(name: str, path: Path) -> Iterator[tuple[str, list[str]]]:
    try:
        content = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return  # a file of someone else's package that is not there or is not text: the corpus does without
    yield name, list(strings_of_source(content)) if path.suffix == ".py" else [content]


def _wanted(parts: tuple[str, ...], suffix: str) -> bool:
    if suffix != ".py" and (suffix not in _DOCS or _SKIP_STEMS.search(parts[-1])):
        return False
    return ".." not in parts and not _SKIP_PARTS.intersection(parts) and "dist-info" not in parts[0]


def _description(dist: importlib.metadata.Distribution) -> str:
    """Return the long description of a distribution: its README, as the package index shows it."""
    return str(dist.metadata.json.get("description", ""))


def dependencies(root: str) -> dict[str, importlib.metadata.Distribution]:
    """Return what distribution `root` depends on, directly or not, extras left out; by normalised name."""
    found: dict[str, importlib.metadata.Distribution] = {}
    queue = [root]
    while queue:
        name = queue.pop()
        key = re.sub(r"[-_.]+", "-", name).lower()
        if key in found:
            continue
        try:
            found[key] = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        queue += _requirements(found[key])
    found.pop(root, None)
    return found


def _requirements(dist: importlib.metadata.Distribution) -> list[str]:
    wanted = (Requirement(text) for text in dist.requires or [])
    return [req.name for req in wanted if req.marker is None or req.marker.evaluate({"extra": ""})]


def _held_out(name: str) -> bool:
    return int(hashlib.sha256(name.encode()).hexdigest(), 16) % _HELD_OUT_IN == 0


def _fingerprint() -> str:
    versions = sorted((name, dist.version) for name, dist in dependencies("fxprune").items())
    return hashlib.sha256(json.dumps([_VERSION, sys.version_info[:3], versions]).encode()).hexdigest()[:16]


def _read(path: Path) -> list[tuple[str, list[str]]] | None:
    try:
        return [(name, texts) for name, texts in json.loads(path.read_text(encoding="utf-8"))]
    except (OSError, ValueError):
        return None  # absent, unreadable or cut short: collected again


def _write(path: Path, documents: list[tuple[str, list[str]]]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(path, json.dumps(documents, ensure_ascii=False))
    except OSError:
        return  # a read-only home costs the next run ten seconds, no more
