"""The model card: front matter the hub can read, and no Markdown from strangers."""

from __future__ import annotations

import yaml

from fxprune.report.card import escaped, fenced, render_card
from fxprune.report.lineage import data_facts, front_matter, teacher_facts
from fxprune.report.reading import read_results


def card(folder) -> str:
    return render_card(read_results(folder))


def test_the_front_matter_names_base_license_and_data(make):
    text = card(make())
    assert front_matter(text) == {
        "license": "apache-2.0",
        "base_model": "org/teacher",
        "library_name": "transformers",
        "pipeline_tag": "fill-mask",
        "datasets": ["org/texts"],
        "tags": ["fxprune", "pruning", "distillation", "onnx"],
    }


def test_what_is_not_known_is_not_stated(make):
    gone = {"onnx/model.onnx": None, "latency.json": None, "metrics.jsonl": None, "certificate.json": None}
    text = card(make(gone, command="prune", teacher={}, data={}, hugging_face=None, onnx=None, objective=None))
    assert front_matter(text) == {"tags": ["fxprune", "pruning"]}
    assert "No license is stated" in text
    assert "Nothing was trained after the cut" in text
    assert "The cut was not proved" in text
    assert "Latencies hold" not in text


def test_a_whole_run_is_told(make):
    text = card(make())
    for words in (
        "# org/teacher, 25% of its parameters",
        "| parameters | 4,000,000 | 1,000,000 | 4.00x fewer |",
        "| masked LM loss, held out | 2.000 | 2.500 | +0.500 |",
        "SomeModel.from_pretrained",
        "torch.export.load",
        "onnxruntime.InferenceSession",
        "fxprune distill --model org/teacher --target-params 25%",
        "| versions | fxprune 0.1.0, torch 2.13.0 |",
        "| tokens at most | 2.56k |",
        "It takes at most 128 positions.",
        "- a note of the run",
        "Graph, plan and widths were proved",
    ):
        assert words in text


def test_an_unfinished_run_is_marked(make):
    text = card(make(unfinished={"reason": "the loss is nan", "weights_of_step": 3}))
    assert "**The run that made it did not end.**" in text
    assert "- The run did not end: the loss is nan." in text


def test_hostile_texts_stay_texts(make):
    evil = "x\n\n# Heading <script> | [a](http://e.il) `c` ```\n---\nlicense: mit"
    text = card(make(model=evil, notes=[evil], dataset=evil, teacher={"license": evil, "hub_name": evil}))
    assert "<script>" not in text.partition("\n---\n")[2]
    assert "http://" not in text.partition("\n---\n")[2]
    assert [line for line in text.splitlines() if line.startswith("# ")] == [
        line for line in text.splitlines() if line.startswith("# x \\# Heading")
    ]
    assert front_matter(text)["license"] == evil
    assert yaml.safe_load(text.split("\n---\n")[0].removeprefix("---\n"))["base_model"] == evil


def test_words_and_code_are_quoted():
    assert escaped("a_b <c>\n*d*") == r"a\_b &lt;c&gt; \*d\*"
    assert fenced("a\n````\nb", "sh").splitlines()[0] == "`````sh"


def test_the_license_comes_from_the_card_of_the_teacher(tmp_path):
    (tmp_path / "README.md").write_text("---\nlicense: mit\nbase_model: [org/big]\n---\n# It\n")
    found = teacher_facts(str(tmp_path))
    assert (found["license"], found["base_model"], found["hub_name"]) == ("mit", "org/big", None)
    for text in ("no front matter", "---\n[unclosed\n---\n", "---\n- a list\n---\n", "---\nno end"):
        (tmp_path / "README.md").write_text(text)
        assert teacher_facts(str(tmp_path))["license"] is None
    assert set(teacher_facts("demo").values()) == {None}


def test_data_of_the_hub_are_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data" / "texts").mkdir(parents=True)
    assert data_facts("org/texts:en")["hub_name"] == "org/texts"
    assert [data_facts(name)["hub_name"] for name in ("data/texts", "demo", None, "a/b/c.txt")] == [None] * 4
