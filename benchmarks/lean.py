"""The ONNX file fxprune writes, beside a graph fused by hand and the stock export, of the same widths and weights.

\b
fxprune       export_onnx
hand-fused    91 nodes in ONNX Runtime's own ops (com.microsoft Attention with packed weights, SkipLayerNormalization,
              BiasGelu), written with onnx.helper in hand_graph.py
stock         torch.onnx.export of a BertModel of transformers, with its defaults
teacher       the same of BERT-base

Weights are random, and equal in the first three, whose outputs are compared before any time is taken. Runs alternate.

    python benchmarks/lean.py
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

import click
import onnx
import torch
from common import Machine
from hand_graph import write_hand_graph
from transformers import BertConfig, BertModel

from fxprune.deploy.fusions import count_ops, kernel_times
from fxprune.deploy.latency import LatencyRow, latency_table
from fxprune.deploy.onnx import export_onnx
from fxprune.deploy.ort import open_session, run
from fxprune.deploy.parity import worst_error
from fxprune.quiet import quiet
from fxprune.shapes import resized

LAYERS = 12
FXPRUNE, HAND, STOCK, TEACHER = "fxprune", "hand-fused", "stock", "teacher"
AGREE = 1e-4
BOUNDS = "bounds: fxprune / hand-fused at most 1.02; fxprune / stock at most 1.00, at 1 x 32 at most 0.85"


def bert(width: int, heads: int) -> BertModel:
    """Return an encoder with random weights whose biases and norms differ from one another."""
    torch.manual_seed(0)
    config = BertConfig(
        hidden_size=width, num_attention_heads=heads, intermediate_size=4 * width, num_hidden_layers=LAYERS
    )
    model = BertModel(config, add_pooling_layer=False).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.02)
    return model


def inputs() -> dict[str, torch.Tensor]:
    """Return tokens with ragged masks."""
    ids = torch.randint(5, 30_000, (5, 13), generator=torch.Generator().manual_seed(0))
    return {"input_ids": ids, "attention_mask": (torch.arange(13) < 13 - torch.arange(5)[:, None]).long()}


def write_stock(model: BertModel, path: Path) -> None:
    """Export as a user of transformers and torch would."""
    axes = {name: {0: "batch", 1: "length"} for name in inputs()}
    with torch.no_grad(), quiet():
        program = torch.onnx.export(model, (), kwargs=inputs(), dynamic_shapes=axes, dynamo=True, verbose=False)
        assert program is not None
        program.save(path)


def contenders(width: int, heads: int, folder: Path) -> dict[str, Path]:
    """Write what is not in `folder` yet, and compare the outputs of those with the same weights."""
    files = {name: folder / f"{name}-{width}-{heads}.onnx" for name in (FXPRUNE, HAND, STOCK)}
    files[TEACHER] = folder / "teacher.onnx"
    if not files[TEACHER].exists():
        write_stock(bert(768, 12), files[TEACHER])
    model = bert(width, heads)
    if not files[HAND].exists():
        write_hand_graph(model.state_dict(), heads, LAYERS, model.config.layer_norm_eps, files[HAND])
    if not files[STOCK].exists():
        write_stock(model, files[STOCK])
    if not files[FXPRUNE].exists():
        export_onnx(model, inputs(), files[FXPRUNE])
    for kwargs in (inputs(), resized(inputs(), 2, 29, seed=3)):
        with torch.no_grad():
            want = model(**kwargs).last_hidden_state
        for name in (FXPRUNE, HAND, STOCK):
            (got,) = run(open_session(files[name], 1), kwargs).values()
            if (error := worst_error({"": got}, {"": want})) > AGREE:
                raise click.ClickException(f"the outputs of {name} are {error:.1e} away from PyTorch")
    return files


def lines(rows: Sequence[LatencyRow]) -> list[str]:
    """Lay one row of a table out for each shape and number of threads."""
    cells: dict[tuple[int, int | None, int], dict[str, LatencyRow]] = {}
    for row in rows:
        cells.setdefault((row.batch, row.length, row.threads), {})[row.model] = row
    table = []
    for (batch, length, threads), found in cells.items():
        times = [f"{row.p50_ms:.2f} ({row.p25_ms:.2f}-{row.p75_ms:.2f})" for row in found.values()]
        own = found[FXPRUNE].p50_ms
        ratios = [f"{own / found[name].p50_ms:.2f}" for name in (HAND, STOCK)] + [f"{found[TEACHER].p50_ms / own:.1f}x"]
        table.append(f"| {batch} x {length}, {threads} | {' | '.join([*times, *ratios])} |")
    return table


def sizes_of(files: Mapping[str, Path]) -> str:
    """Say how many nodes each file has, and how many operators of it ONNX Runtime runs."""
    said = []
    for name, path in files.items():
        ops, nodes = count_ops(path, inputs()), len(onnx.load(path, load_external_data=False).graph.node)
        fused = ", ".join(f"{number} {op}" for op, number in ops.fused.items())
        said.append(f"{name}: {nodes} nodes, {ops.nodes} run, of these {fused}")
    return "\n".join(said)


def profile(path: Path, batch: int, length: int, threads: int) -> str:
    """Return milliseconds by kind of op: the medians of its nodes, added."""
    kwargs = {name: torch.ones_like(value) for name, value in resized(inputs(), batch, length).items()}
    runs = 50 if batch * length < 256 else 10
    total: Counter[str] = Counter()
    for (op, _), times in kernel_times(path, kwargs, runs=runs, threads=threads).items():
        total[op] += median(times)  # type: ignore[assignment]
    kinds = ", ".join(f"{op} {time:.2f}" for op, time in total.most_common(7))
    return f"{path.stem}, {batch} x {length}, {threads}: {total.total():.2f} ms: {kinds}"


@click.command(help=__doc__)
@click.option(
    "--widths", default="240x12,256x4", show_default=True, help="hidden x heads; the FFN is four times as wide."
)
@click.option("--shapes", default="1x32,1x128,8x128", show_default=True, help="batch x length.")
@click.option("--threads", default="1,2", show_default=True)
@click.option("--seconds", default=10.0, show_default=True, help="For each shape and number of threads.")
@click.option("--folder", type=click.Path(path_type=Path), help="Keep the ONNX files, and use those that are there.")
@click.option("--prepare", is_flag=True, help="Write and compare the files only.")
@click.option("--profile", "profiled", is_flag=True, help="Print the time by kind of op as well.")
def main(
    widths: str, shapes: str, threads: str, seconds: float, folder: Path | None, prepare: bool, profiled: bool
) -> None:
    """Write the contenders, compare them, measure them in turn."""
    grid = [(int(batch), int(length)) for batch, _, length in (shape.partition("x") for shape in shapes.split(","))]
    numbers = [int(number) for number in threads.split(",")]
    with tempfile.TemporaryDirectory() as temporary:
        kept = folder or Path(temporary)
        kept.mkdir(parents=True, exist_ok=True)
        for width, _, heads in (text.partition("x") for text in widths.split(",")):
            files = contenders(int(width), int(heads), kept)
            if prepare:
                continue
            click.echo(f"\nwidth {width}, {heads} heads; {Machine.of_now()}\n\n{sizes_of(files)}\n")
            click.echo(
                f"| batch x length, threads | {' | '.join(f'{name} ms' for name in files)} | / hand | / stock | |"
            )
            click.echo(f"|---|{'---|' * (len(files) + 3)}")
            rows = latency_table(files, inputs(), grid, numbers, rounds=1000, seconds=seconds)
            click.echo("\n".join(lines(rows)))
            if profiled:
                cells = [(shape, number) for number in numbers for shape in grid]
                click.echo("\n" + "\n".join(profile(path, *shape, n) for shape, n in cells for path in files.values()))
    click.echo(f"\n{BOUNDS}")


if __name__ == "__main__":
    main()
