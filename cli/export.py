"""``fxprune export``: an ONNX file of any model, checked in ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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
@opt.int8
@click.option("--dataset", help="Text or images for static int8: hub name, local files, or 'demo'.")
@click.option("--calibration-batches", type=click.IntRange(min=2), default=8, show_default=True, help="Of that text.")
@click.option("--float-tables", is_flag=True, help="Leave embeddings out of int8: a larger file, a little nearer.")
@click.option("--fp16", is_flag=True, help="Write float16, for GPU providers.")
@click.option(
    "--length",
    type=opt.AT_LEAST_1,
    default=128,
    show_default=True,
    help="Tokens, if a loop over them fixes the length.",
)
@opt.options(opt.provider, opt.as_json)
@handled
def command(
    model: str,
    output: Path,
    with_past: bool,
    overwrite: bool,
    int8: str | None,
    dataset: str | None,
    calibration_batches: int,
    float_tables: bool,
    fp16: bool,
    length: int,
    provider: str,
    as_json: bool,
) -> None:
    """Write MODEL as ONNX with free batch and length, checked against PyTorch at other shapes.

    An int8 or float16 file is compared with the float32 file of the same model, which has passed that check.

    fxprune export --model out/ --output student.int8.onnx --int8

    fxprune export --model gpt2 --with-past --output gpt2-onnx
    """
    if with_past and (int8 == "static" or fp16):
        raise UsageError("--with-past writes float32, or dynamic int8", remedy="leave out --fp16 and static")
    _check(int8, dataset, fp16)
    if with_past:
        _generating(model, output, overwrite, as_json, int8=int8 is not None, tables=not float_tables)
        return
    import json

    from fxprune.cli import render
    from fxprune.cli.graphs import open_graph
    from fxprune.cli.precision import export_fp16_of, export_int8_of, export_plain
    from fxprune.deploy.providers import find_provider

    find_provider(provider)
    opt.check_file(output, overwrite)
    render.say(f"exporting {model}")
    opened = open_graph(model, length)
    if int8:
        tables = not float_tables
        done = export_int8_of(opened, output, int8, dataset, calibration_batches, tables=tables, say=render.say)
    elif fp16:
        done = export_fp16_of(opened, output, provider)
    else:
        done = export_plain(opened, output, provider)
    path, facts, line = done
    if as_json:
        click.echo(json.dumps({"path": str(path), **facts}))
    else:
        render.tell(line)


def _generating(model: str, folder: Path, overwrite: bool, as_json: bool, *, int8: bool, tables: bool) -> None:
    """Write graphs with a key-value cache."""
    import json

    from fxprune.cli import render
    from fxprune.cli.precision import int8_line, int8_steps_line
    from fxprune.deploy.generation.stage import export_folder, generation_facts
    from fxprune.deploy.output_folder import check_output

    if folder.suffix == ".onnx":
        raise UsageError("--with-past writes several files", remedy="give --output a folder")
    check_output(folder, overwrite, source=model)
    render.say(f"exporting {model} with a cache")
    done = export_folder(model, folder, int8=int8, tables=tables)
    if as_json:
        click.echo(json.dumps({"output": str(folder), **generation_facts(done)}))
        return
    for graph in done.graphs.values():
        where = "before int8: " if int8 else f"{graph.path}  "
        render.tell(f"{where}opset {graph.opset} ({graph.rung}), largest error {graph.max_error:.1e}")
    for export in done.int8.values():
        render.tell(int8_line(export))
    if done.int8_agreement is not None:
        render.tell(int8_steps_line(done.int8_agreement))
    render.tell(f'try it: fxprune generate {folder} --prompt "..."')


def _check(int8: str | None, dataset: Any, fp16: bool) -> None:
    if int8 and fp16:
        raise UsageError("--int8 and --fp16 are two files", remedy="call export once for each")
    if dataset and int8 != "static":
        raise UsageError("--dataset is the text of static int8", remedy="add --int8 static")
    if int8 == "static" and not dataset:
        raise UsageError("static int8 needs text to calibrate on", remedy="pass --dataset TEXT, or --int8 dynamic")
