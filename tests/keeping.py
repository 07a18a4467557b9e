"""Tiny runs that are stopped, resumed and compared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from models import _BERT, ALL, _hugging
from remembering import remembered
from text import tokenizer

from fxprune.distillation.checkpoints.keeper import Keeping
from fxprune.distillation.config import DistillConfig, ScheduleConfig
from fxprune.distillation.driver import StoppedError
from fxprune.distillation.report import DistillResult, Snapshot, StepReport
from fxprune.distillation.run import distill

FAST: dict[str, Any] = {"max_steps": 14, "batch_size": 4, "length": 16, "held_out_batches": 2, "device": "cpu"}
FAST |= {"target_params": "40%", "schedule": ScheduleConfig(interval=2, end=0.8)}
TOLD = ("losses", "cut", "params", "jump", "discrepancy", "repaired", "flops", "ratio", "learning_rate")


@dataclass
class Kept:
    """One run in a folder, which may be stopped and resumed."""

    folder: Path
    dataset: str
    name: str = "bert"
    options: dict[str, Any] = field(default_factory=dict)
    mask: bool = True
    snapshots: list[Snapshot] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def run(self, *, every: int = 100, last: int = 2, **more: Any) -> DistillResult:
        """Run from the start."""
        return self._run(more, every=every, last=last)

    def resumed(self, *, every: int = 100, last: int = 2, **more: Any) -> DistillResult:
        """Go on."""
        return self._run(more, every=every, last=last, resume=True)

    def stopped(self, step: int, *, every: int = 100, last: int = 2) -> StoppedError:
        """Run to a step, and stop there as on SIGTERM."""
        seen: list[StepReport] = []
        try:
            self._run({}, every=every, last=last, on_step=seen.append, stop=lambda: 15 if len(seen) == step else None)
        except StoppedError as error:
            return error
        raise AssertionError("the run was not stopped")

    def _run(
        self,
        more: dict[str, Any],
        *,
        every: int,
        last: int,
        resume: bool = False,
        on_step: Callable[[StepReport], None] | None = None,
        stop: Callable[[], int | None] | None = None,
    ) -> DistillResult:
        torch.manual_seed(0)
        build = ALL[self.name].build if self.name in ALL else _hugging(self.name, **_BERT)
        keeping = Keeping(folder=self.folder, every=every, last=last, resume=resume, warn=self.warnings.append)
        with remembered():
            return distill(
                build().float().eval(),
                tokenizer(mask=self.mask),
                self.dataset,
                DistillConfig(**FAST | self.options | more),
                keeping=keeping,
                on_step=on_step,
                on_snapshot=self.snapshots.append,
                stop=stop,
            )

    @property
    def checkpoints(self) -> list[str]:
        """What there is, by name."""
        return sorted(path.name for path in (self.folder / "checkpoints").glob("step-*"))

    @property
    def journal(self) -> str:
        return (self.folder / "journal.jsonl").read_text()


def assert_same(got: DistillResult, wanted: DistillResult) -> None:
    """Two runs ended the same, bit for bit, and told the same besides times."""
    states = got.student.state_dict(), wanted.student.state_dict()
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items())
    assert got.student.plan == wanted.student.plan
    assert got.held_out == wanted.held_out
    assert got.notes == wanted.notes
    told = [[{name: getattr(step, name) for name in TOLD} for step in result.history] for result in (got, wanted)]
    assert told[0] == told[1]
