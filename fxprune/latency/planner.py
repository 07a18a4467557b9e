"""Planning by latency: time some widths, fit a model, search, and check what was found on a real file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import log

import numpy as np

from fxprune.allocation import TOLERANCE
from fxprune.budget import Budget, Cost
from fxprune.errors import PlanError
from fxprune.latency.model import LatencyModel
from fxprune.latency.plan import NEAR, LatencyPlan, what_cuts_bought
from fxprune.latency.search import Candidates, counts_of, widest
from fxprune.latency.space import Space
from fxprune.latency.stopwatch import Stopwatch
from fxprune.latency.work import Work
from fxprune.widths import Counts
from fxprune.workload import Workload

Widths = tuple[int, ...]
SAMPLES = 18  # widths from all over the space
_TURNS, _ROUNDS, _TRIED = 3, 3, 4  # of the search on files by template, on exported ones; widths timed each time
_AIM = 0.97  # of the time allowed: two runs of one file differ by as much
_EVEN_SIZE, _EVEN_TIME = 0.02, 0.01  # what size or time is given for widths in better proportion


@dataclass(slots=True)
class Planner:
    """Chooses widths of one model at one workload.

    Attributes:
        space: the widths there are.
        work: amounts of work.
        stopwatch: times them.
        workload: shape it times at, for messages.
        params: counts parameters.
        say: told what goes on.
    """

    space: Space
    work: Work
    stopwatch: Stopwatch
    workload: Workload
    params: Budget
    say: Callable[[str], None] = field(default=lambda text: None)
    _timed: dict[Widths, float] = field(default_factory=dict)

    def within(self, target_ms: float) -> LatencyPlan:
        """Return the largest widths that take at most `target_ms`.

        Raises:
            PlanError: nothing is that fast, or the dense model is.
        """
        self._sample()
        self._check_reachable(target_ms)
        model = self._fit(target_ms)
        for _ in range(_TURNS):
            chosen = self._largest(model, target_ms * _AIM)
            if chosen in self._timed:
                break
            self._time([chosen])
            model = self._fit(target_ms)
        model = model.scaled(self._timed[chosen] / model.of(chosen)) if chosen in self._timed else model
        tried: dict[Widths, float] = {}
        for _ in range(_ROUNDS):
            tried[chosen] = real = self.stopwatch.real(chosen)
            self.say(f"{self._spelled(chosen)}: {model.of(chosen):.2f} ms predicted, {real:.2f} ms in its ONNX file")
            model = model.scaled(real / model.of(chosen))
            if (1 - NEAR) * target_ms <= real <= target_ms:
                break
            following = self._largest(model, target_ms * _AIM)
            if following in tried:
                break
            chosen = following
        chosen = min(tried, key=lambda widths: _miss(tried[widths], target_ms))
        model = model.scaled(tried[chosen] / model.of(chosen))
        return self._plan(model, chosen, tried[chosen], target_ms=target_ms)

    def fastest(self, cost: Cost, target: int, uniform: Counts) -> LatencyPlan:
        """Return the fastest widths that cost at most `target`, and at least 99 % of it.

        Args:
            cost: parameters or FLOPs.
            target: of it.
            uniform: what an even cut would keep; it is chosen where nothing is faster.
        """
        even = self.space.widths(uniform)
        self._sample()
        near = self._near(cost, target)
        self._time([even])
        model = self._fit(self._timed[even])
        for _ in range(_TURNS if len(near.widths) else 0):
            new = [widths for widths in self._promising(model, near) if widths not in self._timed]
            if not new:
                break
            self._time(new)
            model = self._fit(self._timed[even])
        chosen = self._chosen(near, even)
        real = self.stopwatch.real(chosen)
        self.say(f"{self._spelled(chosen)}: {self._timed[chosen]:.2f} ms by template, {real:.2f} ms in its ONNX file")
        model = model.scaled(real / model.of(chosen))
        return self._plan(model, chosen, real, uniform_ms=self._timed[even] * real / self._timed[chosen])

    # ------------------------------------------------------------------ steps

    def _sample(self) -> None:
        widths = [self.space.narrowest, *self.space.draw(SAMPLES), self.space.dense]
        self.say(f"timing {len(widths)} widths at {self.workload}")
        self._time(widths)

    def _time(self, widths: list[Widths]) -> None:
        self._timed |= self.stopwatch.quick(widths)

    def _fit(self, near: float) -> LatencyModel:
        return LatencyModel.fitted(self.space, self.work, self._timed, near)

    def _check_reachable(self, target_ms: float) -> None:
        floor, dense = self._timed[self.space.narrowest], self._timed[self.space.dense]
        if target_ms < floor:
            raise PlanError(
                f"no widths of this model take {target_ms:g} ms at {self.workload}",
                cause=f"the narrowest ({self._spelled(self.space.narrowest)}) take {floor:.2f} ms",
                remedy=f"choose a target above {floor:.2f} ms, or a lower floor (min_keep)",
            )
        if target_ms >= dense:
            raise PlanError(
                f"there is nothing to do for {target_ms:g} ms at {self.workload}",
                cause=f"the dense model takes {dense:.2f} ms",
                remedy=f"choose a target below {dense:.2f} ms",
            )

    def _largest(self, model: LatencyModel, target_ms: float) -> Widths:
        found = widest(self.space, model.predict, target_ms)
        if not len(found.widths):
            return self.space.narrowest
        sizes = self._counted(self.params, found.widths)
        return _row(found, found.best(-sizes, _EVEN_SIZE))

    def _near(self, cost: Cost, target: int) -> Candidates:
        found = widest(self.space, lambda counts, n: _count(cost, counts, n), target)
        return found.where(found.bound >= (1 - TOLERANCE) * target)

    def _promising(self, model: LatencyModel, near: Candidates) -> list[Widths]:
        """Return the widths predicted to be fastest, each with another number of units in the first kinds."""
        times = model.predict(counts_of(self.space, near.widths), len(near.widths))
        first = _row(near, near.best(times, _EVEN_TIME))
        found: dict[tuple[int, ...], Widths] = {first[1:2]: first}
        for place in np.argsort(times, kind="stable"):
            widths = _row(near, int(place))
            found.setdefault(widths[1:2], widths)
            if len(found) == _TRIED:
                break
        return list(found.values())

    def _chosen(self, near: Candidates, even: Widths) -> Widths:
        """Return the fastest widths that were timed, or those in better proportion that are as fast."""
        rows = {_row(near, i): float(near.evenness[i]) for i in range(len(near.widths))}
        timed = {widths: self._timed[widths] for widths in (*rows, even) if widths in self._timed}
        least = min(timed.values()) * (1 + _EVEN_TIME)
        return min((w for w, ms in timed.items() if ms <= least), key=lambda w: 0.0 if w == even else rows[w])

    def _counted(self, cost: Cost, widths: np.ndarray) -> np.ndarray:
        return _count(cost, counts_of(self.space, widths), len(widths))

    def _plan(
        self,
        model: LatencyModel,
        chosen: Widths,
        real: float,
        *,
        target_ms: float | None = None,
        uniform_ms: float | None = None,
    ) -> LatencyPlan:
        return LatencyPlan(
            counts=self.space.counts(chosen),
            workload=self.workload,
            target_ms=target_ms,
            predicted_ms=self._timed.get(chosen, model.of(chosen)),
            measured_ms=real,
            dense_ms=self._timed[self.space.dense],
            uniform_ms=uniform_ms,
            widths={kind.name: (kind.size, n) for kind, n in zip(self.space.kinds, chosen, strict=True)},
            cuts=what_cuts_bought(model, self.params, chosen),
            timed=len(self._timed),
        )

    def _spelled(self, widths: Widths) -> str:
        return ", ".join(f"{kind.role} {n}" for kind, n in zip(self.space.kinds, widths, strict=True))


def _row(found: Candidates, place: int) -> Widths:
    return tuple(int(n) for n in found.widths[place])


def _count(cost: Cost, counts: Mapping[str, int | np.ndarray], candidates: int) -> np.ndarray:
    return np.broadcast_to(np.asarray(cost.count(counts), dtype=np.float64), candidates)  # type: ignore[arg-type]


def _miss(ms: float, target_ms: float) -> tuple[bool, float]:
    """Rank times by how well they meet a target: those a little below it first, then the nearest; above counts twice.

    >>> min([45.1, 42.0, 30.0], key=lambda ms: _miss(ms, 45.0))
    42.0
    """
    meets = (1 - NEAR) * target_ms <= ms <= target_ms
    return not meets, abs(log(ms / target_ms)) * (2.0 if ms > target_ms else 1.0)
