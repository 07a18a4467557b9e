"""What a repair after each cut is worth: the jump of every cut, and the result, with and without.

    python benchmarks/repair.py --data DATA

On all-MiniLM-L6-v2, at each target, in one cut without any training, and with training in one cut and in many: Spearman
on STS-B and the held-out feature error. Before and after some of the cuts the held-out error is measured too: their
difference is the jump. `--model demo` does the same with a masked-LM teacher, whose error is the KL to the teacher.
`--penalty` and `--no-bias` show what choosing the penalty by held-out error and fitting the bias are worth. Seconds are
those of this process, which waits for nobody.
Text and pairs come from the hub, or from DATA/wikipedia_en and DATA/stsb/validation.parquet.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import islice, product
from pathlib import Path
from typing import Any

import click
import torch
from minilm import minilm, spearman, sts_rows
from rich.console import Console
from rich.table import Table
from texts import wikipedia

from fxprune.distillation.config import DistillConfig, ScheduleConfig
from fxprune.distillation.loop import Distiller
from fxprune.distillation.objective import Batch
from fxprune.distillation.run import Run, prepare
from fxprune.inference import output_values
from fxprune.refit import Settings
from fxprune.ridge import GRID
from fxprune.sources import DEMO, Source, load_model
from fxprune.units import Kept

ERR = Console(stderr=True)
SCORING = 16  # batches the units are scored on where nothing is trained
REFIT = 16  # batches the maps are fitted on at the end


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One run."""

    target: str
    path: str
    steps: int
    repair: str
    seed: int
    params: int
    spearman: float | None
    mapped: float | None
    error: float  # held out: of the features, or KL to the teacher
    jump: float  # mean rise of it at the cuts that were looked at
    before: float  # mean of it before them
    weights: tuple[float, float] | None  # held-out error of the weights before and after a repair, on average
    seconds: float  # of this process, in training and repairs
    repairing: float  # of that, for repairs


class Watched:
    """Stands around the cuts of a run: times repairs, and measures before and after every n-th cut."""

    def __init__(self, run: Run, error: str, every: int) -> None:
        self.distiller, self.held_out, self.error, self.every = run.distiller, run.held_out[:4], error, every
        self.around, self.repair = run.distiller.mender.around, run.distiller.mender.repairer.repair
        self.jumps: list[tuple[float, float]] = []
        self.cuts, self.repairing, self.measuring = 0, 0.0, 0.0
        run.distiller.mender.around = self._around  # type: ignore[method-assign]
        run.distiller.mender.repairer.repair = self._repair  # type: ignore[method-assign]

    def _around(self, step: int, cut: Callable[[Sequence[Callable[[Kept], None]]], bool], *, last: bool) -> bool:
        looked = self.every > 0 and self.distiller.cutter.due(step) and self.cuts % self.every == 0
        before = self._measured() if looked else 0.0
        done = self.around(step, cut, last=last)
        self.cuts += done
        if looked and done:
            self.jumps.append((before, self._measured()))
        return done

    def _repair(self, calibration: Any) -> Any:
        began = time.process_time()
        found = self.repair(calibration)
        self.repairing += time.process_time() - began
        return found

    def _measured(self) -> float:
        began = time.process_time()
        value = measured(self.distiller, self.held_out)[self.error]
        self.measuring += time.process_time() - began
        return value


def measured(distiller: Distiller, batches: list[Batch]) -> dict[str, float]:
    """Return the held-out terms, each map fitted to the student as it is, and leave no trace."""
    maps = distiller.terms.maps.values()
    kept = [(each.weight, each.inner, each.cross) for each in maps]
    fit_maps(distiller, batches[:-1])
    found = distiller.evaluate(batches[-1:])["student"]
    for each, (weight, inner, cross) in zip(maps, kept, strict=True):
        each.weight, each.inner, each.cross = weight, inner, cross
        each.forget()
    return found


@torch.no_grad()
def fit_maps(distiller: Distiller, batches: list[Batch]) -> None:
    """Fit the maps to the teacher's width anew."""
    for each in distiller.terms.maps.values():
        each.inner, each.cross = torch.zeros_like(each.inner), torch.zeros_like(each.cross)
        each.forget()
    for batch in batches:
        teacher, student = (
            distiller.terms.run(model, batch) for model in (distiller.teacher, distiller.student.traced)
        )
        distiller.terms(student, teacher, batch, observe=True)
    for each in distiller.terms.maps.values():
        each.keep()
        each.refit()


def configured(
    target: str, path: str, steps: int, repair: str, schedule: dict[str, Any], options: dict[str, Any]
) -> DistillConfig:
    """Return the settings of one run; without training, the one cut comes at the last step."""
    times = {"start": 0.99, "end": 1.0} if steps == 0 else schedule
    return DistillConfig(
        target_params=target,
        max_steps=steps or SCORING,
        schedule=ScheduleConfig(kind="one-shot" if path == "one-shot" else "cubic", **times),
        repair=repair,  # type: ignore[arg-type]
        device="cpu",
        length=32,
        batch_size=32,
        held_out_batches=REFIT + 8,
        **options,
    )


