"""``fxprune export``: an ONNX file of any model, checked in ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import click

from fxprune.cli import options as opt
from fxprune.cli.errors import handled


@click.command("export", short_help="Write a model as ONNX, checked against PyTorch.")
@opt.model
@click.option("--output", type=opt.FILE, default=Path("model.onnx"), show_default=True, help="The ONNX file.")
@click.option("--overwrite", is_flag=True, help="Replace the file.")
@opt.as_json
@handled
def command(model: str, output: Path, overwrite: bool, as_json: bool) -> None:
    """Write MODEL as ONNX with free batch and length, checked against PyTorch at other shapes.

    fxprune export --model out/ --output student.onnx
    """
    import json

    from fxprune.cli import render
    from fxprune.cli.graphs import open_graph
    from fxprune.deploy.onnx import export_onnx

    opt.check_file(output, overwrite)
    render.say(f"exporting {model}")
    opened = open_graph(model)
    done = export_onnx(opened.traced, opened.examples, output)
    facts = {"path": str(done.path), "opset": done.opset, "rung": done.rung, "max_error": done.max_error}
    if as_json:
        click.echo(json.dumps(facts))
    else:
        render.tell(f"{done.path}  opset {done.opset} ({done.rung}), largest error {done.max_error:.1e}")
