"""The page: complete for a whole run, honest about what is missing, and safe whatever its files say."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from reporting import FACTS, LATENCY, STEPS, plan, step

from fxprune.report.page import render_page
from fxprune.report.reading import read_results
from fxprune.report.writing import write_report

ALL = ["summary", "training", "widths", "latency", "onnx", "certificate", "notes", "load", "reproduce", "files"]


class Page(HTMLParser):
    """The tags of a page, checked for balance, and its text."""

    def __init__(self, markup: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(markup)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "link"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def page(folder) -> Page:
    return Page(render_page(read_results(folder)))


def test_a_whole_run_has_every_section(make):
    found = page(make())
    assert [attributes["id"] for attributes in found.named("section")] == ALL
    assert [attributes["href"] for attributes in found.named("a")] == [f"#{key}" for key in ALL]
    for words in (
        "org/teacher, 25% of its parameters",
        "1.00M parameters, 4.00x fewer than its teacher; 4.0x as fast; masked LM loss 2.000 → 2.500",
        "parameters 4,000,000 1,000,000 4.00x fewer",
        "FLOPs at 1 x 16 8.00M 2.00M 4.00x fewer",
        "latency 1 x 32, 1 thread, p50 8.00 ms 2.00 ms 4.00x faster",
        "KL to the teacher, held out (nats) 0 0.250 +0.250",
        "40 steps, 4 cuts between steps 10 and 40, 12 s of wall-clock.",
        "layer.*.inner 64 → 20 to 30, 2 layers",
        "All three proofs hold",
        "a note of the run",
        "words 99 1 500 picked by data e",
        "fxprune distill --model org/teacher --target-params 25%",
        "pip install fxprune==0.1.0 torch==2.13.0",
        "seed 7",
    ):
        assert words in found.text


def test_charts_are_drawn_and_described(make):
    found = page(make())
    labels = [attributes["aria-label"] for attributes in found.named("svg")]
    assert len(labels) == 5 + 2 + 1  # parameters, discrepancy, three losses; widths; latencies
    assert labels[0] == "parameters over 40 steps, 2e+06 at step 40"
    assert "latency at 1 x 32, 1 thread: teacher 8.00 ms, student 2.00 ms" in labels
    assert all(attributes["role"] == "img" for attributes in found.named("svg"))
    classes = [attributes.get("class") for tag, attributes in found.tags if tag in ("line", "rect", "path", "circle")]
    assert classes.count("cut") == 4 * 5
    assert classes.count("jump") == 4
    assert classes.count("bar student") == 1 + 2 + 1
    assert classes.count("whisker") == 2 * 3
    assert "layer 1: 30 of 64" in found.text


def test_nothing_points_elsewhere(make):
    markup = render_page(read_results(make()))
    assert not re.findall(r"(?:https?:)?//", markup)
    assert not {tag for tag, _ in Page(markup).tags} & {"script", "img", "iframe", "object", "form"}
    assert "default-src 'none'" in markup


def test_a_cut_without_training_or_latency_says_so(make):
    gone = dict.fromkeys(("metrics.jsonl", "latency.json", "certificate.json"))
    absent = dict.fromkeys(("losses", "objective", "notes", "dataset", "seconds"))
    found = page(make(gone, command="prune", settings={"ratio": 0.5}, **absent))
    assert [attributes["id"] for attributes in found.named("section")] == [key for key in ALL if key != "training"]
    assert "org/teacher, ratio 0.5 cut at once with fxprune 0.1.0" in found.text
    assert "It was not measured." in found.text
    assert "add --verify to the command" in found.text


def test_a_folder_of_the_python_library_has_a_page(make):
    gone = dict.fromkeys(
        ("metrics.jsonl", "latency.json", "certificate.json", "onnx/model.onnx", "tokenizer_config.json")
    )
    found = page(make(gone, **{name: None for name in FACTS if name != "hugging_face"}))
    assert found.text.startswith("SomeModel - fxprune")
    assert {"summary", "widths", "notes", "files"} <= {attributes["id"] for attributes in found.named("section")}


def test_an_unfinished_run_says_why_and_whose_weights_these_are(make):
    unfinished = {"reason": "the hidden loss is nan at step 5", "step": 5, "weights_of_step": 4}
    found = page(make({"latency.json": None}, unfinished=unfinished))
    said = "The run did not end: the hidden loss is nan at step 5. The student is as it was after step 4."
    assert said in found.text
    assert any(attributes.get("class") == "alert" for attributes in found.named("div"))


def test_a_run_that_was_killed_shows_its_steps(make):
    gone = dict.fromkeys(("plan.json", "latency.json", "certificate.json", "model.safetensors"))
    gone |= {"student.pt2": None, "onnx/model.onnx": None, "metrics.jsonl": json.dumps(step(1)) + "\n"}
    kept = ("command", "model", "dataset", "settings", "run")
    absent = {name: None for name in FACTS if name not in kept}
    found = page(make(gone, **absent, unfinished={"reason": "the run goes on, or was killed"}))
    assert "There is no student here yet." in found.text
    assert "1 of 40 steps, 0 cuts." in found.text
    assert [attributes["id"] for attributes in found.named("section")] == ["summary", "training", "reproduce", "files"]


def test_damaged_lines_and_failures_are_told(make):
    failures = {"ONNX": "no ONNX file agrees with PyTorch", "latency": "it cannot run"}
    lines = "\n".join([*map(json.dumps, STEPS), '{"step": 4'])
    found = page(make({"metrics.jsonl": lines, "latency.json": None}, failures=failures, onnx=None))
    assert "1 damaged line of metrics.jsonl left out" in found.text
    assert "ONNX: not written: no ONNX file agrees with PyTorch" in found.text
    assert "It could not be measured: it cannot run" in found.text


def test_fused_ops_cuts_and_snapshots_are_shown_where_they_are_known(make):
    folder = make(
        onnx={**FACTS["onnx"], "nodes": 91, "fused": {"MultiHeadAttention": 2, "BiasGelu": 2}},
        onnx_teacher={"nodes": 120, "fused": {"MultiHeadAttention": 2, "SkipLayerNormalization": 4}},
        lost_fusions=["SkipLayerNormalization at encoder.1"],
        latency_target={"target_ms": 4, "student_ms": 3.91, "met": True, "at": {"batch": 1, "length": 128}},
        cuts=[
            {"groups": "hidden", "dense": 32, "kept": 16, "ms": 1.25, "share": 0.2, "params": 500},
            {"groups": "layer.*.inner", "dense": 64, "kept": 20, "ms": 0.01, "share": 0.001, "params": 90},
        ],
        snapshots=["out/50pct"],
        snapshot_latency=[
            {"model": "50pct", "batch": 1, "length": 128, "threads": 1, "p50_ms": 2.5},
            {"model": "50pct", "batch": 8, "length": 128, "threads": 2, "p50_ms": 12.5},
            "damaged",
        ],
    )
    (folder / "50pct").mkdir()
    member = {
        "format": "fxprune output",
        "params": {"student": 2_000_000},
        "step": 20,
        "losses": {"student": {"kl": 0.1}},
    }
    (folder / "50pct" / "fxprune.json").write_text(json.dumps(member))
    found = page(folder)
    assert "nodes 120 91 MultiHeadAttention 2 2 SkipLayerNormalization 4 BiasGelu 2" in found.text
    assert "Fusions that the cut lost: SkipLayerNormalization at encoder.1" in found.text
    assert (
        "The target is met within 10 %. Latency at batch 1, length 128 asked for 4.00 ms the student 3.91 ms"
        in found.text
    )
    assert "hidden 32 16 1.25 ms 20.0% 500 layer.*.inner 64 20 0.01 ms 0.1% (nothing) 90" in found.text
    assert "folder parameters step kl 1 x 128, 1 thread 8 x 128, 2 threads" in found.text
    assert "50pct/ 2,000,000 20 0.100 2.50 ms 12.5 ms" in found.text


def test_how_a_student_writes_is_shown(make):
    found = {"files": ["encoder.onnx", "decoder.onnx", "generation.json"], "max_error": 2e-6, "window": 512}
    told = page(make(generation=found)).text
    assert "Writes with a key-value cache: encoder.onnx, decoder.onnx, largest error against PyTorch" in told
    assert "over all steps 2.0e-06, a window of 512 tokens." in told
    refused = page(make(generation={"not_written": "it has no cache"})).text
    assert "No graph with a key-value cache: it has no cache." in refused


HOSTILE = '"><script>alert(1)</script>\x00\u202e]]>--!></style></svg><img src=x onerror=alert(1)>{{7*7}}'


def poisoned(value: Any) -> Any:
    """Put hostile text in the place of every text, and beside every name."""
    if isinstance(value, dict):
        return {name: poisoned(item) for name, item in value.items()} | {HOSTILE: poisoned_leaf(value)}
    if isinstance(value, list):
        return [*map(poisoned, value), HOSTILE]
    return HOSTILE if isinstance(value, str) else value


def poisoned_leaf(value: dict[str, Any]) -> Any:
    return next((item for item in value.values() if isinstance(item, (int, float))), HOSTILE)


def test_hostile_texts_stay_texts(make):
    facts = {name: poisoned(fact) for name, fact in FACTS.items() if name not in ("command", "snapshots", "failures")}
    rows = [{**row, "losses": {**row["losses"], HOSTILE: 1.0}} for row in STEPS]
    folder = make(
        {
            "latency.json": json.dumps([poisoned(row) for row in LATENCY]),
            "certificate.json": json.dumps({"holds": HOSTILE, "faults": [HOSTILE], "plan": HOSTILE}),
            "metrics.jsonl": "\n".join(map(json.dumps, rows)),
            "plan.json": plan(**{HOSTILE: (4, 2), "a__0__" + HOSTILE: (4, 2), "a__1__" + HOSTILE: (4, 2)}),
        },
        **facts,
        failures={HOSTILE: HOSTILE},
        unfinished={"reason": HOSTILE},
        lost_fusions=[HOSTILE],
        generation={"files": [HOSTILE, f"{HOSTILE}.onnx"], "not_written": HOSTILE},
        cuts=[{HOSTILE: HOSTILE}],
        latency_target={HOSTILE: HOSTILE},
        onnx_teacher={"fused": {HOSTILE: HOSTILE}},
        repairs={"weights": {HOSTILE: {}}, "left_alone": {HOSTILE: HOSTILE}},
    )
    markup = render_page(read_results(folder))
    found = Page(markup)
    assert not {tag for tag, _ in found.tags} & {"script", "img"}
    assert not [name for _, attributes in found.tags for name in attributes if name.startswith("on")]
    assert "\x00" not in markup
    assert "\u202e" not in markup
    assert "{{7*7}}" in found.text  # shown, not run
    assert found.text.count("alert(1)") > 20


def test_a_list_of_files_of_another_form_does_no_harm(make):
    folder = make(snapshots=["..", "", "/"])
    for wrong in ("x", {"a": 1}, [1, None, "\0", "../out"], None):
        data = json.loads((folder / "fxprune.json").read_text())
        (folder / "fxprune.json").write_text(json.dumps({**data, "files": wrong}))
        assert [file.name for file in write_report(folder).files] == ["report.html", "README.md"]
        for name in ("report.html", "README.md"):
            (folder / name).unlink()


@pytest.mark.parametrize("wrong", [None, 1, "x", [], {}, True, [1, "x"], {"teacher": {"x": []}}])
def test_facts_of_another_form_do_no_harm(make, wrong):
    folder = make(**dict.fromkeys(FACTS, wrong))
    assert page(folder).text
    rows = [
        {"step": 1, **dict.fromkeys(("steps", "params", "losses", "cut", "jump", "discrepancy", "repaired"), wrong)}
    ]
    folder = make({"metrics.jsonl": json.dumps(rows[0]), "latency.json": json.dumps([wrong, {"p50_ms": wrong}])})
    assert page(folder).text
