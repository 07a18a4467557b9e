"""What was proved, what went wrong, and what was decided on the way."""

from __future__ import annotations

from collections.abc import Iterator

from fxprune.report.cleaning import listed, mapping, number, text
from fxprune.report.numbers import error, value
from fxprune.report.parts import Details, Items, Part, Prose, Section, Table
from fxprune.report.reading import Results
from fxprune.report.structure import frozen


def certificate(results: Results) -> list[Section]:
    """Return the section of the three proofs, or of how to get them."""
    found = results.certificate
    if not found:
        said = "Nothing was proved: add --verify to the command, and the three proofs are made and written down."
        return [Section(key="certificate", title="Certificate", parts=[Prose(text=said)])] if results.has_model else []
    most = error(number(found.get("tolerance")))
    faults = [text(fault) for fault in listed(found.get("faults"))]
    rows = [
        ("permutation: units of every group shuffled, outputs unmoved", error(number(found.get("permutation"))), most),
        ("mask = slice: the dense graph with removed units zeroed", error(number(found.get("masked"))), most),
        ("structure: shapes, ties and literals as predicted", f"{len(faults)} faults", "0 faults"),
    ]
    parts: list[Part] = [
        Prose(text=_verdict(results)),
        Table(caption="Largest relative errors", columns=("proof", "found", "allowed"), rows=rows),
    ]
    parts += [Items(rows=faults)] if faults else []
    return [Section(key="certificate", title="Certificate", parts=parts)]


def _verdict(results: Results) -> str:
    found = results.certificate
    held = "All three proofs hold" if found.get("holds") is True else "The proofs do not hold"
    of = {"slim": "graph and plan, with the trained weights in their dense places", "dense": "graph, plan and weights"}
    return f"{held}; they are of {of.get(text(found.get('weights')), 'the graph')} (plan {text(found.get('plan'))})."


def failures(results: Results) -> list[str]:
    """Return what failed, one line each, the reason of an unfinished run first."""
    unfinished = results.part("unfinished")
    found = []
    if unfinished:
        step = unfinished.get("weights_of_step")
        kept = "" if step is None else f" The student is as it was after step {text(step)}."
        found.append(f"The run did not end: {text(unfinished.get('reason'))}.{kept}")
    return found + [f"{text(stage)}: not written: {text(why)}" for stage, why in results.part("failures").items()]


def notes(results: Results) -> list[Section]:
    """Return the section of notes, repairs and groups that stayed."""
    said = [text(note) for note in listed(results.facts.get("notes"))] + list(results.gaps)
    parts: list[Part] = [Items(rows=said)] if said else []
    parts += [*_class_facts(results), *_repairs(results), *frozen(results)]
    return [Section(key="notes", title="Notes", parts=parts)] if parts else []


def _class_facts(results: Results) -> Iterator[Part]:
    """Yield how the student became a model of its class."""
    found = results.part("hugging_face")
    changed = mapping(found.get("changed"))
    if changed:
        rows = [(text(name), *(text(size) for size in listed(sizes)[:2])) for name, sizes in changed.items()]
        proof = "compared node by node" if found.get("proved") else "outputs compared"
        yield Table(
            caption=f"Config of {text(found.get('model_class'))}, dense and slim ({proof}, "
            f"largest error {error(number(found.get('max_error')))})",
            columns=("field", "dense", "slim"),
            rows=rows,
        )


def _repairs(results: Results) -> Iterator[Part]:
    repairs = results.part("repairs")
    rows = [
        (text(name), *(_pair(mapping(item).get("held_out"))), value(number(mapping(item).get("ridge"))))
        for name, item in mapping(repairs.get("weights")).items()
    ]
    if rows:
        columns = ("weight", "before", "after", "penalty")
        caption = "Repaired weights: relative error on text they were not fitted on"
        table = Table(caption=caption, columns=columns, rows=rows)
        yield Details(summary=f"{len(rows)} weights were repaired", parts=[table])
    left = mapping(repairs.get("left_alone"))
    if left:
        items = Items(rows=[f"{text(name)}: {text(why)}" for name, why in left.items()])
        yield Details(summary=f"{len(left)} weights were not repaired, and why", parts=[items])


def _pair(ends: object) -> tuple[str, str]:
    found = [value(number(end)) for end in listed(ends)]
    return (found[0], found[1]) if len(found) == 2 else ("", "")
