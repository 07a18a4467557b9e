"""How the results were made, and how to make them again; how to load them; what lies in the folder."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from fxprune.report.cleaning import listed, number, text, whole
from fxprune.report.loading import loading_code
from fxprune.report.numbers import megabytes
from fxprune.report.parts import Code, Details, Part, Prose, Section, Table
from fxprune.report.reading import CERTIFICATE, GRAPH, LATENCY, METRICS, ONNX, PLAN, WEIGHTS, Results

_FILES = {
    "config.json": "the config of the model's class",
    WEIGHTS: "weights, by the names of the model's class",
    GRAPH: "the graph and its weights, for PyTorch alone",
    ONNX: "free batch and length, checked against PyTorch",
    "onnx/decoder_with_past.onnx": "with a key-value cache, to generate",
    "onnx/encoder.onnx": "run once a text",
    "onnx/decoder.onnx": "with a key-value cache, to generate",
    "onnx/model.int8.onnx": "int8, compared with float32",
    "onnx/decoder_with_past.int8.onnx": "the same in int8",
    "onnx/encoder.int8.onnx": "the same in int8",
    "onnx/decoder.int8.onnx": "the same in int8",
    PLAN: "which units of the teacher stayed",
    CERTIFICATE: "the three proofs",
    METRICS: "every step",
    LATENCY: "every row that was measured",
}
_KILO = 1000


def load_it(results: Results) -> list[Section]:
    """Return the section of code that loads the model."""
    blocks = loading_code(results)
    if not blocks:
        return []
    said = Prose(text="Each block runs as it stands, inside this folder.")
    return [Section(key="load", title="Load it", parts=[said, *blocks])]


def command_line(results: Results) -> str:
    """Return the command of the run, ready for a shell; empty if it was not recorded."""
    words = [str(word) for word in listed(results.part("run").get("command_line"))]
    return shlex.join(words)


def reproduce(results: Results) -> list[Section]:
    """Return the section of command, versions, seed and data."""
    parts: list[Part] = []
    if command := command_line(results):
        parts.append(Code(caption="Command", language="sh", text=command))
    if pinned := _pinned(results):
        parts.append(Code(caption="Versions", language="sh", text=pinned))
    rows = list(_circumstances(results))
    if rows:
        parts.append(Table(caption="Circumstances", columns=("", ""), rows=rows, words=frozenset({0, 1})))
    settings = list(_flat(results.part("settings")))
    if settings:
        columns = ("setting", "value")
        table = Table(caption="Settings of the run", columns=columns, rows=settings, words=frozenset({0, 1}))
        parts.append(Details(summary="all settings", parts=[table]))
    return [Section(key="reproduce", title="Make it again", parts=parts)] if parts else []


def _pinned(results: Results) -> str:
    packages = results.part("run", "packages")
    pins = [f"{name}=={version}" for name, version in packages.items()]
    return shlex.join(["pip", "install", *pins]) if pins else ""


def _circumstances(results: Results) -> Iterator[tuple[str, str]]:
    run, facts = results.part("run"), results.facts
    found: Mapping[str, Any] = {
        "teacher": facts.get("model"),
        "data": facts.get("dataset"),
        "seed": results.part("settings").get("seed"),
        "began": run.get("began"),
        "processes": run.get("processes"),
        "Python": run.get("python"),
        "platform": run.get("platform"),
        "processor": run.get("cpu"),
        "GPUs": ", ".join(text(name) for name in listed(run.get("gpus"))) or None,
        "threads": run.get("threads"),
        "fxprune": facts.get("fxprune"),
        "plan": results.certificate.get("plan"),
    }
    yield from ((name, text(value)) for name, value in found.items() if text(value))


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        elif isinstance(value, list):
            yield prefix + name, ", ".join(map(text, value)) or "none"
        else:
            yield prefix + name, "none" if value is None else text(value)


def files(results: Results) -> list[Section]:
    """Return the section of what lies in the folder; the page and the card do not list themselves."""
    rows = [(name, _size(size), _FILES.get(name, "")) for name, size in results.sizes.items() if name not in PAGES]
    if not rows:
        return []
    table = Table(caption="Written by the run", columns=("file", "size", ""), rows=rows, words=frozenset({0, 2}))
    return [Section(key="files", title="Files", parts=[table])]


PAGE, CARD = "report.html", "README.md"
PAGES = frozenset({PAGE, CARD})


def _size(size: int) -> str:
    return megabytes(size) if size >= 100 * _KILO else f"{size / _KILO:,.1f} kB"


def tokens(results: Results) -> int | None:
    """Return the tokens a student was trained on, where rows are texts."""
    settings = results.part("settings")
    sizes = [whole(settings.get(name)) for name in ("batch_size", "length")]
    steps = len(results.steps)
    return steps * sizes[0] * sizes[1] if sizes[0] and sizes[1] and steps else None


def seed(results: Results) -> int | None:
    """Return the seed of the run."""
    found = number(results.part("settings").get("seed"))
    return None if found is None else int(found)
