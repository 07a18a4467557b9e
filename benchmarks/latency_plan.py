"""Widths chosen by latency on BERT-base, beside the uniform plan of the same size that keeps all heads.

    python benchmarks/latency_plan.py                       both sizes and six targets in milliseconds
    python benchmarks/latency_plan.py --distil --data DATA  all-MiniLM-L6-v2 distilled with either plan: STS-B

Sizes: for each number of parameters, the fastest widths at 8x128 beside the uniform cut (`ratio` of the same size),
both within 1 % of it, and the teacher as the stock exporter writes it; real ONNX files in alternation, with quartiles.
Targets: what `target_latency` reaches, timed once more on the file. The first use on a machine times some widths, which
are kept in the user's cache; `--fresh` forgets them.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from time import monotonic
from typing import Any

import click
import torch
from common import Machine
from latency_plan_table import to_markdown
from rich.console import Console
from torch import nn

import fxprune
from fxprune.allocation import solve
from fxprune.budget import Budget
from fxprune.deploy.latency import LatencyRow, latency_table
from fxprune.flops import FlopBudget
from fxprune.goal import Goal
from fxprune.groups import feature_outputs
from fxprune.latency import LatencyPlan, plan_by_latency
from fxprune.latency.files import Files
from fxprune.latency.space import Space
from fxprune.planning import constraints
from fxprune.quiet import quiet
from fxprune.student import Student
from fxprune.workload import Precision

SIZES = ("15M", "17.3M")
TARGETS = ("12ms@1x32", "25ms@1x128", "45ms@1x128", "7ms@1x32,int8", "14ms@1x128,int8", "26ms@1x128,int8")
GRID = ((1, 32), (1, 128), (8, 128))
AT = "8x128"
ERR = Console(stderr=True)
Row = dict[str, Any]


class Teacher:
    """BERT-base with random weights, captured, with all that planning needs."""

    def __init__(self) -> None:
        from transformers import BertConfig, BertModel

        torch.manual_seed(0)
        self.model: nn.Module = BertModel(BertConfig()).eval()
        ids = torch.randint(5, 1000, (5, 13))
        self.examples = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        traced = fxprune.capture(self.model, self.examples)
        self.limits = constraints(self.model, traced)
        self.student = Student(traced, free_outputs=feature_outputs(traced))
        self.params = Budget.of(traced, self.student.groups)
        space = Space.of(self.student.groups, self.limits, min_keep=0.0)
        self.files = Files(traced, space, self.student.free_outputs)

    def plan(self, cache: Path | None, **goal: Any) -> LatencyPlan:
        """Choose widths."""
        say = lambda text: ERR.print(text, style="dim")  # noqa: E731
        return plan_by_latency(self.student, Goal(**goal), self.limits, say=say, folder=cache)

    def export(self, counts: Mapping[str, int], path: Path, precision: Precision = "float32") -> Path:
        """Write the file of some widths."""
        if not path.exists():
            replace(self.files, precision=precision).export(self.files.space.widths(counts), path)
        return path

    def stock(self, path: Path) -> Path:
        """Write the teacher as the exporter of torch does by itself."""
        if not path.exists():
            names = {"input_ids": {0: "batch", 1: "length"}, "attention_mask": {0: "batch", 1: "length"}}
            shapes = {key: {0: torch.export.Dim("batch"), 1: torch.export.Dim("length", max=512)} for key in names}
            with quiet(), torch.no_grad():
                program = torch.onnx.export(
                    self.model,
                    kwargs=self.examples,
                    input_names=list(self.examples),
                    dynamic_shapes=shapes,
                    dynamo=True,
                    verbose=False,
                )
            assert program is not None
            program.save(path)
        return path

    def flops(self, counts: Mapping[str, int], batch: int, length: int) -> int:
        """Count the FLOPs at one shape."""
        return FlopBudget.of(self.student.traced, self.student.groups, batch=batch, length=length).count(counts)


def sizes(
    teacher: Teacher, cache: Path | None, folder: Path, wanted: Iterable[str], threads: tuple[int, ...], rounds: int
) -> list[Row]:
    """Compare the plan by latency with the uniform one, at each number of parameters; all files take turns."""
    named: dict[str, dict[str, Mapping[str, int]]] = {}
    seconds: dict[str, float] = {}
    paths = {"stock teacher": teacher.stock(folder / "teacher.onnx")}
    for target in wanted:
        start = monotonic()
        plan = teacher.plan(cache, target_params=target, optimise_for="latency", at=AT)
        seconds[target] = monotonic() - start
        uniform = solve(teacher.params, teacher.student.groups, Goal(target_params=target).target(0), teacher.limits)
        named[target] = {"uniform": uniform, "by latency": plan.counts}
        for name, counts in named[target].items():
            file = folder / f"{spelled(teacher, counts)}.onnx"
            paths[f"{name} {target}"] = teacher.export(counts, file)
    found: list[Row] = []
    for shape, number in ((shape, n) for n in threads for shape in reversed(GRID)):
        rows = latency_table(paths, teacher.examples, [shape], [number], rounds=rounds, seconds=10.0)
        ERR.print(*(f"{row.model}: {row.p50_ms:.2f} ms" for row in rows), f"at {shape}, {number} threads", sep="  ")
        for target in named:
            cell = {row.model.removesuffix(f" {target}"): row for row in rows}
            found.append(compared(teacher, target, named[target], cell, seconds[target]))
    return sorted(found, key=lambda row: row["size"])


def compared(
    teacher: Teacher,
    target: str,
    named: Mapping[str, Mapping[str, int]],
    cell: Mapping[str, LatencyRow],
    seconds: float,
) -> Row:
    """Return one line: both plans at one shape."""
    stock, even, fast = (cell[name] for name in ("stock teacher", "uniform", "by latency"))
    length = fast.length or 1
    dense, left = (teacher.flops(counts, fast.batch, length) for counts in ({}, named["by latency"]))
    return {
        "size": target,
        "at": f"{fast.batch}x{length}",
        "threads": fast.threads,
        "widths": {name: spelled(teacher, counts) for name, counts in named.items()},
        "params": {name: teacher.params.count(counts) for name, counts in named.items()},
        "ms": {row.model: [row.p25_ms, row.p50_ms, row.p75_ms] for row in (stock, even, fast)},
        "faster": even.p50_ms / fast.p50_ms,
        "faster range": [even.p25_ms / fast.p75_ms, even.p75_ms / fast.p25_ms],
        "speed-up": stock.p50_ms / fast.p50_ms,
        "flop ratio": dense / left,
        "planning seconds": round(seconds, 1),
    }


def spelled(teacher: Teacher, counts: Mapping[str, int]) -> str:
    """Return ``hidden 240, 4 x 60, FFN 960``."""
    space = teacher.files.space
    widths = {kind.role: n for kind, n in zip(space.kinds, space.widths(counts), strict=True) if len(kind.groups) != 1}
    hidden = next(n for kind, n in zip(space.kinds, space.widths(counts), strict=True) if kind.role == "hidden")
    return f"hidden {hidden}, {widths['heads']} x {widths['qk']}, FFN {widths['inner']}"


def targets(teacher: Teacher, cache: Path | None, folder: Path, wanted: Iterable[str]) -> list[Row]:
    """See how near each target in milliseconds is met."""
    found: list[Row] = []
    for text in wanted:
        ms, _, at = text.partition("@")
        start = monotonic()
        plan = teacher.plan(cache, target_latency=ms, at=at)
        seconds = monotonic() - start
        work = plan.workload
        path = teacher.export(plan.counts, folder / f"{text}.onnx", work.precision)
        (row,) = latency_table(
            {"student": path}, teacher.examples, [(work.batch, work.length)], [work.threads], rounds=12
        )
        found.append(
            {
                "target": ms,
                "at": at,
                "widths": spelled(teacher, plan.counts),
                "params": teacher.params.count(plan.counts),
                "predicted": plan.predicted_ms,
                "again": [row.p25_ms, row.p50_ms, row.p75_ms],
                "of target": row.p50_ms / (plan.target_ms or 1.0),
                "cuts": [asdict(cut) for cut in plan.cuts],
                "planning seconds": round(seconds, 1),
            }
        )
    return found


@click.command()
@click.option("--size", "wanted", multiple=True, default=SIZES, show_default=True, help="Parameters; may be repeated.")
@click.option("--target", "times", multiple=True, default=TARGETS, show_default=True, help="May be repeated.")
@click.option("--sizes/--no-sizes", "do_sizes", default=True)
@click.option("--targets/--no-targets", "do_targets", default=True)
@click.option("--threads", multiple=True, default=(1, 2), show_default=True)
@click.option(
    "--folder", type=click.Path(file_okay=False, path_type=Path), help="Keep the ONNX files, and use old ones."
)
@click.option("--rounds", default=12, show_default=True, help="Of five runs of each file, at most.")
@click.option("--fresh", is_flag=True, help="Forget what was timed on this machine.")
@click.option("--distil", is_flag=True, help="Instead: distil all-MiniLM-L6-v2 with either plan.")
@click.option("--data", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Of --distil.")
@click.option("--steps", default=300, show_default=True, help="Of --distil.")
@click.option("--seeds", default=1, show_default=True, help="Of --distil.")
@click.option("--json", "as_json", is_flag=True)
def main(
    wanted: tuple[str, ...],
    times: tuple[str, ...],
    do_sizes: bool,
    do_targets: bool,
    threads: tuple[int, ...],
    folder: Path | None,
    rounds: int,
    fresh: bool,
    distil: bool,
    data: Path | None,
    steps: int,
    seeds: int,
    as_json: bool,
) -> None:
    """Compare widths chosen by latency with uniform ones."""
    if distil:
        from latency_plan_scores import scores

        click.echo(scores(data, steps, seeds, as_json=as_json))
        return
    torch.set_num_threads(1)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    with nullcontext(folder) if folder else tempfile.TemporaryDirectory() as kept, tempfile.TemporaryDirectory() as new:
        cache, place = Path(new) if fresh else None, Path(kept)
        teacher = Teacher()
        found = {
            "machine": str(Machine.of_now()),
            "sizes": sizes(teacher, cache, place, wanted, tuple(threads), rounds) if do_sizes else [],
            "targets": targets(teacher, cache, place, times) if do_targets else [],
        }
    click.echo(json.dumps(found, indent=2) if as_json else to_markdown(found))


if __name__ == "__main__":
    main()
