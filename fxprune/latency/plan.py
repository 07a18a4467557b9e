"""What planning by latency found: the widths, what they take, and what each cut bought."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from fxprune.budget import Budget
from fxprune.latency.model import LatencyModel
from fxprune.widths import Counts
from fxprune.workload import Workload

if TYPE_CHECKING:
    from fxprune.deploy.latency import LatencyRow

NEAR = 0.1  # a target counts as met within this
_NOTHING = 0.01  # of the latency: a cut that saves less bought nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Bought:
    """What one cut bought: the model is compared with one where these groups alone are dense again.

    Attributes:
        groups: their common name.
        dense, kept: units in each.
        ms: milliseconds saved.
        share: of the latency of that other model that is saved.
        params: parameters saved.
    """

    groups: str
    dense: int
    kept: int
    ms: float
    share: float
    params: int

    @property
    def nothing(self) -> bool:
        """Whether the cut bought less than 1 %."""
        return self.share < _NOTHING


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyPlan:
    """Widths that were chosen by what they take on this machine.

    Attributes:
        counts: group -> units that stay.
        workload: what they were chosen for.
        target_ms: the time asked for; None: the fastest of a size was.
        predicted_ms: by the latency model, before the ONNX file was timed.
        measured_ms: of the exported ONNX file, with arbitrary weights.
        dense_ms: of the dense model.
        uniform_ms: of a uniform cut of the same size, where a size was the target.
        widths: groups -> (dense, kept).
        cuts: what each cut bought, the largest first.
        timed: how many widths the latency model was fitted to.
    """

    counts: Counts = field(repr=False)
    workload: Workload
    target_ms: float | None
    predicted_ms: float
    measured_ms: float
    dense_ms: float
    uniform_ms: float | None
    widths: Mapping[str, tuple[int, int]]
    cuts: tuple[Bought, ...]
    timed: int

    @property
    def met(self) -> bool | None:
        """Whether the target is met within 10 %; None without one."""
        return None if self.target_ms is None else self.misses(self.measured_ms) is None

    def misses(self, ms: float) -> float | None:
        """Return how far a time is from the target, relative to it; None within 10 %, or without a target."""
        off = ms / self.target_ms - 1 if self.target_ms is not None else 0.0
        return off if abs(off) > NEAR else None

    def facts(self, rows: Iterable[LatencyRow] = ()) -> dict[str, Any]:
        """Return what was found, for JSON.

        Args:
            rows: latencies of the finished student, where it was timed.
        """
        student = self.of_student(rows)
        return {
            "latency_target": {
                "at": asdict(self.workload),
                "target_ms": self.target_ms,
                "predicted_ms": round(self.predicted_ms, 4),
                "measured_ms": round(self.measured_ms, 4),
                "student_ms": student,
                "met": None if self.target_ms is None else self.misses(student or self.measured_ms) is None,
                "dense_ms": round(self.dense_ms, 4),
                "uniform_ms": self.uniform_ms and round(self.uniform_ms, 4),
                "timed": self.timed,
            },
            "cuts": [{**asdict(cut), "ms": round(cut.ms, 4), "share": round(cut.share, 4)} for cut in self.cuts],
        }

    def of_student(self, rows: Iterable[LatencyRow]) -> float | None:
        """Return the median of the finished student where the target was set, in milliseconds."""
        at = self.workload
        name = "student" if at.precision == "float32" else f"student {at.precision}"
        found = (row for row in rows if row.model == name and (row.batch, row.threads) == (at.batch, at.threads))
        return next((row.p50_ms for row in found if row.length in (at.length, None)), None)

    def notes(self) -> tuple[str, ...]:
        """Say in words what was found."""
        asked = "" if self.target_ms is None else f" of {self.target_ms:g} ms asked for"
        found = [f"latency at {self.workload}: {self.measured_ms:.2f} ms{asked}, dense {self.dense_ms:.2f} ms"]
        if self.uniform_ms is not None:
            found.append(f"a uniform cut of the same size would take {self.uniform_ms:.2f} ms")
        if self.met is False:
            found.append("no allowed widths come nearer to the latency asked for")
        if idle := [f"{cut.groups} ({cut.dense} -> {cut.kept})" for cut in self.cuts if cut.nothing]:
            found.append(f"cuts that bought less than 1 % of latency: {', '.join(idle)}")
        return tuple(found)


def what_cuts_bought(model: LatencyModel, params: Budget, chosen: Sequence[int]) -> tuple[Bought, ...]:
    """Compare `chosen` with what it would be if each kind of group alone were dense again."""
    space = model.space
    after, left = model.of(chosen), params.count(space.counts(chosen))
    found = []
    for i, kind in enumerate(space.kinds):
        if chosen[i] == kind.size:
            continue
        restored = [*chosen[:i], kind.size, *chosen[i + 1 :]]
        before = model.of(restored)
        found.append(
            Bought(
                groups=kind.name,
                dense=kind.size,
                kept=chosen[i],
                ms=before - after,
                share=(before - after) / before,
                params=params.count(space.counts(restored)) - left,
            )
        )
    return tuple(sorted(found, key=lambda cut: -cut.ms))
