"""What the commands do when all is well: results on stdout, progress on stderr, everything in its place."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
import torch
import transformers
from click.testing import CliRunner

import fxprune
from fxprune.cli import main
from fxprune.cli.drawing import to_svg
from fxprune.cli.results import latency_rows, loss_rows
from fxprune.deploy import hf
from fxprune.deploy.latency import LatencyRow
from fxprune.errors import DeployError, DistillError
from fxprune.wording import megabytes

FILES = {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
FILES |= {"plan.json", "student.pt2", "onnx/model.onnx", "fxprune.json", "report.html", "README.md"}
SHORT = ("--max-steps", 3, "--batch-size", 2, "--length", 8, "--interval", 1)


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def pruned(models, tmp_path_factory):
    """A folder that `fxprune prune` filled, and what it said."""
    folder = tmp_path_factory.mktemp("pruned") / "out"
    options = ["--model", models / "bert", "--target-params", "50%", "--output", folder, "--verify", "--grid", "1x8"]
    result = CliRunner().invoke(main, ["prune", *map(str, options), "--json"])
    assert result.exit_code == 0, result.output
    return folder, result


def test_prune_fills_the_folder_and_reports_as_json(pruned):
    folder, result = pruned
    assert files(folder) == FILES | {"certificate.json", "latency.json"}
    told = json.loads(result.stdout)
    dense, slim = told["params"]["teacher"], told["params"]["student"]
    assert 0.49 * dense < slim <= 0.5 * dense
    assert told["output"] == str(folder)
    assert told["failures"] == {}
    assert told["hugging_face"]["proved"]
    assert max(told["onnx"]["max_error"], told["hugging_face"]["max_error"]) < 1e-4
    assert [row["model"] for row in told["latency"]] == ["teacher", "student"]
    assert "writing ONNX" in result.stderr


def test_what_prune_wrote_loads_as_an_ordinary_model_and_as_a_graph(pruned):
    folder, result = pruned
    student = json.loads(result.stdout)["params"]["student"]
    model = transformers.AutoModelForMaskedLM.from_pretrained(folder).eval()
    assert model.num_parameters() == student
    inputs = transformers.AutoTokenizer.from_pretrained(folder)("w1 w2 [MASK] w4", return_tensors="pt")
    with torch.no_grad():
        want = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]).logits
        got = fxprune.load(folder)(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]).logits
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)
    assert json.loads((folder / "certificate.json").read_text())["holds"]


def test_the_same_plan_gives_the_same_weights_and_overwrites_only_our_files(pruned, run, bert, here):
    folder, _ = pruned
    (here / "again" / "onnx").mkdir(parents=True)
    for name in ("notes.txt", "onnx/mine.txt", "plan.json"):
        (here / "again" / name).write_text("old")
    plan = ("--plan", folder / "plan.json")
    result = run("prune", "--model", bert, *plan, "--output", "again", "--overwrite", "--no-latency")
    assert result.exit_code == 0, result.output
    again = here / "again"
    assert (again / "plan.json").read_text() == (folder / "plan.json").read_text()
    assert (again / "notes.txt").read_text() == (again / "onnx" / "mine.txt").read_text() == "old"
    first, second = (transformers.BertForMaskedLM.from_pretrained(path).state_dict() for path in (folder, again))
    assert all(torch.equal(first[name], second[name]) for name in first)
    for word in ("teacher against student", "parameters", "ONNX file"):
        assert word in result.stdout
    assert result.stdout.splitlines()[-1] == "results in again"


def test_distill_trains_and_fills_the_folder(run, bert, text):
    result = run("distill", "--model", bert, "--dataset", text, "--target-params", "50%", *SHORT, "--no-latency")
    assert result.exit_code == 0, result.output
    written = files(Path("out"))
    assert {name for name in written if not name.startswith("checkpoints/")} == FILES | {
        "metrics.jsonl",
        "journal.jsonl",
    }
    assert {"checkpoints/run.json", "checkpoints/step-3/manifest.json"} <= written
    steps = [json.loads(line) for line in Path("out/metrics.jsonl").read_text().splitlines()]
    assert [step["step"] for step in steps] == [1, 2, 3]
    assert steps[-1]["params"] < steps[0]["params"]
    for word in ("parameters", "masked LM loss, held out", "results in out"):
        assert word in result.stdout
    assert "parameters, objective: masked LM" in result.stderr
    assert "step 3/3" in result.stderr
    assert "0 s left" in result.stderr
    listed = json.loads(Path("out/fxprune.json").read_text())
    assert listed["hugging_face"]["proved"]  # training left no trace in the graph
    assert listed["losses"]["student"].keys() == {"task", "kl", "hidden", "embedding", "attention"}


def test_a_loss_that_is_no_number_is_a_failure_not_a_mistake(run, bert, text, monkeypatch):
    from fxprune.cli import distilling

    def explode(*_, **__):
        raise DistillError("the kl loss is nan at step 7", remedy="lower --learning-rate")

    monkeypatch.setattr(distilling, "distill", explode)
    result = run("distill", "--model", bert, "--dataset", text, "--target-params", "50%", *SHORT)
    assert result.exit_code == 1
    assert "the kl loss is nan at step 7" in result.stderr
    assert not Path("out").exists()


def test_interruption_is_130(run, bert, monkeypatch):
    from fxprune.cli import jobs

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(jobs, "open_model", stop)
    result = run("prune", "--model", bert, "--ratio", 0.5)
    assert (result.exit_code, result.stdout) == (130, "")


def test_widths_no_config_expresses_cost_the_exit_code_but_not_the_run(run, models, monkeypatch):
    def refuse(*_, **__):
        raise DeployError("no config of ViT has the slim shapes", remedy="plan with its size classes")

    monkeypatch.setattr(hf, "save_hf", refuse)
    result = run("prune", "--model", models / "vit", "--ratio", 0.5, "--no-latency")
    assert result.exit_code == 1
    assert files(Path("out")) == FILES - {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    assert "Hugging Face model: not written: no config of ViT" in result.stderr
    assert "results in out" in result.stdout


def test_inspect_lists_groups_and_why_some_are_frozen(run, bert):
    result = run("inspect", "--model", bert, "--json")
    assert result.exit_code == 0, result.output
    groups = json.loads(result.stdout)["groups"]
    sizes = {group["name"]: group["size"] for group in groups}
    assert sizes["hidden"] == 32
    assert sizes["bert.encoder.layer.0.inner"] == 72
    frozen = [group for group in groups if group["frozen"]]
    assert "rows are picked by data" in {group["frozen"]["reason"] for group in frozen}
    assert groups[-len(frozen) :] == frozen  # last, and those that hold most parameters first
    held = [group["parameters"] for group in frozen]
    assert held == sorted(held, reverse=True)


def test_inspect_tells_what_froze_the_most_parameters_first(run, bert):
    lines = run("inspect", "--model", bert).stdout.splitlines()
    start = lines.index("frozen, by the parameters that cannot go:")
    assert lines[start + 1].split() == ["2,178", "cls.predictions.decoder.axis0", "(66)"]
    assert lines[start + 2].strip() == "rows are picked by data at embedding, bert.embeddings.word_embeddings"
    assert lines[start + 3].strip().startswith("modeling_bert.py:")
    held = [int(line.split()[0].replace(",", "")) for line in lines[start + 1 :] if line[14:15].isdigit()]
    assert held == sorted(held, reverse=True)


def test_inspect_draws_the_groups(run, bert):
    result = run("inspect", "--model", bert, "--graph", "groups.svg")
    assert result.exit_code == 0, result.output
    assert "bert.encoder.layer.*.inner" in result.stdout
    drawing = ElementTree.fromstring(Path("groups.svg").read_text())
    texts = [element.text for element in drawing.iter("{http://www.w3.org/2000/svg}text")]
    assert "bert.encoder.layer.*.inner (72)" in texts
    assert "bert.encoder.layer.*.intermediate.dense.weight[0]" in texts


def test_export_and_bench_take_folders_saved_graphs_and_files(run, pruned, bert, here):
    folder, _ = pruned
    saved = here / "saved"
    saved.mkdir()
    (saved / "student.pt2").write_bytes((folder / "student.pt2").read_bytes())  # no config: the graph alone
    result = run("export", "--model", saved, "--output", "student.onnx", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["max_error"] < 1e-4
    result = run("bench", bert, "student.onnx", "--grid", "1x8", "--json")
    assert result.exit_code == 0, result.output
    assert [row["model"] for row in json.loads(result.stdout)["rows"]] == [bert, "student.onnx"]


def test_losses_stand_beside_the_teachers():
    held_out = {"teacher": {"task": 4.0}, "student": {"task": 5.5, "kl": 1.25}}
    assert loss_rows("masked LM", held_out) == [
        ("masked LM loss, held out", "4.000", "5.500", "+1.500"),
        ("kl term, held out", "0.000", "1.250", "+1.250"),
    ]


def test_medians_stand_beside_the_teachers():
    rest = {"n": 5, "warmup": 1, "provider": "CPU", "onnxruntime": "1", "cpu": "x", "fxprune": "0"}
    rest |= {"p25_ms": 1.0, "p75_ms": 2.0, "p95_ms": 3.0, "batch": 1, "threads": 1}
    rows = [LatencyRow(model=m, length=8, p50_ms=ms, **rest) for m, ms in (("teacher", 4.0), ("student", 2.0))]
    assert latency_rows(rows) == [("latency 1 x 8, 1 thread, p50", "4.00 ms", "2.00 ms", "2.00x faster")]
    small = LatencyRow(model="student int8", length=8, p50_ms=1.0, **rest)
    assert latency_rows([*rows, small])[1:] == [
        ("int8 latency 1 x 8, 1 thread, p50", "4.00 ms", "1.00 ms", "4.00x faster")
    ]
    alone = LatencyRow(model="student", length=None, p50_ms=2.0, **{**rest, "threads": 2})
    assert latency_rows([alone]) == [("latency batch 1, 2 threads, p50", "", "2.00 ms", "")]


def test_the_drawing_does_not_depend_on_the_number_of_layers(tmp_path):
    def drawn(layers: int) -> str:
        config = transformers.BertConfig(hidden_size=8, num_hidden_layers=layers, num_attention_heads=2, vocab_size=30)
        model = transformers.BertForMaskedLM(config).eval()
        return to_svg(fxprune.analyse(fxprune.capture(model, {"input_ids": torch.randint(0, 30, (5, 13))})))

    assert drawn(2).replace("x 2<", "x 3<").count("<path") == drawn(3).count("<path")


def test_bytes_are_printed_in_megabytes_or_not_at_all():
    assert (megabytes(12_500_000), megabytes(None)) == ("12.5 MB", "")


# ---------------------------------------------------------------------- repair


def test_prune_repairs_on_text_and_says_what_it_did(run, bert, text):
    options = ("--ratio", 0.5, "--repair", "least-squares", "--dataset", text, "--repair-batches", 2, "--verify")
    result = run("prune", "--model", bert, *options, "--no-latency", "--json")
    assert result.exit_code == 0, result.output
    assert "weights repaired, held-out error" in result.stderr
    listed = json.loads(Path("out/fxprune.json").read_text())["repairs"]
    assert listed["inputs"] == {"fitted": 1, "held_out": 1}
    assert listed["held_out_error"][1] < listed["held_out_error"][0]
    assert "places read this weight" in next(iter(listed["left_alone"].values()))
    assert json.loads(Path("out/certificate.json").read_text())["weights"] == "slim"


@pytest.mark.slow
def test_distill_repairs_after_its_cuts(run, bert, text):
    options = ("--target-params", "50%", "--repair", "least-squares", "--repair-batches", 2, "--dataset", text)
    result = run("distill", "--model", bert, *options, *SHORT, "--no-latency", "--json")
    assert result.exit_code == 0, result.output
    assert any(note.startswith("repaired after") for note in json.loads(result.stdout)["notes"])
    steps = [json.loads(line).get("repaired") for line in Path("out/metrics.jsonl").read_text().splitlines()]
    assert any(errors is not None and errors[1] <= errors[0] for errors in steps)
