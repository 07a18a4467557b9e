"""One arm of the paper benchmark: trained, measured on held-out text as it goes, saved, then fine-tuned on tasks.

What was done is kept in a folder and not done again, so a benchmark that was stopped goes on where it was.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from minilm import minilm, spearman, sts_rows
from paper_arms import ARMS, Arm

from fxprune.atomic import atomic_write
from fxprune.distillation.run import Run, prepare
from fxprune.sources import Source, load_model

RECORD, SCORES = "record.json", "scores.json"
MEASURED = 20  # times held-out text is read in a run


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What all arms of one comparison share: equal steps and equal data.

    Attributes:
        model: "minilm" or "demo".
        target: parameters of the student.
        steps, batch_size, length, learning_rate: of the distillation.
        dataset: text.
        device, precision: of the distillation and the fine-tuning.
    """

    model: str
    target: int
    steps: int
    batch_size: int
    length: int
    learning_rate: float
    dataset: str
    device: str = "cpu"
    precision: str = "float32"

    @property
    def label(self) -> str:
        """Name of folders and tables."""
        return f"{self.model}-{self.target / 1e6:.3g}M-{self.steps}x{self.batch_size}"

    def options(self, seed: int) -> dict[str, Any]:
        """Return the fields of `DistillConfig`."""
        names = ("batch_size", "length", "learning_rate", "device", "precision")
        options = {name: getattr(self, name) for name in names}
        return options | {"target_params": self.target, "max_steps": self.steps, "seed": seed}


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One arm under one seed."""

    setting: Setting
    arm: str
    seed: int
    data: Path | None
    folder: Path

    @property
    def place(self) -> Path:
        """Where its results are."""
        return self.folder / self.setting.label / f"{self.arm.replace(' ', '-').replace(',', '')}-{self.seed}"


def source_of(model: str) -> Source:
    """Return a teacher."""
    return load_model(minilm() if model == "minilm" else model)


def arm_named(name: str) -> Arm:
    """Return the arm called `name`."""
    return next(arm for arm in ARMS if arm.name == name)


def train(job: Job) -> dict[str, Any]:
    """Return the record of a job, doing it if it was not done yet."""
    place = job.place / RECORD
    if place.is_file():
        return _read(place)
    torch.set_num_threads(1)
    source, arm = source_of(job.setting.model), arm_named(job.arm)
    run = prepare(
        source.model,
        source.tokenizer,
        job.setting.dataset,
        arm.config(**job.setting.options(job.seed)),
        edit_student=arm.edit(source.model, job.seed),
    )
    curve, seconds = _trained(run)
    result = run.result()
    result.student.save(job.place / "model")
    source.tokenizer.save_pretrained(job.place / "model")
    record = {
        "setting": asdict(job.setting),
        "arm": job.arm,
        "question": arm.question,
        "seed": job.seed,
        "params": result.student_params,
        "held_out": result.held_out,
        "curve": curve,
        "cuts": [step.step for step in result.history if step.cut],
        "final": {name: _tail([step.losses[name] for step in result.history]) for name in result.history[-1].losses},
        "seconds": seconds,
    }
    if job.setting.model == "minilm":
        rows = sts_rows(job.data)
        record["similarity"] = spearman(result.student, source, rows)
    atomic_write(place, json.dumps(record, indent=1) + "\n")
    return record


def _trained(run: Run) -> tuple[list[dict[str, float]], float]:
    """Run all steps; return what held-out text showed on the way, and the seconds of the steps alone."""
    every = max(1, run.distiller.config.max_steps // MEASURED)
    curve, seconds, began = [_discrepancy(run, 0)], 0.0, time.perf_counter()
    for step in run.steps():
        if step.step % every == 0:
            seconds += time.perf_counter() - began
            curve.append(_discrepancy(run, step.step))
            began = time.perf_counter()
    return curve, seconds + time.perf_counter() - began


def _discrepancy(run: Run, step: int) -> dict[str, float]:
    params = run.distiller.student.traced.num_parameters()
    return {"step": step, "params": params, **run.distiller.evaluate(run.held_out)["student"]}


def _tail(values: list[float]) -> float:
    """Return the mean of the last tenth."""
    last = values[-max(1, len(values) // 10) :]
    return sum(last) / len(last)


def kept(job: Job) -> dict[str, Any] | None:
    """Return the record of a job with what scores there are of it, or None if it was not done."""
    if not (job.place / RECORD).is_file():
        return None
    scores = kept_scores(job.place)
    return _read(job.place / RECORD) | ({"tasks": scores} if scores else {})


def kept_scores(place: Path) -> dict[str, Any]:
    """Return the scores in `place` by the name of the task; of settings that differ, the last."""
    return {row["task"]: row for row in _read(place / SCORES).values()} if (place / SCORES).is_file() else {}


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def score(place: Path, model: str, tasks: Mapping[str, Mapping[str, Any]], data: Path | None) -> dict[str, Any]:
    """Fine-tune the model in `place` on the tasks it has no scores of yet; return all its scores.

    Args:
        place: of the results; the model itself is in its folder "model" unless `model` says otherwise.
        model: folder of the model.
        tasks: name -> fields of `EvaluationConfig`.
        data: see `paper.py`.
    """
    from fxprune.evaluation import EvaluationConfig, evaluate

    file = place / SCORES
    found = _read(file) if file.is_file() else {}
    torch.set_num_threads(1)
    for task, settings in tasks.items():
        key = f"{task} {json.dumps(settings, sort_keys=True)}"
        if key not in found:
            folder = None if data is None else data / FOLDERS.get(task, task)
            measured = evaluate(model, task=task, data=folder, config=EvaluationConfig(**settings))
            found[key] = {"task": task, "headline": measured.headline, "scores": measured.scores}
            place.mkdir(parents=True, exist_ok=True)
            atomic_write(file, json.dumps(found, indent=1) + "\n")
    return {row["task"]: row for row in found.values() if row["task"] in tasks}


FOLDERS = {"sst2": "sentence_polarity"}  # in the folder given as --data
