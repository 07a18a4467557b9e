"""int8 beside float32 in ONNX Runtime: latency, file size, and what it costs in score.

    python benchmarks/int8.py --data DATA

all-MiniLM-L6-v2; students of it (of 17M and 9M, distilled here for a few minutes, or each --student FOLDER); and with
random weights, whose score says nothing, BERT of 15.0M and 17.3M with the widths latency_plan.py finds, and of 65M, as
homobert-base.
Each as float32, dynamic int8 and static int8 calibrated on text. STS-B is Spearman's rank correlation on the validation
pairs, in ONNX Runtime. Runs alternate; a ratio below 1 is faster than float32, and stands with its range by quartiles.
Prints Markdown. Text and pairs as for minilm.py.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import torch
from common import Machine
from minilm import minilm, sts_rows
from texts import wikipedia
from transformers import BertConfig, BertModel

import fxprune
from fxprune.cli.graphs import open_graph
from fxprune.deploy.comparison import Comparison, Timing, compare
from fxprune.deploy.competitors import Competitor
from fxprune.deploy.int8 import export_int8
from fxprune.deploy.latency import LatencyRow
from fxprune.deploy.onnx import export_onnx
from fxprune.distillation.calibration import calibration_inputs
from fxprune.distillation.config import DistillConfig
from fxprune.distillation.run import distill
from fxprune.evaluation import metrics
from fxprune.evaluation.onnx_encoder import OnnxEncoder
from fxprune.evaluation.similarity import embed
from fxprune.sources import example_inputs, load_model
from fxprune.traced import Traced

FLOAT32, DYNAMIC, STATIC = "float32", "int8 dynamic", "int8 static"
HEAD = (
    "| model | precision | file MB | batch x length | threads | p50 ms | of float32 | STS-B | cosine |\n"
    "|---|---|---:|---:|---:|---:|---:|---:|---:|"
)
BATCHES = 8  # of calibration text, and two more to compare on


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One model in all precisions."""

    name: str
    files: Mapping[str, Path]
    cosine: Mapping[str, float]
    calibrator: str | None
    scores: Mapping[str, float]


def cases(data: Path | None, students: Sequence[str], steps: int, folder: Path) -> Iterator[Case]:
    """Export each model in every precision."""
    source = load_model(minilm())
    for name, traced in models(source, data, students, steps):
        examples = example_inputs(source.model, source.tokenizer)
        text = calibration_inputs(traced, source.tokenizer, wikipedia(data), BATCHES + 2)
        place = folder / name.replace(" ", "-").replace(",", "")
        dense = export_onnx(traced, examples, place / "float32.onnx").path
        dynamic = export_int8(dense, place / "dynamic.onnx", text[:2])
        static = export_int8(dense, place / "static.onnx", text[:2], calibration=text[2:])
        files = {FLOAT32: dense, DYNAMIC: dynamic.path, STATIC: static.path}
        scored = (
            {} if "random" in name else {key: spearman(file, source.tokenizer, data) for key, file in files.items()}
        )
        yield Case(
            name=name,
            files=files,
            cosine={DYNAMIC: dynamic.agreement.cosine, STATIC: static.agreement.cosine},
            calibrator=static.calibrator,
            scores=scored,
        )


def models(source: Any, data: Path | None, students: Sequence[str], steps: int) -> Iterator[tuple[str, Traced]]:
    """Return the models, captured; all read the same tokens."""
    examples = example_inputs(source.model, source.tokenizer)
    yield "all-MiniLM-L6-v2", fxprune.capture(source.model, examples)
    for student in students:
        traced = open_graph(student).traced
        yield f"its student of {traced.num_parameters() / 1e6:.1f}M", traced
    for target in () if students else ("17M", "9M"):
        config = DistillConfig(target_params=target, max_steps=steps, batch_size=32, length=32, device="cpu")
        yield f"its student of {target}", distill(source.model, source.tokenizer, wikipedia(data), config).student
    for name, width, heads, inner in (("15.0M", 260, 5, 574), ("17.3M", 288, 6, 616), ("65M", 576, 12, 2304)):
        torch.manual_seed(0)
        config = BertConfig(hidden_size=width, num_attention_heads=heads, intermediate_size=inner)
        model = BertModel(config, add_pooling_layer=False).eval()
        yield f"BERT of {name}, random", fxprune.capture(model, examples)


