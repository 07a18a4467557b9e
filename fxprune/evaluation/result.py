"""What an evaluation found: the scores of every seed, their median and spread."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from fxprune.evaluation.tasks import find_task


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedScores:
    """One run.

    Attributes:
        seed: of head, order and dropout.
        scores: metric -> value; fractions and correlations, so at most 1 (thresholds are differences of logits).
        loss: mean training loss of the last tenth of the steps; None without fine-tuning.
        seconds: fine-tuning and scoring.
    """

    seed: int
    scores: Mapping[str, float]
    loss: float | None
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """A model on a task.

    Attributes:
        model: as the user named it.
        task: its name.
        parameters: of the model as it was given, before it got a head.
        runs: one a seed; one in all where nothing is fine-tuned.
        rows: split -> rows used.
        settings: what was fine-tuned with, steps among them.
        fresh: tensors the model did not bring, so that each seed drew its own: the head.
    """

    model: str
    task: str
    parameters: int
    runs: tuple[SeedScores, ...]
    rows: Mapping[str, int]
    settings: Mapping[str, Any]
    fresh: tuple[str, ...] = ()

    @property
    def scores(self) -> dict[str, list[float]]:
        """Metric -> value of each seed."""
        return {name: [run.scores[name] for run in self.runs] for name in self.runs[0].scores}

    @property
    def median(self) -> dict[str, float]:
        """Metric -> median over the seeds."""
        return {name: statistics.median(values) for name, values in self.scores.items()}

    @property
    def spread(self) -> dict[str, tuple[float, float]]:
        """Metric -> lowest and highest value over the seeds."""
        return {name: (min(values), max(values)) for name, values in self.scores.items()}

    @property
    def headline(self) -> list[float]:
        """Of each seed the one number that is quoted: the mean of the task's official metrics (SQuAD: F1)."""
        chosen = find_task(self.task).headline
        return [statistics.fmean(v for k, v in run.scores.items() if not chosen or k in chosen) for run in self.runs]

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain data."""
        values = self.headline
        quoted = {"headline": {"median": statistics.median(values), "spread": [min(values), max(values)]}}
        spread = {name: list(pair) for name, pair in self.spread.items()}
        return {**asdict(self), **quoted, "median": self.median, "spread": spread}