def arm(
    source: Source, dataset: str, config: DistillConfig, settings: Settings, every: int, pairs: Any
) -> dict[str, Any]:
    """Distil once and measure; `pairs` are sentences with their similarity, None for a model of no sentences."""
    run = prepare(source.model, source.tokenizer, dataset, config)
    run.distiller.mender.repairer.settings = settings
    error = "hidden" if run.start.objective == "features" else "kl"
    watched = Watched(run, error, every)
    began = time.process_time()
    for _ in run.steps():
        pass
    seconds = time.process_time() - began - watched.measuring
    fit_maps(run.distiller, list(islice(run.batches, REFIT)))
    result = run.result()
    weight = result.student.meta["maps"].get(output_values(result.student)[0].name)
    repairs = [repairs for _, repairs in run.distiller.mender.history]
    count = max(len(watched.jumps), 1)
    return {
        "params": result.student_params,
        "spearman": None if pairs is None else spearman(result.student, source, pairs),
        "mapped": None if pairs is None else spearman(result.student, source, pairs, weight),
        "error": result.held_out["student"][error],
        "before": sum(before for before, _ in watched.jumps) / count,
        "jump": sum(after - before for before, after in watched.jumps) / count,
        "weights": tuple(sum(r.error(i) for r in repairs) / len(repairs) for i in (0, 1)) if repairs else None,
        "seconds": seconds,
        "repairing": watched.repairing,
    }


def table(rows: list[Row], title: str) -> Table:
    """Lay the rows out."""
    laid = Table(title=title)
    for column in ("target", "path", "steps", "repair", "seed", "STS-B", "mapped", "held-out error"):
        laid.add_column(column, justify="left" if column in ("path", "repair") else "right")
    for column in ("before cuts", "jump", "weights before", "after", "s", "s repair"):
        laid.add_column(column, justify="right")
    for row in rows:
        weights = row.weights or (None, None)
        numbers = (row.spearman, row.mapped, row.error, row.before, row.jump, *weights)
        times = (f"{row.seconds:.0f}", f"{row.repairing:.0f}")
        cells = (row.target, row.path, str(row.steps), row.repair, str(row.seed))
        laid.add_row(*cells, *("" if n is None else f"{n:.3f}" for n in numbers), *times)
    return laid


@click.command()
@click.option("--data", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--model", default="minilm", show_default=True, help="minilm, or demo.")
@click.option("--targets", default="9M,3.7M", show_default=True)
@click.option("--paths", default="one-shot,homotopic", show_default=True)
@click.option("--repairs", default="none,least-squares", show_default=True)
@click.option("--steps", default="0,200", show_default=True, help="0: a cut without training.")
@click.option("--seeds", default="0", show_default=True)
@click.option("--repair-batches", default=16, show_default=True, help="Of 1,024 tokens.")
@click.option("--repair-interval", default=1, show_default=True)
@click.option("--interval", default=5, show_default=True, help="Steps from one cut to the next.")
@click.option("--start", default=0.02, show_default=True, help="Fraction of the steps before the first cut.")
@click.option("--every", default=4, show_default=True, help="The cuts that are measured; 0: none.")
@click.option(
    "--penalty", type=float, help="Of all weights, relative to the mean square of a feature.  [default: chosen]"
)
@click.option("--no-bias", is_flag=True, help="Fit the weights alone.")
@click.option("--json", "as_json", is_flag=True)
def main(
    data: Path | None,
    model: str,
    targets: str,
    paths: str,
    repairs: str,
    steps: str,
    seeds: str,
    repair_batches: int,
    repair_interval: int,
    interval: int,
    start: float,
    every: int,
    penalty: float | None,
    no_bias: bool,
    as_json: bool,
) -> None:
    """Compare cuts with and without repair."""
    torch.set_num_threads(1)
    source = load_model(DEMO if model == DEMO else minilm())
    pairs, dataset = (None, DEMO) if model == DEMO else (sts_rows(data), wikipedia(data))
    settings = Settings(grid=GRID if penalty is None else (penalty,), bias=not no_bias)
    found: list[Row] = []
    chosen = (targets.split(","), map(int, seeds.split(",")), map(int, steps.split(",")), paths.split(","))
    for target, seed, n, path, repair in product(*chosen, repairs.split(",")):
        if n == 0 and path != "one-shot":
            continue
        options = {"seed": seed, "repair_batches": repair_batches, "repair_interval": repair_interval}
        config = configured(target, path, n, repair, {"start": start, "interval": interval}, options)
        facts = arm(source, dataset, config, settings, every if n else 1, pairs)
        found.append(Row(target=target, path=path, steps=n, repair=repair, seed=seed, **facts))
        ERR.print(str(found[-1]))
    if as_json:
        click.echo(json.dumps([asdict(row) for row in found], indent=2))
    else:
        Console(width=160).print(table(found, f"{model}: cuts with and without repair"))


if __name__ == "__main__":
    main()