def spearman(file: Path, tokenizer: Any, data: Path | None) -> float:
    """Return the score of an ONNX file on STS-B."""
    rows, encoder = sts_rows(data), OnnxEncoder(file)
    left, right = (embed(encoder, tokenizer, list(rows[name])) for name in ("sentence1", "sentence2"))
    return metrics.spearman(rows["label"].to_numpy(), torch.cosine_similarity(left, right).numpy())


def lines(case: Case, found: Comparison) -> Iterator[str]:
    """Return a row of the table for each precision, shape and number of threads."""
    size = {facts.model: facts.bytes / 1e6 for facts in found.models}
    for row in found.rows:
        score, cosine = case.scores.get(row.model), case.cosine.get(row.model)
        cells = [case.name, row.model, f"{size[row.model]:.1f}", f"{row.batch} x {row.length}", str(row.threads)]
        cells += [f"{row.p50_ms:.2f}", ratio(row, found), "" if score is None else f"{score:.4f}"]
        yield f"| {' | '.join([*cells, '' if cosine is None else f'{cosine:.4f}'])} |"


def ratio(row: LatencyRow, found: Comparison) -> str:
    """Return the time of `row` as a share of float32's, with its range."""
    shape = (row.batch, row.length, row.threads)
    base = next(one for one in found.rows if (one.batch, one.length, one.threads) == shape)
    if row is base:
        return ""
    return f"{row.p50_ms / base.p50_ms:.2f} ({row.p25_ms / base.p75_ms:.2f}-{row.p75_ms / base.p25_ms:.2f})"


@click.command(help=__doc__)
@click.option("--data", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--student", "students", multiple=True, help="Folder of a student of all-MiniLM-L6-v2.  [default: two]")
@click.option("--steps", default=300, show_default=True, help="Of the distillation.")
@click.option("--seconds", default=6.0, show_default=True, help="For one shape and number of threads.")
@click.option("--threads", multiple=True, default=(1, 2), show_default=True)
@click.option("--keep", type=click.Path(path_type=Path), help="Make the files here; those there are timed again.")
@click.option("--json", "as_json", is_flag=True)
def main(
    data: Path | None,
    students: tuple[str, ...],
    steps: int,
    seconds: float,
    threads: tuple[int, ...],
    keep: Path | None,
    as_json: bool,
) -> None:
    """Measure and print."""
    timing = Timing(grid=((1, 32), (1, 128), (8, 128)), threads=threads, rounds=100, seconds=seconds)
    with tempfile.TemporaryDirectory() as temporary:
        made = known(keep)
        if not made:
            made = list(cases(data, students, steps, keep or Path(temporary)))
            if keep:
                (keep / "cases.json").write_text(json.dumps([asdict(case) for case in made], default=str))
        results = []
        if not as_json:
            click.echo(HEAD)
        for case in made:
            found = compare([Competitor(name=name, path=file) for name, file in case.files.items()], timing)
            results.append({"case": asdict(case), "comparison": found.to_data()})
            if not as_json:
                click.echo("\n".join(lines(case, found)))
    if as_json:
        click.echo(json.dumps(results, indent=2, default=str))
        return
    calibrators = ", ".join(f"{case.name}: {case.calibrator}" for case in made)
    click.echo(f"\nranges of static int8 by {calibrators}\n\n{Machine.of_now()}")


def known(folder: Path | None) -> list[Case]:
    """Return what an earlier call made in `folder`."""
    if folder is None or not (folder / "cases.json").is_file():
        return []
    found = json.loads((folder / "cases.json").read_text())
    return [Case(**{**one, "files": {name: Path(file) for name, file in one["files"].items()}}) for one in found]


if __name__ == "__main__":
    main()
