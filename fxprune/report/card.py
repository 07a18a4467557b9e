"""``README.md``: the model card that lies beside the weights, with the front matter the hub reads."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import yaml

from fxprune.report.cleaning import listed, text, whole
from fxprune.report.headline import COLUMNS, headline, parameters, summary
from fxprune.report.loading import loading_code
from fxprune.report.making import PAGE, command_line, tokens
from fxprune.report.numbers import count, short
from fxprune.report.page import title
from fxprune.report.reading import ONNX, Results

_TASKS = {"masked LM": "fill-mask", "causal LM": "text-generation"}  # objective -> pipeline of the hub
_SPECIAL = re.compile(r"([\\`*_\[\]#|~$])")


def render_card(results: Results) -> str:
    """Return the card of the model in a folder; every text of its files is escaped."""
    blocks = [
        f"# {escaped(title(results))}",
        _what(results),
        "## Teacher against student",
        _table(COLUMNS, headline(results)),
        *_loading(results),
        "## How it was made",
        *_making(results),
        "## Limits",
        "\n".join(f"- {line}" for line in _limits(results)),
    ]
    return _front_matter(results) + "\n\n".join(block for block in blocks if block) + "\n"


def escaped(words: object) -> str:
    """Return one line of text that Markdown shows as it stands.

    >>> escaped("a <b> | *c*")
    'a &lt;b&gt; \\\\| \\\\*c\\\\*'
    """
    line = _SPECIAL.sub(r"\\\1", text(words)).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return line.replace("://", ":\u200b//")  # no address of a stranger becomes a link


def fenced(code: str, language: str = "") -> str:
    """Return a block of code; its fence is longer than any inside.

    >>> fenced("a = 1")
    '```\\na = 1\\n```'
    """
    longest = max((len(run) for run in re.findall(r"`+", code)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{code}\n{fence}"


def _front_matter(results: Results) -> str:
    teacher = results.part("teacher")
    onnx, hf = ONNX in results.sizes, "hugging_face" in results.facts and bool(results.part("hugging_face"))
    facts: dict[str, Any] = {
        "license": teacher.get("license"),
        "license_name": teacher.get("license_name"),
        "license_link": teacher.get("license_link"),
        "base_model": teacher.get("hub_name") or teacher.get("base_model"),
        "library_name": "transformers" if hf else "onnx" if onnx else None,
        "pipeline_tag": _TASKS.get(text(results.facts.get("objective"))) if hf else None,
        "datasets": [name] if (name := text(results.part("data").get("hub_name"))) else None,
        "tags": ["fxprune", "pruning", *(["distillation"] if _distilled(results) else []), *(["onnx"] if onnx else [])],
    }
    stated = {name: value for name, value in facts.items() if value}
    return f"---\n{yaml.safe_dump(stated, sort_keys=False, allow_unicode=True)}---\n\n"


def _distilled(results: Results) -> bool:
    return results.facts.get("command") == "distill"


def _what(results: Results) -> str:
    model = escaped(results.facts.get("model") or "a model")
    how = "while it learned from its dense self" if _distilled(results) else "in one cut, without training"
    made = f"{model}, structurally pruned: whole heads, dims and neurons were removed {how}."
    ended = "**The run that made it did not end.**" if results.part("unfinished") else ""
    return " ".join(part for part in (made, escaped(summary(results)), ended) if part)


def _loading(results: Results) -> Iterator[str]:
    blocks = loading_code(results)
    if blocks:
        yield "## How to load it"
        yield "Each block runs as it stands, inside this folder."
    for block in blocks:
        yield f"{block.caption}:\n\n{fenced(block.text, block.language)}"


def _making(results: Results) -> Iterator[str]:
    if command := command_line(results):
        yield fenced(command, "sh")
    facts, packages = results.facts, results.part("run", "packages")
    told: Mapping[str, object] = {
        "teacher": facts.get("model"),
        "data": facts.get("dataset"),
        "objective": facts.get("objective"),
        "steps": count(len(results.steps)) if results.steps else None,
        "tokens at most": short(found) if (found := tokens(results)) else None,
        "seed": results.part("settings").get("seed"),
        "versions": ", ".join(f"{name} {version}" for name, version in packages.items()),
    }
    rows = [(name, text(value)) for name, value in told.items() if text(value)]
    yield _table(("", ""), rows)
    yield f"[{PAGE}]({PAGE}) shows every step, the kept widths and all latencies."


def _limits(results: Results) -> Iterator[str]:
    if reason := text(results.part("unfinished").get("reason")):
        yield f"The run did not end: {escaped(reason)}. The student is as it was then."
    if _distilled(results):
        yield "Losses are on held-out rows of the data it was distilled on; no task was scored by this run."
    else:
        yield "Nothing was trained after the cut: expect much of the teacher's quality to be gone until it is."
    if (longest := whole(results.facts.get("longest"))) is not None:
        yield f"It takes at most {longest:,} positions."
    dense, slim = parameters(results)
    if dense and slim:
        yield f"It has {slim / dense:.0%} of its teacher's parameters, and whatever bias and gaps the teacher has."
    yield (
        "Graph, plan and widths were proved (certificate.json)."
        if results.certificate.get("holds") is True
        else ("The cut was not proved: `--verify` does that.")
    )
    if results.latency:
        cpus = dict.fromkeys(text(row.get("cpu")) for row in results.latency)
        yield f"Latencies hold for the machine they were measured on ({escaped(', '.join(cpus))})."
    if not results.part("teacher").get("license"):
        yield "No license is stated, since that of the teacher is not known here; the teacher's terms apply."
    yield from (f"{escaped(note)}" for note in [*listed(results.facts.get("notes")), *_missing(results)])


def _missing(results: Results) -> list[str]:
    return [f"{text(stage)}: not written: {text(why)}" for stage, why in results.part("failures").items()]


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    body = [f"| {' | '.join(escaped(cell) for cell in row)} |" for row in rows]
    head = [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
    return "\n".join([*head, *body]) if body else ""
