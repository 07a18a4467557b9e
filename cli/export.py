"""``fxprune export``: an ONNX file of any model, checked in ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import click

from fxprune.cli import options as opt
from fxprune.cli.errors import handled
from fxprune.errors import UsageError


@click.command("export", short_help="Write a model as ONNX, checked against PyTorch.")
@opt.model
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path("model.onnx"),
    show_default=True,
    help="The ONNX file; the folder, with --with-past.",
)
@click.option("--with-past", is_flag=True, help="Write a folder that generates: graphs with a key-value cache.")
@click.option("--overwrite", is_flag=True, help="Replace the file.")
@opt.as_json
@handled
def command(model: str, output: Path, with_past: bool, overwrite: bool, as_json: bool) -> None:
    """Write MODEL as ONNX with free batch and length, checked against PyTorch at other shapes.

    fxprune export --model out/ --output student.onnx

    fxprune export --model gpt2 --with-past --output gpt2-onnx
    """
    if with_past:
        _generating(model, output, overwrite, as_json)
        return
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


def _generating(model: str, folder: Path, overwrite: bool, as_json: bool) -> None:
    """Write graphs with a key-value cache."""
    import json

    from fxprune.cli import render
    from fxprune.deploy.generation.stage import export_folder, generation_facts
    from fxprune.deploy.outputs import check_output

    if folder.suffix == ".onnx":
        raise UsageError("--with-past writes several files", remedy="give --output a folder")
    check_output(folder, overwrite, source=model)
    render.say(f"exporting {model} with a cache")
    done = export_folder(model, folder)
    if as_json:
        click.echo(json.dumps({"output": str(folder), **generation_facts(done)}))
        return
    for graph in done.graphs.values():
        render.tell(f"{graph.path}  opset {graph.opset} ({graph.rung}), largest error {graph.max_error:.1e}")
    render.tell(f'try it: fxprune generate {folder} --prompt "..."')
