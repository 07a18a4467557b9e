"""``fxprune evaluate``: fine-tune a model on a task and score it."""

from __future__ import annotations

from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

import click

from fxprune.cli import options as opt
from fxprune.cli.errors import handled
from fxprune.evaluation.config import POOLINGS
from fxprune.evaluation.tasks import TASKS

if TYPE_CHECKING:
    from fxprune.evaluation.result import Evaluation


@click.command("evaluate", short_help="Fine-tune a model on a task and score it.")
@opt.model
@click.option("--task", type=click.Choice(list(TASKS)), required=True, help="What is asked.")
@click.option("--data", type=opt.FOLDER, help="Folder with train and validation files.  [default: the hub]")
@click.option("--seeds", type=opt.AT_LEAST_1, default=3, show_default=True, help="Runs: 0, 1, ...")
@click.option("--epochs", type=float, help="Passes over the data; 0: score as it is.  [default: the task's own]")
@click.option("--max-steps", type=click.IntRange(min=0), help="Instead: optimizer steps.")
@click.option("--learning-rate", type=float, help="Peak of the schedule.  [default: 5e-5]")
@click.option("--batch-size", type=opt.AT_LEAST_1, help="Rows a step.  [default: 32, squad_v2: 48]")
@click.option("--length", type=opt.AT_LEAST_1, help="Most tokens of a row.  [default: 128, SQuAD: 384]")
@click.option("--train-rows", type=opt.AT_LEAST_1, help="Use as many, drawn at random.  [default: all]")
@click.option("--validation-rows", type=opt.AT_LEAST_1, help="Use as many, drawn at random.  [default: all]")
@click.option("--null-threshold", default=0.0, show_default=True, help="squad_v2: margin for no answer, in logits.")
@click.option(
    "--pooling", type=click.Choice(POOLINGS), default="model", show_default=True, help="What a sentence's head reads."
)
@click.option("--bf16", is_flag=True, help="Multiply in bfloat16: twice as fast where the processor has it.")
@click.option("--output", type=opt.FILE, help="Write the result as JSON too.")
@click.option("--overwrite", is_flag=True, help="Replace that file.")
@opt.options(opt.device, opt.as_json)
@handled
def command(
    model: str, task: str, data: Path | None, output: Path | None, overwrite: bool, as_json: bool, **settings: Any
) -> None:
    """Fine-tune MODEL on a task, once for each seed, and score it with the task's official metric.

    fxprune evaluate out/ --task sst2 --seeds 5
    """
    import json

    from fxprune.atomic import atomic_write
    from fxprune.cli import render
    from fxprune.evaluation.config import EvaluationConfig
    from fxprune.evaluation.run import evaluate

    config = EvaluationConfig(**settings)
    if output is not None:
        opt.check_file(output, overwrite)
    render.say(f"evaluating {model} on {task}")
    result = evaluate(model, task, data=data, config=config, on_step=_Steps())
    text = json.dumps(result.to_json(), indent=2)
    if output is not None:
        atomic_write(output, text + "\n")
    if as_json:
        click.echo(text)
    else:
        _show(result)


class _Steps:
    """Tells on stderr how far a seed is, ten times in all."""

    def __init__(self) -> None:
        self.began = monotonic()

    def __call__(self, seed: int, step: int, steps: int, loss: float) -> None:
        from fxprune.cli import render

        if step == 1:
            self.began = monotonic()
        if step == 1 or step == steps or step % max(steps // 10, 1) == 0:
            left = (monotonic() - self.began) / max(step - 1, 1) * (steps - step)
            wait = f"  {left:.0f} s left" if 1 < step < steps else ""
            render.say(f"seed {seed}  step {step}/{steps}  loss {loss:.3f}{wait}")


def _show(result: Evaluation) -> None:
    from rich.table import Table

    from fxprune.cli import render

    rows = ", ".join(f"{count:,} {split}" for split, count in result.rows.items())
    render.tell(f"{result.model} on {result.task}: {result.parameters:,} parameters, {rows} rows")
    if result.fresh:
        render.tell(f"drawn anew for each seed: {', '.join(result.fresh)}")
    table = Table()
    for heading in ("metric", "median", "lowest", "highest", *(f"seed {run.seed}" for run in result.runs)):
        table.add_column(heading, justify="left" if heading == "metric" else "right")
    for name, values in result.scores.items():
        table.add_row(name, *(f"{value:.4f}" for value in (result.median[name], *result.spread[name], *values)))
    render.out().print(table)
