"""``report.html``: one page without scripts or links to elsewhere."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from itertools import chain

from jinja2 import Environment, FunctionLoader, StrictUndefined, Template
from markupsafe import Markup

from fxprune.report import bought, evidence, making, speed, structure, training
from fxprune.report.cleaning import text
from fxprune.report.headline import COLUMNS, family, headline, summary
from fxprune.report.parts import Part, Prose, Section, Table
from fxprune.report.reading import Results

_SECTIONS = (
    training.training,
    structure.widths,
    speed.latency,
    speed.onnx_graph,
    bought.cuts,
    evidence.certificate,
    evidence.notes,
    making.load_it,
    making.reproduce,
    making.files,
)


def render_page(results: Results) -> str:
    """Return the page about a folder; every text of its files is escaped."""
    sections = [_summary(results), *chain.from_iterable(make(results) for make in _SECTIONS)]
    return _template().render(
        title=title(results),
        made=_made(results),
        lede=summary(results),
        alerts=evidence.failures(results),
        sections=sections,
        style=Markup(_resource("page.css")),
    )


def title(results: Results) -> str:
    """Return what the page is about."""
    model = text(results.facts.get("model")) or results.part("hugging_face").get("model_class") or "a model"
    target = next(iter(_targets(results)), "")
    return f"{text(model)}{', ' + target if target else ''}"


def _targets(results: Results) -> Iterable[str]:
    """Yield what the run was asked for."""
    if snapshot := text(results.facts.get("snapshot")):
        yield f"snapshot {snapshot}"
    settings = results.part("settings")
    for name, noun in (("target_params", "parameters"), ("target_flops", "FLOPs")):
        if found := text(settings.get(name)):
            yield f"{found} of its {noun}" if found.endswith("%") else f"{found} {noun}"
    for name in ("target_latency", "target_ratio", "ratio"):
        if found := text(settings.get(name)):
            yield f"{name.removeprefix('target_')} {found}"


def _made(results: Results) -> str:
    verb = {"distill": "distilled on " + (text(results.facts.get("dataset")) or "?"), "prune": "cut at once"}
    done = verb.get(text(results.facts.get("command")), "written")
    return f"{done} with fxprune {text(results.facts.get('fxprune'))}".strip()


def _summary(results: Results) -> Section:
    parts: list[Part] = []
    if rows := headline(results):
        parts.append(Table(caption="Teacher against student", columns=COLUMNS, rows=rows))
    columns, members = family(results)
    if members:
        caption = "Snapshots of the run, each in a folder of its own; losses on held-out data"
        parts.append(Table(caption=caption, columns=columns, rows=members))
    if not parts:
        parts.append(Prose(text="There is no student here yet."))
    return Section(key="summary", title="Summary", parts=parts)


@cache
def _template() -> Template:
    environment = Environment(
        loader=FunctionLoader(_resource),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html")


@cache
def _resource(name: str) -> str:
    return files("fxprune.report").joinpath(name).read_text(encoding="utf-8")
