"""Cost of one distillation step, beside a hand-written loop on Hugging Face modules of the same shapes.

Both sides have the same BERT-base teacher (random weights), a student of the same shapes cut for --target, and the same
batch of random tokens, of which every seventh is labelled.

\b
hand-written  teacher forward, student forward and backward with masked-LM and KL loss, AdamW
clever        the same, with both heads at labelled positions only, as fxprune's graphs have them
two terms     the same losses, plus the scores of all units and clipping, which every step has before the last cut
five terms    plus hidden, embedding and attention losses, and the sums the maps are refitted from

    OMP_NUM_THREADS=1 python benchmarks/step_cost.py
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import asdict
from statistics import median
from time import process_time
from typing import Any

import click
import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from common import Case, Machine, Spread, alternate, console, kept, ratio, table
from torch import Tensor, nn
from transformers import BertConfig, BertForMaskedLM

from fxprune import api
from fxprune.distillation.config import DistillConfig, LossWeights
from fxprune.distillation.discrepancy import Discrepancy
from fxprune.distillation.loop import Distiller
from fxprune.distillation.objective import MASKED, Batch, Objective
from fxprune.distillation.ranks import Ranks
from fxprune.distillation.taps import find_taps
from fxprune.groups import byproducts
from fxprune.importance import random_score
from fxprune.student import Student
from fxprune.traced import Traced

HAND, CLEVER = "hand-written", "hand-written, clever"
EQUAL, FULL = "fxprune, two terms", "fxprune, five terms"
MASKED_SHARE = 0.15
TWO_TERMS = LossWeights(hidden=0.0, embedding=0.0, attention=0.0)
LIMIT, SCORING = 1.15, 0.05


def batch_of(config: BertConfig, size: int, length: int) -> Batch:
    """Return random tokens, a share of them labelled."""
    shape = (size, length)
    ids = torch.randint(1000, config.vocab_size, shape)
    labels = torch.where(torch.rand(shape) < MASKED_SHARE, ids, -100)
    return Batch({"input_ids": ids, "attention_mask": torch.ones(shape, dtype=torch.long)}, labels)


class FxpruneSteps:
    """Makes distillers whose students are cut already, from one capture."""

    def __init__(self, model: BertForMaskedLM, batch: Batch, target: str) -> None:
        self.model, self.batch, self.target = model, batch, target
        self.traced = api.capture(model, batch.inputs)

    def distiller(self, weights: LossWeights, *, cut: bool = True) -> Distiller:
        """Return one whose student has its final size, though its schedule does not know, or is dense still."""
        traced = copy.deepcopy(self.traced)
        student = Student(traced, free_outputs=byproducts(traced))
        limits = api.constraints(self.model, traced)
        final = api.counts_for(student, target_params=self.target, limits=limits)
        taps = find_taps(traced, student.groups, student.free_outputs)
        objective = Objective(MASKED, 0, tuple(self.batch.inputs))
        config = DistillConfig(target_params=self.target, max_steps=10_000, loss=weights)
        teacher = copy.deepcopy(self.traced).requires_grad_(False)
        distiller = Distiller(teacher, student, taps, objective, final, config, Ranks.join(torch.device("cpu")))
        distiller.cutter.scores.update(distiller.cutter.scorer(traced, random_score))
        if not cut:
            return distiller
        followers = [each.cut for each in distiller.terms.maps.values()]
        masks = student.cut_to(final, distiller.cutter.scores.value, (distiller.optimizer,), followers)
        distiller.cutter.scores.cut(masks, student.groups.ragged)
        return distiller

    def case(self, weights: LossWeights) -> Case:
        """Return one step of a distiller as a case."""
        distiller = self.distiller(weights)
        return lambda: lambda: distiller.step(self.batch)


def scoring(distiller: Distiller, batch: Batch, rounds: int) -> tuple[float, float]:
    """Return the seconds the scores of all units take in a step, and those of a whole step: medians of process time."""
    taken: list[float] = []
    observe = distiller.cutter.observe

    def timed(step: int) -> None:
        began = process_time()
        observe(step)
        taken.append(process_time() - began)

    distiller.cutter.observe = timed  # type: ignore[method-assign]
    whole = []
    for _ in range(rounds):
        began = process_time()
        distiller.step(batch)
        whole.append(process_time() - began)
    return median(taken[1:]), median(whole[1:])


def watching(distiller: Distiller, batch: Batch) -> tuple[float, float]:
    """Return the seconds of process time of one look at held-out text, and of one at a cut."""
    watch, found = Discrepancy(distiller, batch), []
    for measure in (watch, watch.at_a_cut):
        measure()
        began = process_time()
        measure()
        found.append(process_time() - began)
    return found[0], found[1]


def hand_written(teacher: BertForMaskedLM, student: BertForMaskedLM, batch: Batch, *, clever: bool) -> Case:
    """Return one step as anyone would write it, or as someone who knows that heads are large would."""
    optimizer = torch.optim.AdamW(student.parameters(), lr=5e-4)
    assert batch.labels is not None
    labels = batch.labels.flatten()
    chosen = labels != -100

    def logits(model: BertForMaskedLM) -> Tensor:
        if clever:
            picked: Tensor = model.cls(model.bert(**batch.inputs).last_hidden_state.flatten(0, 1)[chosen])
            return picked
        whole: Tensor = model(**batch.inputs).logits
        return whole.flatten(0, 1)[chosen]

    def step() -> float:
        with torch.no_grad():
            wanted = logits(teacher)
        got = logits(student)
        kl = F.kl_div(got.log_softmax(-1), wanted.log_softmax(-1), log_target=True, reduction="batchmean")
        loss: Tensor = F.cross_entropy(got, labels[chosen]) + kl
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.item()

    return lambda: step


def like(config: BertConfig, slim: Traced) -> BertForMaskedLM:
    """Return the Hugging Face model of the same shapes as a slim graph."""
    inner, hidden = slim.get_parameter("bert.encoder.layer.0.intermediate.dense.weight").shape
    values: dict[str, Any] = config.to_dict() | {"hidden_size": hidden, "intermediate_size": inner}
    student = BertForMaskedLM(BertConfig(**values)).eval()  # evaluation mode: fxprune trains without dropout by default
    shapes = [sorted(tuple(p.shape) for p in model.parameters()) for model in (student, slim)]
    assert shapes[0] == shapes[1], "the two students have different shapes"
    return student


def verdict(found: Mapping[str, Any]) -> str:
    """Say what one ratio is, and whether it keeps the bound on the plain loop."""
    low, times, high = found["wall"]
    spread = f"quartiles {low:.2f}-{high:.2f}, by process time {found['cpu'][1]:.2f}"
    asked = f", asked for {LIMIT}x: {kept(times <= LIMIT)}" if found["loop"] == HAND else ""
    return f"{found['fxprune']}: {times:.2f}x the step {found['loop']} ({spread}){asked}"


def count(model: nn.Module) -> str:
    """Return the parameter count for reading."""
    return f"{sum(parameter.numel() for parameter in model.parameters()) / 1e6:.1f}M"


@click.command(help=__doc__)
@click.option("--target", default="15M", show_default=True, help="Parameters of the student.")
@click.option("--batch-size", default=4, show_default=True)
@click.option("--length", default=128, show_default=True)
@click.option("--rounds", default=7, show_default=True, help="Timed steps of each.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def main(target: str, batch_size: int, length: int, rounds: int, as_json: bool) -> None:
    """Measure and print."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    machine = Machine.of_now()
    config = BertConfig()
    teacher = BertForMaskedLM(config).eval()
    batch = batch_of(config, batch_size, length)
    ours = FxpruneSteps(teacher, batch, target)
    student = like(config, ours.distiller(TWO_TERMS).student.traced)
    cases = {
        HAND: hand_written(teacher, student, batch, clever=False),
        CLEVER: hand_written(teacher, copy.deepcopy(student), batch, clever=True),
        EQUAL: ours.case(TWO_TERMS),
        FULL: ours.case(LossWeights()),
    }
    samples = alternate(cases, rounds)
    spreads = {name: Spread.of(runs) for name, runs in samples.items()}
    ratios = [
        {"fxprune": name, "loop": loop}
        | {clock: ratio(samples[name], samples[loop], clock) for clock in ("wall", "cpu")}
        for loop in (HAND, CLEVER)
        for name in (EQUAL, FULL)
    ]
    if as_json:
        rows = {name: spread.to_json() for name, spread in spreads.items()}
        click.echo(json.dumps({"machine": asdict(machine), "rows": rows, "ratios": ratios}, indent=2))
        return
    out = console()
    dense = ours.distiller(LossWeights(), cut=False)
    for name, distiller in (("dense", dense), (count(student), ours.distiller(LossWeights()))):
        scores, step = scoring(distiller, batch, rounds)
        look, cut = watching(distiller, batch)
        asked = f"asked for {SCORING:.0%}: {kept(scores <= SCORING * step)}"
        out.print(f"scores, {name} student: {scores * 1e3:.0f} of {step * 1e3:.0f} ms, {scores / step:.1%} ({asked})")
        seldom = (look / 15 + 2 * cut / 5) / step  # 20 looks in 300 steps, and two at each cut, every five steps
        out.print(f"looks at held-out text: {look * 1e3:.0f} ms, {cut * 1e3:.0f} ms at a cut, {seldom:.1%} of a run")
    title = f"one step, BERT-base {count(teacher)} -> {count(student)}, batch {batch_size} x {length}"
    out.print(table(title, spreads))
    for found in ratios:
        out.print(verdict(found))
    out.print(str(machine))


if __name__ == "__main__":
    main()
