"""What checkpoints cost at BERT-base size: time and size of one, and the share of a run at the default interval.

    OMP_NUM_THREADS=1 python benchmarks/checkpoint_cost.py

Random weights in the shape of bert-base-uncased (configuration and vocabulary from the hub, or with --data DATA from
DATA/bert-base-uncased; the text from DATA/wikipedia_en). The student is dense, with Adam's moments, at first, and at
15M parameters afterwards. A checkpoint is synced to the disk and hashed; then it is read, hashed again, and put into a
new run.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from bert_base import make_folder
from common import Machine
from texts import wikipedia

from fxprune.distillation.checkpoints.keeper import SECONDS, SHARE, Keeper, Keeping
from fxprune.distillation.config import DistillConfig, ScheduleConfig
from fxprune.distillation.course import Run
from fxprune.distillation.run import prepare
from fxprune.sources import Source, load_model


def timed(work: Callable[[], object]) -> float:
    """Return the seconds something takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def write(keeper: Keeper, repeats: int) -> dict[str, Any]:
    """Write the same checkpoint several times."""
    seconds = []
    for _ in range(repeats):
        keeper.written = 0
        seconds.append(timed(keeper.write))
    path = keeper.root / f"step-{keeper.run.distiller.done}"
    size = sum(file.stat().st_size for file in path.iterdir())
    median = statistics.median(seconds)
    interval = max(SECONDS, SHARE * median)
    return {
        "parameters": keeper.run.distiller.student.traced.num_parameters(),
        "MB": round(size / 1e6),
        "write s": round(median, 2),
        "from, to": [round(min(seconds), 2), round(max(seconds), 2)],
        "interval s": round(interval),
        "share of the run": f"{median / (interval + median):.2%}",
    }


def began(source: Source, dataset: str, config: DistillConfig) -> Run:
    """Return a run that is ready for its first step."""
    return prepare(source.model, source.tokenizer, dataset, config)


@click.command()
@click.option("--data", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--repeats", default=3, show_default=True)
@click.option("--target", default="15M", show_default=True)
def main(data: Path | None, repeats: int, target: str) -> None:
    """Measure, and print."""
    schedule = ScheduleConfig(kind="one-shot", start=0.5, end=1.0)
    config = DistillConfig(
        target_params=target, max_steps=4, batch_size=1, length=64, held_out_batches=1, eval_every=0, schedule=schedule
    )
    with tempfile.TemporaryDirectory(dir=".") as temporary:
        make_folder(data, Path(temporary) / "model")
        source = load_model(str(Path(temporary) / "model"))
        run = began(source, wikipedia(data), config)
        keeping = Keeping(folder=Path(temporary) / "out")
        keeper = Keeper(run, keeping)
        keeper.take_over()
        found: dict[str, Any] = {"machine": str(Machine.of_now())}
        steps = run.steps()
        keeper.note(next(steps))
        found["dense"] = write(keeper, repeats)
        for _ in range(2):
            keeper.note(next(steps))
        found["slim"] = write(keeper, repeats)
        resumed = Keeper(began(source, wikipedia(data), config), Keeping(folder=keeping.folder, resume=True))
        found["slim"]["read and restore s"] = round(timed(resumed.restore), 2)
    click.echo(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
