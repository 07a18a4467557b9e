"""``fxprune distill``: the main job."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from fxprune.cli import options as opt
from fxprune.cli.errors import handled

OBJECTIVES = ["auto", "masked-lm", "causal-lm", "seq2seq", "features", "classification"]


@click.command("distill", short_help="Narrow a model while it learns from its dense self.")
@opt.options(opt.model, opt.dataset, opt.target, opt.target_flops, opt.target_ratio, opt.recipe)
@opt.options(opt.target_latency, opt.at, opt.optimise_for)
@opt.options(opt.allocation, opt.min_keep, opt.round_to, opt.output, opt.overwrite)
@click.option("--snapshots", type=opt.COUNTS, default=(), help="65M,30M,15M: a folder at each; the last is the target.")
@click.option("--max-steps", type=opt.AT_LEAST_1, default=300, show_default=True, help="Optimizer steps.")
@click.option("--repeat/--no-repeat", default=True, help="Read the text again where it ends before the run.")
@click.option("--batch-size", type=opt.AT_LEAST_1, default=16, show_default=True, help="Sequences a step.")
@click.option("--micro-batch", type=opt.AT_LEAST_1, help="Sequences at a time, to save memory.  [default: all]")
@click.option("--auto-batch", is_flag=True, help="Let --micro-batch grow as the model shrinks, or halve it.")
@click.option("--precision", type=click.Choice(["float32", "bf16"]), default="float32", show_default=True)
@click.option("--length", type=opt.AT_LEAST_1, default=64, show_default=True, help="Tokens a sequence.")
@click.option("--learning-rate", default=1e-3, show_default=True, help="Peak of the schedule.")
@click.option("--schedule", type=click.Choice(["cubic", "linear", "one-shot"]), default="cubic", show_default=True)
@click.option("--start", default=0.02, show_default=True, help="Fraction of the steps before the first cut.")
@click.option("--end", default=0.5, show_default=True, help="Fraction of the steps by which the target is reached.")
@click.option("--interval", type=opt.AT_LEAST_1, default=5, show_default=True, help="Steps between cuts.")
@click.option("--rewrite-every", type=opt.AT_LEAST_0, help="Zero units, cut them at every n-th cut; 0: at the end.")
@click.option("--revive/--no-revive", default=False, help="Zeroed units train on and may return before the next cut.")
@click.option("--importance", default="sensitivity", show_default=True, help="Score of the units.")
@click.option("--per-matrix", is_flag=True, help="Give every matrix the same say in the score of a unit.")
@click.option("--loss-weight", "loss_weights", type=opt.LOSS_WEIGHT, multiple=True, help="As kl=0.5; may be repeated.")
@click.option("--objective", type=click.Choice(OBJECTIVES), default="auto", show_default=True, help="From the head.")
@click.option("--text-column", help="Column to read, where the data set has several; a pair as one,other.")
@click.option("--target-column", help="Column of labels, tags or the text to write.")
@click.option("--eval-every", type=opt.AT_LEAST_0, help="Steps between looks at held-out text.  [default: 20 a run]")
@click.option("--resume", type=opt.FOLDER, metavar="FOLDER", help="Go on with the run in FOLDER, as it was told.")
@click.option("--checkpoint-every", type=opt.AT_LEAST_1, metavar="STEPS", help="[default: about every 5 minutes]")
@click.option(
    "--keep-checkpoints", type=opt.AT_LEAST_1, default=2, show_default=True, help="The last ones, and snapshots."
)
@click.option("--log-with", multiple=True, metavar="TRACKER", help="tensorboard, wandb, ...; may be repeated.")
@click.option("--timeout", default=600.0, show_default=True, help="Seconds a process waits for the others of a run.")
@opt.options(opt.repair, opt.repair_batches)
@click.option(
    "--repair-interval", type=opt.AT_LEAST_1, default=4, show_default=True, help="Cuts from one repair to the next."
)
@opt.options(opt.device, opt.seed, opt.verify, opt.int8_too, opt.latency, opt.grid, opt.threads, opt.as_json)
@handled
def command(
    model: str,
    dataset: str | None,
    output: Path,
    overwrite: bool,
    schedule: Any,
    start: float,
    end: float,
    interval: int,
    rewrite_every: int | None,
    revive: bool,
    loss_weights: tuple[tuple[str, float], ...],
    text_column: str | None,
    target_column: str | None,
    int8: bool,
    resume: Path | None,
    checkpoint_every: int | None,
    keep_checkpoints: int,
    latency: bool,
    grid: tuple[tuple[int, int], ...],
    threads: tuple[int, ...],
    as_json: bool,
    **settings: Any,
) -> None:
    """Narrow MODEL step by step while it learns from its dense self.

    fxprune distill --model bert-base-uncased --target-params 15M
    """
    if resume is not None:
        from fxprune.cli.resuming import resume_job

        resume_job(resume, opt.given())
        return
    settings |= opt.rest_of_recipe() | opt.chosen_target()
    from fxprune.cli.distilling import Job, distill_job
    from fxprune.distillation.checkpoints.order import Order
    from fxprune.distillation.config import DistillConfig, LossWeights, ScheduleConfig

    config = DistillConfig(
        schedule=ScheduleConfig(
            kind=schedule, start=start, end=end, interval=interval, rewrite_every=rewrite_every, revive=revive
        ),
        loss=LossWeights(**dict(loss_weights)),
        **settings,
    )
    order = Order(
        model=model,
        dataset=dataset,
        config=config,
        text_column=text_column,
        target_column=target_column,
        latency=latency,
        int8=int8 or config.goal.of_int8,
        grid=grid,
        threads=threads,
        checkpoint_every=checkpoint_every,
        keep_checkpoints=keep_checkpoints,
    )
    distill_job(Job(order=order, folder=output, overwrite=overwrite, as_json=as_json))
