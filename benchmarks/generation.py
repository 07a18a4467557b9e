"""Greedy tokens per second: ONNX Runtime with a key-value cache, in float32 and int8, without one, and PyTorch's.

A randomly initialised GPT-2 of the usual sizes and one of half its widths, as a cut by heads leaves behind.
Every float32 way must give the same tokens, which is checked before time is taken; of int8 the share of equal likeliest
tokens is told. Exports are kept in --folder and used again.

    python benchmarks/generation.py --folder exports --threads 2
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from common import Case, Machine, Spread, alternate

from fxprune.deploy.generation.generator import OnnxGenerator
from fxprune.deploy.generation.quantising import quantise
from fxprune.deploy.generation.settings import SETTINGS
from fxprune.deploy.generation.stage import generation_facts
from fxprune.deploy.generation.writing import export_generation
from fxprune.deploy.onnx import export_onnx
from fxprune.deploy.ort import open_session
from fxprune.deploy.resting import rest
from fxprune.examples import example_inputs

WIDTHS = {"dense": (768, 12), "narrowed": (384, 6)}  # hidden, heads
WORDS = 50_257
FACTS, INT8 = "facts.json", "ONNX Runtime, cache, int8"
Way = Callable[[], list[int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What every way is asked for."""

    prompt: list[int]
    count: int
    threads: int


def build(hidden: int, heads: int, layers: int) -> Any:
    """Return a random model whose texts do not end."""
    import transformers

    torch.manual_seed(0)
    config = transformers.GPT2Config(
        n_embd=hidden, n_head=heads, n_layer=layers, eos_token_id=None, bos_token_id=None, pad_token_id=0
    )
    return transformers.GPT2LMHeadModel(config).eval()


def exported(model: Any, folder: Path) -> Path:
    """Write both ONNX files, unless they are there."""
    if not (folder / "onnx" / SETTINGS).is_file():
        export_onnx(model, example_inputs(model), folder / "model.onnx")
        written = quantise(export_generation(model, folder / "onnx"), folder / "onnx")
        (folder / FACTS).write_text(json.dumps(generation_facts(written)))
    return folder


def ways(model: Any, folder: Path, task: Task) -> dict[str, Way]:
    """Return how the text can be written."""
    generator, small = (OnnxGenerator(folder, task.threads, int8=int8) for int8 in (False, True))
    whole = open_session(folder / "model.onnx", task.threads, spinning=True)
    ids = torch.tensor([task.prompt])

    def without_cache() -> list[int]:
        text = np.array([task.prompt])
        for _ in range(task.count):
            logits = whole.run(["logits"], {"input_ids": text, "attention_mask": np.ones_like(text)})[0]
            text = np.concatenate((text, logits[:, -1].argmax(-1)[:, None]), axis=1)
        return text[0, len(task.prompt) :].tolist()

    def torch_generate() -> list[int]:
        with torch.no_grad():
            made = model.generate(
                ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=task.count, use_cache=True
            )
        return made[0, len(task.prompt) :].tolist()

    return {
        "ONNX Runtime, cache": lambda: generator.generate([task.prompt], task.count)[0],
        INT8: lambda: small.generate([task.prompt], task.count)[0],
        "ONNX Runtime, no cache": without_cache,
        "PyTorch generate, cache": torch_generate,
    }


@click.command(help=__doc__)
@click.option("--folder", type=click.Path(path_type=Path), default=Path("out/generation"), show_default=True)
@click.option("--layers", default=12, show_default=True)
@click.option("--prompt", default=64, show_default=True, help="Tokens.")
@click.option("--new-tokens", default=32, show_default=True)
@click.option("--threads", default=2, show_default=True)
@click.option("--rounds", default=3, show_default=True, help="Timed runs of each.")
@click.option("--export-only", is_flag=True, help="Write the files, and time nothing.")
def main(folder: Path, layers: int, prompt: int, new_tokens: int, threads: int, rounds: int, export_only: bool) -> None:
    """Measure and print Markdown."""
    torch.set_num_threads(threads)
    machine, cases = Machine.of_now(), {}
    generator = torch.Generator().manual_seed(0)
    task = Task(prompt=torch.randint(WORDS, (prompt,), generator=generator).tolist(), count=new_tokens, threads=threads)
    for name, (hidden, heads) in WIDTHS.items():
        model = build(hidden, heads, layers)
        place = exported(model, folder / f"{name}-{layers}")
        if export_only:
            continue
        found = ways(model, place, task)
        texts = {way: write() for way, write in found.items() if way != INT8}
        same = json.loads((place / FACTS).read_text())["int8_agreement"]["top1"]
        click.echo(f"{name}: {same:.1%} of the likeliest tokens are the same in int8", err=True)
        if len({tuple(text) for text in texts.values()}) > 1:
            raise SystemExit(f"{name}: the ways write different texts: {texts}")
        label = f"{name}: width {hidden}, {sum(p.numel() for p in model.parameters()) / 1e6:.0f}M"
        cases.update({f"{label}; {way}": _case(write) for way, write in found.items()})
    if cases:
        click.echo(
            to_markdown({key: Spread.of(runs) for key, runs in alternate(cases, rounds, warmup=0).items()}, task)
        )
        click.echo(f"\n{machine}")


def _case(write: Way) -> Case:
    def ready() -> Way:
        rest()
        return write

    return ready


def to_markdown(spreads: dict[str, Spread], task: Task) -> str:
    """Return a table of tokens per second: median and quartiles."""
    lines = [
        f"| {len(task.prompt)} tokens of prompt, {task.count} new, {task.threads} threads | tokens/s | quartiles |"
    ]
    lines.append("|---|---|---|")
    for name, spread in spreads.items():
        fast, median, slow = (task.count / seconds for seconds in (spread.low, spread.median, spread.high))
        lines.append(f"| {name} | {median:.1f} | {slow:.1f}-{fast:.1f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
