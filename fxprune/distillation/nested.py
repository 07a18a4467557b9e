"""Settings of one part of a run each: the weights of its losses, and the schedule of its cuts."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal, get_args

from fxprune.errors import UsageError, unknown_name

ScheduleKind = Literal["cubic", "linear", "one-shot"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LossWeights:
    """Weights of the terms of ``L = task + a1 KL + a2 hidden + a3 embedding + a4 attention``.

    Terms a model has no use for (no head: no task loss, no KL) are left out by the run, which says so.
    """

    task: float = 1.0
    kl: float = 1.0
    hidden: float = 1.0
    embedding: float = 1.0
    attention: float = 1.0

    def __post_init__(self) -> None:
        for item in fields(self):
            if not getattr(self, item.name) >= 0:
                raise UsageError(
                    f"the weight of the {item.name} loss is {getattr(self, item.name)}", remedy="0 leaves a term out"
                )
        if not any(getattr(self, item.name) for item in fields(self)):
            raise UsageError("all loss weights are zero", remedy="give at least one term a weight")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleConfig:
    """When the student is cut.

    Attributes:
        kind: cubic (large cuts first, ever smaller ones later), linear (equal cuts), or one-shot (one cut at `start`).
        start: fraction of the steps before the first cut.
        end: fraction of the steps by which the target is reached.
        interval: steps between cuts.
        rewrite_every: units to go are cut out at every n-th cut, and at the last; between, they are zeroed. 0: only
            after the last step of the run. None: 1, or 5 with `revive`.
        revive: zeroed units keep training, and are ranked with all others at the next cut (the paper's soft masks).
        rest: fraction of the steps a student is trained at each snapshot before it goes on.
    """

    kind: ScheduleKind = "cubic"
    start: float = 0.02
    end: float = 0.5
    interval: int = 5
    rewrite_every: int | None = None
    revive: bool = False
    rest: float = 0.05

    def __post_init__(self) -> None:
        if self.kind not in get_args(ScheduleKind):
            raise UsageError(unknown_name("schedule", self.kind, get_args(ScheduleKind)))
        if not 0.0 <= self.start < self.end <= 1.0:
            raise UsageError(
                f"the schedule ends at {self.end} before it starts at {self.start}", remedy="use 0 <= start < end <= 1"
            )
        if not 0.0 <= self.rest < 1.0:
            raise UsageError(f"a rest of {self.rest} is no fraction of the steps", remedy="use 0.05")
        if self.interval < 1:
            raise UsageError(f"an interval of {self.interval} steps is none", remedy="use at least 1")
        if self.rewrites < 0:
            raise UsageError(f"rewrite_every is {self.rewrites}", remedy="use 0 for once, after the last step")
        if self.revive and self.rewrites == 1:
            raise UsageError(
                "units that are cut out at once cannot return: revive with rewrite_every 1",
                remedy="use 2 or more, or 0 for one rewrite at the end",
            )

    def span(self, steps: int) -> tuple[int, int]:
        """Return the first and the last of `steps` with a cut."""
        start = min(max(1, round(self.start * steps)), steps)
        if self.kind == "one-shot":
            return start, start
        return start, max(start, min(round(self.end * steps), steps))

    def check_revival(self, steps: int) -> None:
        """Raise UsageError if nothing could return: the first cut finds all units there, the last one is final."""
        start, end = self.span(steps)
        if self.revive and end - start < 2 * self.interval:
            raise UsageError(
                f"no unit could return between step {start} and step {end} with {self.interval} steps between cuts",
                remedy="use more steps, a later end or a smaller interval, or leave out revive",
            )

    @property
    def rewrites(self) -> int:
        """Every how many cuts the student is rewritten; 0: once, after the last step of the run."""
        return (5 if self.revive else 1) if self.rewrite_every is None else self.rewrite_every
