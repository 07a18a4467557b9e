"""Task and KL loss over a vocabulary, whole and in chunks: time and memory of forward and backward.

A linear head of a student and of its teacher at --length x --batch-size positions. Causal: every position is labelled;
masked: every seventh. Both ways give the same losses and gradients, which is checked before time is taken.

    OMP_NUM_THREADS=1 python benchmarks/vocabulary.py
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict

import click
import torch
from common import Case, Machine, Spread, alternate, console, peak_mb, ratio, table
from torch import Tensor, nn

from fxprune.distillation.heads import Head, Predictions
from fxprune.distillation.losses import kl_loss, task_loss

WIDTHS = 768, 384  # teacher, student
Loss = Callable[[Tensor], Tensor]


class Heads:
    """Two heads, what goes into them, and labels."""

    def __init__(self, positions: int, words: int) -> None:
        self.teacher, self.student = (nn.Linear(width, words, bias=False) for width in WIDTHS)
        self.teacher.requires_grad_(False)
        self.wanted, self.rows = (torch.randn(positions, width) for width in WIDTHS)
        self.labels = torch.randint(words, (positions,))

    def whole(self, rows: Tensor) -> Tensor:
        """Return the loss from whole logits."""
        got, wanted = self.student(rows), self.teacher(self.wanted)
        return task_loss(got, self.labels) + kl_loss(got, wanted)

    def chunked(self, rows: Tensor) -> Tensor:
        """Return the loss as distillation computes it."""
        student = Head(self.student, (self.student.weight,))
        teacher = Head(self.teacher), self.wanted
        words = self.student.out_features
        task, kl = Predictions(head=student, labels_n=self.labels, teacher=teacher, words=words).losses(rows)
        return task + kl

    def step(self, loss: Loss) -> tuple[Tensor, Tensor, Tensor]:
        """Return the loss and the gradients of rows and weight."""
        rows = self.rows.clone().requires_grad_()
        value = loss(rows)
        return value.detach(), *torch.autograd.grad(value, (rows, self.student.weight))

    def case(self, loss: Loss) -> Case:
        """Return one forward and backward."""
        return lambda: lambda: self.step(loss)


@click.command(help=__doc__)
@click.option("--words", default=50_000, show_default=True, help="Vocabulary.")
@click.option("--batch-size", default=8, show_default=True)
@click.option("--length", default=512, show_default=True)
@click.option("--rounds", default=5, show_default=True, help="Timed runs of each.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def main(words: int, batch_size: int, length: int, rounds: int, as_json: bool) -> None:
    """Measure and print."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    machine, found = Machine.of_now(), {}
    for name, positions in {"causal": batch_size * length, "masked": batch_size * length // 7}.items():
        heads = Heads(positions, words)
        torch.testing.assert_close(heads.step(heads.chunked), heads.step(heads.whole), rtol=1e-5, atol=1e-7)
        cases = {"whole": heads.case(heads.whole), "in chunks": heads.case(heads.chunked)}
        samples = alternate(cases, rounds, warmup=0)
        found[name] = (
            {way: Spread.of(runs) for way, runs in samples.items()},
            {way: peak_mb(case()) for way, case in cases.items()},
            ratio(samples["in chunks"], samples["whole"], "cpu"),
        )
    if as_json:
        rows = {
            name: {way: {**spread.to_json(), "peak_mb": peaks[way]} for way, spread in spreads.items()}
            for name, (spreads, peaks, _) in found.items()
        }
        click.echo(json.dumps({"machine": asdict(machine), "rows": rows}, indent=2))
        return
    out = console()
    for name, (spreads, peaks, times) in found.items():
        out.print(table(f"{name}: {batch_size} x {length} positions, {words:,} words", spreads, peaks))
        out.print(f"in chunks takes {times[1]:.2f}x the process time (quartiles {times[0]:.2f}-{times[2]:.2f})")
    out.print(str(machine))


if __name__ == "__main__":
    main()
