"""A run that leaves a family: a complete folder for each size on the way, and one table of all."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.table import Table

from fxprune.atomic import atomic_path
from fxprune.cli import render
from fxprune.deploy.bundle import origin_of
from fxprune.deploy.grids import LatencySettings, within
from fxprune.deploy.latency import LatencyRow, latency_table
from fxprune.deploy.manifest import NAME, add_facts, read_manifest, remove_old, write_manifest
from fxprune.deploy.ort import plain_line
from fxprune.deploy.outputs import ONNX, Outputs, write_outputs
from fxprune.distillation.report import Snapshot
from fxprune.distillation.run import StartReport
from fxprune.distillation.waypoints import folder_name
from fxprune.report.making import PAGES
from fxprune.report.writing import write_report
from fxprune.traced import Traced

Row = tuple[int | None, int, Mapping[str, float]]  # step (None: the last), parameters, losses on held-out text


@dataclass(slots=True)
class Family:
    """Writes snapshots beside the result.

    Attributes:
        folder: of the run; each size gets a folder of its own in it.
        tokenizer: saved beside each model.
        latency: where each is timed; None: not at all.
        facts: of the run.
        teacher_params: of the dense model.
        int8: whether to write and time an int8 file of each too.
        rows: what was written, by name of the size; the models themselves are not kept.
        failures: size and form -> why it could not be written.
        times: of all sizes, measured in turn at the end, with the first number of threads.
    """

    folder: Path
    tokenizer: Any
    latency: LatencySettings | None
    facts: Mapping[str, Any]
    teacher_params: int = 0
    int8: bool = False
    rows: dict[str, Row] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    times: list[LatencyRow] = field(default_factory=list)

    def begin(self, start: StartReport) -> None:
        """Learn what the run found out of its teacher."""
        self.facts = {**self.facts, "objective": start.objective}
        self.teacher_params = start.teacher_params

    def write(self, snapshot: Snapshot) -> None:
        """Write one size in every form."""
        render.say(f"snapshot {snapshot.name} at step {snapshot.step}: {snapshot.params:,} parameters")
        outputs = write_outputs(
            snapshot.student,
            self.folder / snapshot.name,
            tokenizer=self.tokenizer,
            latency=self.latency,
            int8=self.int8,
            facts={
                **self.facts,
                "params": {"teacher": self.teacher_params, "student": snapshot.params},
                "snapshot": snapshot.name,
                "step": snapshot.step,
                "losses": snapshot.held_out,
            },
        )
        self.rows[snapshot.name] = (snapshot.step, snapshot.params, snapshot.held_out["student"])
        self.failures |= {f"{snapshot.name}, {stage}": reason for stage, reason in outputs.failures.items()}

    def remember(self, sizes: tuple[int | str, ...], done: int) -> None:
        """Take over what an earlier process of the run has written, up to the step it is to go on from."""
        for name in map(folder_name, sizes):
            row = _row_in(read_manifest(self.folder / name), name)
            if row is not None and row[0] is not None and row[0] <= done:
                self.rows[name] = row

    def finish(self, sizes: tuple[int | str, ...], final: Outputs, student: Traced) -> None:
        """Copy the result to the folder of its size, if that was asked for too, time all, and make the report of them.

        Args:
            sizes: of the snapshots that were asked for.
            final: what was written of the result.
            student: the result.
        """
        names = [folder_name(size) for size in sizes]
        for name in names:
            if name not in self.rows:
                self._copy(final, self.folder / name)
        files = {name: self.folder / name / ONNX for name in names if (self.folder / name / ONNX).is_file()}
        if self.latency is not None and len(files) > 1:
            self._time(files, self.latency, student)
        if sizes:
            write_report(self.folder)

    def _time(self, files: Mapping[str, Path], how: LatencySettings, student: Traced) -> None:
        """Time the sizes in turn: what was measured of each as it was written is of different moments."""
        render.say("latency of all sizes")
        examples, shapes = origin_of(student).example_kwargs, within(how.grid, student)
        try:
            rows = latency_table(files, examples, shapes, how.threads, rounds=how.rounds, seconds=how.seconds)
        except Exception as error:  # ONNX Runtime derives its errors from Exception alone
            self.failures["latency of all sizes"] = plain_line(error)
        else:
            add_facts(self.folder, {"snapshot_latency": [row.to_data() for row in rows]})
            self.times = [row for row in rows if row.threads == rows[0].threads]

    def _copy(self, final: Outputs, folder: Path) -> None:
        remove_old(folder)
        copies = []
        for file in final.files:
            if file.name not in (*PAGES, NAME):
                copies.append(folder / file.relative_to(final.folder))
                with atomic_path(copies[-1]) as copy:
                    shutil.copyfile(file, copy)
        facts = {name: fact for name, fact in read_manifest(final.folder).items() if name != "snapshots"}
        write_manifest(folder, copies, facts)
        write_report(folder)
        self.rows[folder.name] = (None, facts["parameters"], facts["losses"]["student"])

    def table(self) -> Table:
        """Return step, parameters, losses and latency of every size."""
        terms = list(dict.fromkeys(term for _, _, losses in self.rows.values() for term in losses))
        times = {(row.batch, row.length): f"ms at {row.batch} x {row.length or 1}" for row in self.times}
        table = Table(title="sizes of the run, losses on held-out text")
        for heading in ("folder", "step", "parameters", *terms, *times.values()):
            table.add_column(heading, justify="left" if heading == "folder" else "right")
        for name, (step, params, losses) in self.rows.items():
            cells = [f"{losses.get(term, float('nan')):.3f}" for term in terms]
            cells += [f"{row.p50_ms:.2f}" for row in self.times if row.model == name]
            table.add_row(str(self.folder / name), "end" if step is None else str(step), f"{params:,}", *cells)
        return table


def _row_in(facts: Mapping[str, Any], name: str) -> Row | None:
    """Return what a folder says of the snapshot it holds, if it does."""
    step, params, losses = facts.get("step"), facts.get("parameters"), facts.get("losses")
    student = losses.get("student") if isinstance(losses, dict) else None
    if facts.get("snapshot") != name or not isinstance(student, dict):
        return None
    numbers = (step, params, *student.values())
    if any(isinstance(value, bool) or not isinstance(value, (int, float)) for value in numbers):
        return None
    return int(step or 0), int(params or 0), {str(term): float(value) for term, value in student.items()}
