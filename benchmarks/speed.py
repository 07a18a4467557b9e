"""Speed of analysis and of one 50 % cut on BERT-base, beside Torch-Pruning in the same run.

Equal work: both tools get the same random weights and cut hidden, query/key, value and FFN widths to a half, with all
12 heads kept: 109.48M -> 33.36M parameters in both, which is checked.

\b
analysis   fxprune finds its groups in the captured graph; Torch-Pruning builds its dependency graph (with the
           forward pass it follows) and lists its groups. fxprune's own tracing is the row "capture".
cut        fxprune is given scores, picks units, slices weights, rewrites sizes, recompiles and checks all shapes. With
           Adam state three tensors a parameter are sliced.
step()     Torch-Pruning lists groups, scores them, picks units and slices weights. It always scores; random scores are
           the cheapest it has, magnitude the usual ones. It carries no optimizer state: with Adam, that is lost.

fxprune is told nothing of the model; Torch-Pruning is told the heads of each layer and what to leave alone.

    OMP_NUM_THREADS=1 python benchmarks/speed.py
"""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import click
import torch
from common import Case, Machine, Sample, Spread, alternate, console, kept, peak_mb, ratio, table, timed
from contenders import (
    ANALYSIS,
    CAPTURE,
    CUT,
    CUT_ADAM,
    SCORE_CUT,
    STEP,
    STEP_RANDOM,
    THEIR_ANALYSIS,
    Ours,
    Theirs,
    prepared,
)
from torch import Tensor, nn
from transformers import BertConfig, BertForMaskedLM

import fxprune
from fxprune.groups import analyse
from fxprune.importance import sensitivity
from fxprune.traced import Traced
from fxprune.unit_scores import UnitScorer

