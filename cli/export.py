"""``fxprune export``: an ONNX file of any model, checked in ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import click

from fxprune.cli import options as opt
from fxprune.cli.errors import handled


@click.command("export")
@opt.model
@click.option("--output", type=opt.FILE, default=Path("model.onnx"), show_default=True, help="The ONNX file.")
@opt.options(opt.overwrite, opt.as_json)
@handled
def command(model: str, output: Path, overwrite: bool, as_json: bool) -> None:
    """Write MODEL as ONNX with free batch and length, checked against PyTorch at other shapes.

    fxprune export --model out/ --output student.onnx
    """
    import json

    from fxprune import capture
    from fxprune.deploy.onnx import export_onnx
    from fxprune.errors import UsageError
    from fxprune.sources import example_inputs, load_model

    if output.exists() and not overwrite:
        raise UsageError(f"{str(output)!r} exists", remedy="choose another --output, or pass --overwrite")
    source = load_model(model)
    examples = example_inputs(source.model, source.tokenizer)
    done = export_onnx(capture(source.model, examples), examples, output)
    facts = {"path": str(done.path), "opset": done.opset, "rung": done.rung, "max_error": done.max_error}
    if as_json:
        click.echo(json.dumps(facts))
    else:
        click.echo(f"{done.path}  opset {done.opset} ({done.rung}), largest error {done.max_error:.1e}")
