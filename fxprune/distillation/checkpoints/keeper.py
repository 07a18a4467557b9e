"""When checkpoints are written, which are kept, and where a run goes on."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fxprune.atomic import atomic_write, remove_left_overs
from fxprune.distillation.checkpoints import storage
from fxprune.distillation.checkpoints.history import history_from, lines_of
from fxprune.distillation.checkpoints.identity import check_identity, identity_of
from fxprune.distillation.checkpoints.journal import Cut, cut_between, cuts_from, present, to_text
from fxprune.distillation.checkpoints.saved import Saved
from fxprune.distillation.checkpoints.state import common, own, restore_common, restore_own, weights_of
from fxprune.distillation.checkpoints.widths import read_widths, write_widths
from fxprune.distillation.course import Run
from fxprune.distillation.report import StepReport
from fxprune.errors import CheckpointError, DistillError, UsageError
from fxprune.latency.plan import LatencyPlan
from fxprune.plan import Plan

FOLDER, ORDER = "checkpoints", "run.json"
SECONDS = 300.0  # between two checkpoints, unless steps are counted
SHARE = 60  # of the time a run takes, at most the 60th part goes into writing


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeping:
    """How a run is kept.

    Attributes:
        folder: of the run; checkpoints go into ``checkpoints`` there, and cuts into ``journal.jsonl``.
        every: steps from one checkpoint to the next; None: about five minutes, more where writing takes long.
        last: how many are kept, besides those of snapshots and the one before the cut that cost most.
        resume: whether the run goes on from what is there.
        order: what the run was told, kept beside the checkpoints.
        warn: told what is not as it should be.
    """

    folder: Path
    every: int | None = None
    last: int = 2
    resume: bool = False
    order: Mapping[str, Any] = field(default_factory=dict)
    warn: Callable[[str], None] = lambda text: None

    def __post_init__(self) -> None:
        for name in ("every", "last"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise UsageError(f"{name} is {getattr(self, name)}", remedy="use at least 1")

    def widths(self) -> LatencyPlan | None:
        """Return what the run that goes on was to become, where that was chosen by latency."""
        return read_widths(self.folder / FOLDER) if self.resume else None


class Keeper:
    """Writes checkpoints of one run, and keeps its journal; in several processes, the first one writes.

    Args:
        run: prepared, and not begun.
        keeping: settings.
    """

    def __init__(self, run: Run, keeping: Keeping) -> None:
        self.run, self.keeping, self.ranks = run, keeping, run.distiller.ranks
        self.root, self.journal = keeping.folder / FOLDER, keeping.folder / storage.JOURNAL
        teacher = weights_of(run.distiller.teacher)
        self.widths = run.distiller.student.latency_plan
        counts = None if self.widths is None else self.widths.counts
        self.identity = identity_of(teacher, run.held_out, run.distiller.config, counts)
        self.cuts: list[Cut] = []
        self.written = 0  # step of the newest checkpoint
        self.snapshots: set[int] = set()  # steps whose checkpoints stay
        self._cost, self._since = 0.0, time.monotonic()
        self._units = present(run.distiller.cutter)
        self._params = run.start.teacher_params

    # ------------------------------------------------------------------ beginning

    def restore(self) -> None:
        """Put the run where its newest intact checkpoint is, if it is to go on; nothing is written.

        Raises:
            CheckpointError: there are checkpoints, and none can be used; or it is of another run.
        """
        if not self.keeping.resume:
            return
        content = self._newest()
        self.ranks.check_same("the checkpoint to go on from", _name_of(content), 0)
        if content is not None:
            self._restore(content)

    def take_over(self) -> None:
        """Delete what does not belong to the run from here on: other runs, damaged checkpoints, later cuts."""
        if self.ranks.main:
            remove_left_overs(self.keeping.folder)
            for path in storage.found_in(self.root):
                if storage.step_of(path) > self.written:
                    storage.remove(path)
            with writing(self.keeping.folder, "the journal"):
                atomic_write(self.journal, to_text(self.cuts))
                atomic_write(self.root / ORDER, json.dumps(self.keeping.order, indent=2) + "\n")
                if self.widths is not None:
                    write_widths(self.root, self.widths)
        self.ranks.wait()
        self._since = time.monotonic()

    def _newest(self) -> storage.Content | None:
        paths = storage.found_in(self.root)
        for path in paths:
            try:
                return storage.read(path)
            except CheckpointError as error:
                if self.ranks.main:
                    self.keeping.warn(f"{error.message}: {error.cause}; an earlier one is looked for")
        if paths:
            raise CheckpointError(
                f"none of the {len(paths)} checkpoints in '{self.root}' can be read",
                cause="all are damaged",
                remedy=f"begin again: fxprune journal {self.keeping.folder} --undo-to 1, then --resume",
            )
        return None

    def _restore(self, content: storage.Content) -> None:
        run, path = self.run, self.root / f"step-{content.step}"
        check_identity(content.identity, self.identity, str(path))
        if len(content.own) != self.ranks.count:
            raise CheckpointError(
                f"the run had {len(content.own)} processes, and now has {self.ranks.count}",
                remedy=f"start {len(content.own)} of them",
            )
        restore_common(run, content.common, Plan.from_json(content.plan), content.weights)
        history, self.cuts = history_from(content.history), cuts_from(content.journal)
        if run.distiller.done != content.step or len(history) != content.step:
            raise storage.damaged(path, "its parts are of different steps")
        run.goes_on(history, content.common.number("seconds"))
        self.snapshots = set(content.common.items("snapshots", int))
        restore_own(run, content.own[self.ranks.index])
        self._units, self._params = present(run.distiller.cutter), run.history[-1].params
        self.written = content.step

    # ------------------------------------------------------------------ on the way

    def note(self, step: StepReport) -> None:
        """Write a cut into the journal."""
        if step.cut:
            units, cutter = present(self.run.distiller.cutter), self.run.distiller.cutter
            self.cuts.append(cut_between(self._units, units, step, self._params, cutter.evidence))
            self._units, self._params = units, step.params
            if self.ranks.main:
                with writing(self.keeping.folder, "the journal"), self.journal.open("a", encoding="utf-8") as file:
                    file.write(self.cuts[-1].to_line())

    def due(self, step: int) -> bool:
        """Tell whether it is time for a checkpoint, which is for this process alone to say."""
        if self.keeping.every is not None:
            return step % self.keeping.every == 0
        return time.monotonic() - self._since >= max(SECONDS, SHARE * self._cost)

    def write(self, *, snapshot: bool = False) -> Path:
        """Write a checkpoint of the run as it is between two steps, unless there is one.

        Raises:
            DistillError: it cannot be written; earlier ones are as they were.
        """
        step = self.run.distiller.done
        if snapshot:
            self.snapshots.add(step)
        path = self.root / f"step-{step}"
        if step == self.written:
            return path
        began = time.monotonic()
        parts = self.ranks.gather(own(self.run))
        if self.ranks.main:
            self._write(step, parts)
            self._tidy()
        self.ranks.wait()
        self.written, self._since = step, time.monotonic()
        self._cost = self._since - began
        return path

    def _write(self, step: int, parts: Sequence[Saved]) -> None:
        student, shared = self.run.distiller.student, common(self.run)
        shared.data["snapshots"] = sorted(self.snapshots)
        content = storage.Content(
            step=step,
            identity=self.identity,
            weights=weights_of(student.traced),
            plan=student.plan.to_json(),
            common=shared,
            own=tuple(parts),
            history=lines_of(self.run.history),
            journal=to_text(self.cuts),
        )
        with writing(self.keeping.folder, f"the checkpoint of step {step}"):
            storage.write(self.root, content)

    def _tidy(self) -> None:
        """Delete checkpoints that are no longer wanted."""
        steps = [storage.step_of(path) for path in storage.found_in(self.root)]
        kept = {*steps[: self.keeping.last], *self.snapshots}
        costly = max((cut for cut in self.cuts if cut.cost is not None), key=lambda cut: cut.cost or 0.0, default=None)
        if costly is not None:
            kept.update([step for step in steps if step < costly.step][:1])
        for step in steps:
            if step not in kept:
                storage.remove(self.root / f"step-{step}")


def _name_of(content: storage.Content | None) -> str:
    if content is None:
        return "none"
    parts = f"{content.step}{dict(content.identity)}{content.plan}{content.history}"
    return f"step-{content.step} {hashlib.sha256(parts.encode()).hexdigest()[:16]}"


@contextmanager
def writing(folder: Path, what: str) -> Iterator[None]:
    """Turn a full disk, or one that may not be written to, into one sentence."""
    try:
        yield
    except OSError as error:
        raise DistillError(
            f"{what} cannot be written to '{folder}'",
            cause=error.strerror or str(error),
            remedy=f"make room there, then go on from the last checkpoint: fxprune distill --resume {folder}",
        ) from error
