"""``fxprune bench``: models and ONNX files, side by side."""

from __future__ import annotations

from typing import Any

import click

from fxprune.cli import options as opt
from fxprune.cli.errors import handled
from fxprune.errors import DeployError


@click.command("bench", short_help="Time models and ONNX files side by side.")
@click.argument("models", nargs=-1, required=True)
@opt.trusted
@opt.options(opt.grid, opt.threads, opt.provider)
@click.option("--rounds", type=opt.AT_LEAST_1, default=20, show_default=True, help="Most turns of each model a shape.")
@click.option("--seconds", type=click.FloatRange(min=0), default=5.0, show_default=True, help="Most time for a shape.")
@click.option("--warmup", type=opt.AT_LEAST_1, default=3, show_default=True, help="Runs before the first that counts.")
@click.option("--check", is_flag=True, help="Exit with 1 if outputs differ from the first model's.")
@click.option("--tolerance", default=1e-3, show_default=True, help="Of --check, relative to the largest value.")
@click.option("--markdown", is_flag=True, help="Print Markdown.")
@opt.as_json
@handled
def command(
    models: tuple[str, ...],
    check: bool,
    tolerance: float,
    markdown: bool,
    as_json: bool,
    **timing: Any,
) -> None:
    """Time MODELS (folders, hub names, 'demo', .onnx files) in ONNX Runtime, in turn; the first is the baseline.

    All get the same inputs, and their outputs are compared first.

    fxprune bench bert-base-uncased out/ out/onnx/model.int8.onnx --threads 1 --threads 2
    """
    from fxprune.cli.comparing import compared, show
    from fxprune.deploy.comparison import Timing

    found = compared(models, Timing(**timing))
    show(found, as_json=as_json, markdown=markdown)
    if check and (apart := found.apart(tolerance)):
        raise DeployError(
            f"outputs of {', '.join(apart)} are not those of {models[0]} within {tolerance:g}",
            remedy="see the table, or pass a larger --tolerance",
        )