SMALL = {"hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 1024}
SMALL_VOCABULARY = 8000

SCORES = "sensitivity scores"
FRESH = "in a fresh process: "

COMPARED = [  # (fast, slow, how many times as fast is asked for)
    (ANALYSIS, THEIR_ANALYSIS, None),
    (CUT_ADAM, STEP, 3.0),
    (CUT_ADAM, STEP_RANDOM, None),
    (CUT, STEP, None),
    (CUT, STEP_RANDOM, None),
    (SCORE_CUT, STEP, None),
    (FRESH + CUT_ADAM, FRESH + STEP, 3.0),
]
LIMITS = {ANALYSIS: 0.1, CUT_ADAM: 0.4, FRESH + CUT_ADAM: 0.4}  # seconds

Samples = dict[str, list[Sample]]


def scoring(model: nn.Module, inputs: Mapping[str, Tensor]) -> Case:
    """Return the scoring of all units by sensitivity, as every distillation step does it."""
    traced = fxprune.capture(model, inputs)
    for parameter in traced.parameters():
        parameter.requires_grad_(True).grad = torch.ones_like(parameter)
    scorer = UnitScorer(analyse(traced))
    return lambda: lambda: scorer(traced, sensitivity)


def measure(model: nn.Module, inputs: Mapping[str, Tensor], rounds: int) -> tuple[Samples, dict[str, float | None]]:
    """Time all rows in alternation; then run each once more for its memory."""
    ours, theirs = Ours(model, inputs).cases(), Theirs(model, inputs).cases()
    check_equal_work(ours[CUT]()(), theirs[STEP_RANDOM]()())
    small = BertForMaskedLM(BertConfig(**SMALL, vocab_size=SMALL_VOCABULARY)).eval()
    scores = {SCORES: scoring(model, inputs), f"{SCORES} of a model of {millions(small)}": scoring(small, inputs)}
    capture = {CAPTURE: ours.pop(CAPTURE)}
    cases = {**ours, **theirs, **scores}
    samples = alternate(cases, rounds)
    samples |= alternate(capture, max(1, rounds // 3), warmup=0)  # takes as long as all others together
    return samples, {name: peak_mb(case()) for name, case in (cases | capture).items()}


def check_equal_work(slim: object, other: object) -> None:
    """Both tools must come to the same number of parameters, but for the tie that Torch-Pruning unties."""
    assert isinstance(slim, Traced)
    assert isinstance(other, nn.Module)
    untied = 0
    if isinstance(other, BertForMaskedLM):
        decoder = other.cls.predictions.decoder.weight
        untied = 0 if decoder is other.bert.embeddings.word_embeddings.weight else decoder.numel()
    found = slim.num_parameters(), sum(parameter.numel() for parameter in other.parameters()) - untied
    assert found[0] == found[1], f"the tools cut to different sizes: {found}"


def measure_fresh(model: str, rounds: int) -> Samples:
    """Time one cut in a process of its own, as someone meets it who prunes once: nothing is warm."""
    samples: Samples = {FRESH + CUT_ADAM: [], FRESH + STEP: []}
    for _ in range(rounds):
        for name, runs in samples.items():
            command = [sys.executable, __file__, "--model", model, "--single", name.removeprefix(FRESH)]
            printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            runs.append(Sample(**json.loads(printed.splitlines()[-1])))
    return samples if rounds else {}


def single(model: str, name: str) -> Sample:
    """Time one row, once."""
    dense, inputs = prepared(model)
    tool: Ours | Theirs = Theirs(dense, inputs) if name in (STEP, STEP_RANDOM, THEIR_ANALYSIS) else Ours(dense, inputs)
    return timed(tool.cases()[name]())


def millions(model: nn.Module) -> str:
    """Return the parameter count for reading, ties once."""
    return f"{sum(parameter.numel() for parameter in model.parameters()) / 1e6:.2f}M"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """How many times as fast, by the clock (quartiles, median) and by process time (median)."""

    fast: str
    slow: str
    low: float
    times: float
    high: float
    process_times: float
    asked: float | None

    def __str__(self) -> str:
        asked = "" if self.asked is None else f", asked for {self.asked}x: {kept(self.times >= self.asked)}"
        spread = f"quartiles {self.low:.1f}-{self.high:.1f}, by process time {self.process_times:.1f}"
        return f"{self.fast}: {self.times:.1f}x as fast as {self.slow.removeprefix(FRESH)} ({spread}){asked}"


def compare(samples: Samples) -> list[Comparison]:
    """Compare the rows that were measured, round by round."""
    found = []
    for fast, slow, asked in COMPARED:
        if fast in samples and slow in samples:
            low, times, high = ratio(samples[slow], samples[fast])
            process = ratio(samples[slow], samples[fast], clock="cpu")[1]
            found.append(
                Comparison(fast=fast, slow=slow, low=low, times=times, high=high, process_times=process, asked=asked)
            )
    return found


@click.command(help=__doc__)
@click.option("--model", type=click.Choice(["encoder", "masked-lm"]), default="encoder", help="Which BERT-base.")
@click.option("--rounds", default=9, show_default=True, help="Timed runs of each row.")
@click.option("--fresh", default=3, show_default=True, help="Runs in fresh processes.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--single", "name", hidden=True, help="Time one row once and print it.")
def main(model: str, rounds: int, fresh: int, as_json: bool, name: str | None) -> None:
    """Measure and print."""
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")  # of Torch-Pruning's tracer
    if name is not None:
        click.echo(json.dumps(asdict(single(model, name))))
        return
    machine = Machine.of_now()
    dense, inputs = prepared(model)
    samples, peaks = measure(dense, inputs, rounds)
    samples |= measure_fresh(model, fresh)
    spreads = {row: Spread.of(runs) for row, runs in samples.items()}
    if as_json:
        rows = {row: {**spread.to_json(), "peak_mb": peaks.get(row)} for row, spread in spreads.items()}
        ratios = [asdict(comparison) for comparison in compare(samples)]
        click.echo(json.dumps({"machine": asdict(machine), "model": model, "rows": rows, "ratios": ratios}, indent=2))
        return
    out = console()
    out.print(table(f"{type(dense).__name__}, {millions(dense)} parameters, 50 % cut", spreads, peaks))
    for row, limit in LIMITS.items():
        if row in spreads:
            median = spreads[row].median
            out.print(f"{row}: {median:.3f} s, asked for {limit} s: {kept(median <= limit)}")
    for comparison in compare(samples):
        out.print(str(comparison))
    out.print(str(machine))


if __name__ == "__main__":
    main()
