"""Repair after a cut: the kept weights are solved anew, so that what they compute stays what it was.

The graph before the cut and the graph after it are computed side by side. At every node that contracts a cut factor
with a weight, the weight is fitted by ridge regression: from the features that reach it now, which repairs upstream
have already changed, to the outputs that it had before. The penalty pulls towards the kept weights, and is chosen on
calibration inputs that the fit does not see.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from fxprune.consumers import Consumer, Skipped, find_consumers
from fxprune.errors import UsageError, unknown_name
from fxprune.groups import Groups
from fxprune.lockstep import State, Walk, nodes_until
from fxprune.refit import Padding, Refits, Settings
from fxprune.traced import Traced
from fxprune.tracing import check_names
from fxprune.units import Kept

METHODS = ("none", "least-squares")


@dataclass(frozen=True, slots=True, kw_only=True)
class Repaired:
    """One weight that was fitted anew.

    Attributes:
        weight: name of the parameter.
        node: that reads it.
        ridge: penalty, relative to the mean square of its features; None: it was best as it was.
        fitted: squared error relative to the variance of the outputs, before and after, on the inputs fitted to.
        held_out: likewise on those held out.
    """

    weight: str
    node: str
    ridge: float | None
    fitted: tuple[float, float]
    held_out: tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Repairs:
    """What one repair did.

    Attributes:
        done: every weight, in the order of the graph.
        skipped: consumers that stay as they were cut, with the reason.
        inputs: how many of the calibration inputs were fitted to, and how many held out.
    """

    done: tuple[Repaired, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    inputs: tuple[int, int] = (0, 0)

    def error(self, moment: int) -> float:
        """Return the mean held-out error of the weights before (0) or after (1) the repair."""
        return sum(item.held_out[moment] for item in self.done) / max(len(self.done), 1)

    def __str__(self) -> str:
        changed = sum(item.ridge is not None for item in self.done)
        return (
            f"{changed} of {len(self.done)} weights repaired, held-out error {self.error(0):.4f} -> "
            f"{self.error(1):.4f}, {len(self.skipped)} left alone"
        )

    def to_data(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {
            "held_out_error": [self.error(0), self.error(1)],
            "weights": {
                item.weight: {"ridge": item.ridge, "fitted": item.fitted, "held_out": item.held_out}
                for item in self.done
            },
            "left_alone": {item.weight: item.reason for item in self.skipped},
            "inputs": {"fitted": self.inputs[0], "held_out": self.inputs[1]},
        }


class Repairer:
    """Remembers a model before a cut, and repairs it after.

    Args:
        traced: the model that is cut; dropout must be off.
        groups: its groups.
    """

    def __init__(self, traced: Traced, groups: Groups, settings: Settings | None = None) -> None:
        self.traced, self.groups, self.settings = traced, groups, settings or Settings()
        self.consumers: list[Consumer] = []
        self._skipped: list[Skipped] = []
        self._before: State | None = None

    def remember(self, kept: Kept) -> None:
        """Take note of the model before `kept` cuts it: a follower of `Student.cut`."""
        self._before = State(self.traced)
        self.consumers, self._skipped = find_consumers(self.traced.graph, self.groups.inferred, kept)

    @torch.no_grad()
    def repair(self, calibration: Sequence[Mapping[str, Any]]) -> Repairs:
        """Fit the weights of all consumers, in the order of the graph; the model of before is forgotten.

        Args:
            calibration: keyword arguments of the model, at least twice; every fourth is held out.
        Returns:
            What was done; nothing, if nothing was cut since the last repair.
        """
        check_calibration(calibration)
        for inputs in calibration:
            check_names(self.traced, inputs)
        if self._before is None or not self.consumers:
            return Repairs(skipped=tuple(self._skipped))
        before, self._before = self._before, None
        run = _Run(self, before, calibration)
        run.walk()
        return Repairs(done=tuple(run.done), skipped=(*self._skipped, *run.skipped), inputs=run.refits.counts)


def check_repair(method: str, calibration: Sequence[object]) -> None:
    """Raise UsageError for an unknown method, or inputs that are missing or not used."""
    if method not in METHODS:
        raise UsageError(unknown_name("repair", method, METHODS))
    if method == "none" and calibration:
        raise UsageError("calibration inputs were given, and no repair", remedy="pass repair='least-squares' too")
    if method != "none":
        check_calibration(calibration)


def check_calibration(calibration: Sequence[object]) -> None:
    """Raise UsageError for less than two sets of inputs."""
    if len(calibration) < 2:
        raise UsageError(
            f"a repair needs at least two sets of calibration inputs, and there {'is' if calibration else 'are'} "
            f"{len(calibration) or 'none'}",
            remedy="give more of them: some are held out to choose the penalty",
        )


class _Run:
    """One repair: the two walks, and what is found on the way."""

    def __init__(self, repairer: Repairer, before: State, calibration: Sequence[Mapping[str, Any]]) -> None:
        traced, self.consumers = repairer.traced, {consumer.node: consumer for consumer in repairer.consumers}
        last = repairer.consumers[-1].node
        old, new = (Walk(state, traced, calibration, last) for state in (before, State(traced)))
        padding = Padding(traced, repairer.groups.inferred, calibration, repairer.settings.mask)
        self.graph, self.old, self.new = nodes_until(traced, last), old, new
        self.refits = Refits(traced, old, new, padding, repairer.settings)
        self.done: list[Repaired] = []
        self.skipped: list[Skipped] = []

    def walk(self) -> None:
        """Compute both states of each node, and fit the weights on the way."""
        for node in self.graph:
            self.old.step(node)
            if node in self.consumers:
                self.repair(self.consumers[node])
            self.new.step(node)
            for walk in (self.old, self.new):
                walk.free(node)

    def repair(self, consumer: Consumer) -> None:
        """Fit one weight in place, or say why not."""
        weight, node = consumer.weight, consumer.node.name
        if reason := self.refits.objection(consumer):
            self.skipped.append(Skipped(weight=weight, node=node, reason=reason))
            return
        fit = self.refits.fit(consumer)
        self.done.append(Repaired(weight=weight, node=node, ridge=fit.ridge, fitted=fit.fitted, held_out=fit.held_out))
