"""What a run leaves in its output folder: model files first, then what is measured on them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fxprune.atomic import atomic_write
from fxprune.deploy.bundle import hf_facts, origin_of, plain_program, write_graph, write_hf, write_plan
from fxprune.deploy.description import describe
from fxprune.deploy.generation.caches import remembers
from fxprune.deploy.grids import LatencySettings, comparison_inputs, within
from fxprune.deploy.manifest import remove_old, write_manifest
from fxprune.deploy.onnx_facts import export_facts
from fxprune.errors import FxpruneError
from fxprune.traced import Traced

if TYPE_CHECKING:
    from fxprune.deploy.generation.writing import GenerationExport
    from fxprune.deploy.hf import HfExport
    from fxprune.deploy.latency import LatencyRow
    from fxprune.deploy.onnx import OnnxExport
    from fxprune.deploy.program import Exported

ONNX, INT8, LATENCY = "onnx/model.onnx", "onnx/model.int8.onnx", "latency.json"
Stage = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outputs:
    """What was written.

    Attributes:
        folder: of all files.
        files: all that was written, in order.
        hf: the Hugging Face model; None if the model is of no such class, or no config expresses it (see `failures`).
        onnx: the ONNX file, with its error against PyTorch; None if it failed.
        generation: the ONNX files with a key-value cache; None if the model does not generate with one.
        onnx_bytes: "teacher", "student" and "int8" -> size of the ONNX file.
        latency: teacher and student at every shape.
        lost_fusions: which fused operators ONNX Runtime runs less often for the student than for the teacher.
        failures: stage -> why it has no output.
        left: files of others that stand in the place of ours, and stay.
    """

    folder: Path
    files: tuple[Path, ...]
    hf: HfExport | None
    onnx: OnnxExport | None
    generation: GenerationExport | None = None
    onnx_bytes: Mapping[str, int] = field(default_factory=dict)
    latency: tuple[LatencyRow, ...] = ()
    lost_fusions: tuple[str, ...] = ()
    failures: Mapping[str, str] = field(default_factory=dict)
    left: tuple[str, ...] = ()


def write_outputs(
    slim: Traced,
    folder: Path,
    *,
    tokenizer: Any = None,
    teacher: Traced | None = None,
    latency: LatencySettings | None = None,
    int8: bool = False,
    files: Iterable[Path] = (),
    facts: Mapping[str, Any] | None = None,
    on_stage: Stage | None = None,
) -> Outputs:
    """Write a slim model in every form; a form that fails is reported, and the others are written all the same.

    In this order: plan and certificate, Hugging Face model, .pt2, ONNX (checked in ONNX Runtime), ONNX with a cache if
    the model generates, latency of teacher and student, report and model card, and ``fxprune.json``, which lists it all
    and is kept up to date after each stage.

    Args:
        slim: on the CPU, in evaluation mode.
        folder: made if missing. Files of an earlier run are deleted first, all others stay.
        tokenizer: saved beside the Hugging Face model.
        teacher: the dense model, for the latency; without it the student alone is timed.
        latency: where to time; None: not at all.
        int8: whether to quantise the ONNX file too, and to time that beside it.
        files: those in the folder that the run has written already, such as its metrics.
        facts: more to write down in ``fxprune.json``.
        on_stage: told what is being written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    already = list(files)
    remove_old(folder, keep=already)
    writer = _Writer(slim, folder, dict(facts or {}), on_stage or (lambda stage: None))
    writer.files += already
    writer.facts |= describe(slim, tokenizer)
    writer.stage("plan", lambda: write_plan(slim, folder))
    writer.stage("Hugging Face model", lambda: writer.hugging_face(tokenizer))
    writer.stage("graph (.pt2)", lambda: write_graph(writer.program, folder))
    writer.stage("ONNX", writer.onnx_file)
    if remembers(origin_of(slim).model_class):
        writer.stage("ONNX with a cache", writer.generating)
    if int8 and writer.onnx is not None:
        writer.stage("int8", writer.int8_file)
    if int8 and writer.generation is not None:
        writer.stage("int8 with a cache", writer.generating_int8)
    if latency is not None and writer.onnx is not None:
        writer.stage("latency", lambda: writer.timed(teacher, latency))
    writer.stage("report", writer.report)
    return writer.outputs()


class _Writer:
    """The state of one `write_outputs`: what is written so far, and what failed."""

    def __init__(self, slim: Traced, folder: Path, facts: dict[str, Any], on_stage: Stage) -> None:
        self.slim, self.folder, self.facts, self.on_stage = slim, folder, facts, on_stage
        self.files: list[Path] = []
        self.failures: dict[str, str] = {}
        self.hf: HfExport | None = None
        self.onnx: OnnxExport | None = None
        self.generation: GenerationExport | None = None
        self.onnx_bytes: dict[str, int] = {}
        self.latency: list[LatencyRow] = []
        self.left: tuple[str, ...] = ()
        self.lost_fusions: list[str] = []
        self.facts["parameters"] = slim.num_parameters()

    def stage(self, name: str, write: Callable[[], Iterable[Path]]) -> None:
        """Run one stage; what it cannot write is noted."""
        self.on_stage(name)
        try:
            self.files += write()
        except FxpruneError as error:
            self.failures[name] = str(error)
        write_manifest(self.folder, self.files, {**self.facts, "failures": self.failures})

    @cached_property
    def program(self) -> Exported:
        """What .pt2 and ONNX are both written from; the latter last, for it may change it."""
        return plain_program(self.slim, self.facts)

    def hugging_face(self, tokenizer: Any) -> Iterable[Path]:
        self.hf = write_hf(self.slim, self.folder, tokenizer=tokenizer)
        self.facts["hugging_face"] = hf_facts(self.hf)
        return self.hf.files if self.hf else ()

    def onnx_file(self) -> Iterable[Path]:
        from fxprune.deploy.onnx import export_exported

        self.onnx = export_exported(self.program, self.folder / ONNX)
        self.onnx_bytes["student"] = _size(self.onnx)
        self.facts["onnx_bytes"] = self.onnx_bytes
        self.facts["onnx"] = export_facts(self.onnx)
        return self.onnx.files

    def generating(self) -> Iterable[Path]:
        from fxprune.deploy.generation.stage import generation_facts, write_generation

        self.generation, reason = write_generation(self.hf, self.folder)
        self.facts["generation"] = generation_facts(self.generation, reason)
        return self.generation.files if self.generation else ()

    def generating_int8(self) -> Iterable[Path]:
        from fxprune.deploy.generation.quantising import quantise
        from fxprune.deploy.generation.stage import PLACE, generation_facts

        assert self.generation is not None
        self.generation = quantise(self.generation, self.folder / PLACE)
        self.facts["generation"] = generation_facts(self.generation)
        return [file for export in self.generation.int8.values() for file in export.files]

    def int8_file(self) -> Iterable[Path]:
        from fxprune.deploy.int8 import export_int8

        examples = comparison_inputs(origin_of(self.slim).example_kwargs, self.slim)
        done = export_int8(self.folder / ONNX, self.folder / INT8, examples)
        self.onnx_bytes["int8"] = done.bytes
        self.facts["int8"] = done.to_data()
        return done.files

    def timed(self, teacher: Traced | None, settings: LatencySettings) -> Iterable[Path]:
        """Time the student, beside the teacher's ONNX file, which is not kept."""
        from fxprune.deploy.latency import latency_table, to_json
        from fxprune.deploy.onnx import export_onnx

        examples, planned = origin_of(self.slim).example_kwargs, self.slim.meta.get("latency_plan")
        settings = settings if planned is None else settings.covering(planned.workload)
        with tempfile.TemporaryDirectory(dir=self.folder, prefix=".latency-") as temporary:
            models = {"student": self.folder / ONNX}
            if "int8" in self.facts:
                models["student int8"] = self.folder / INT8
            if teacher is not None:
                self.on_stage("ONNX of the teacher, for its latency")
                dense = export_onnx(teacher, examples, Path(temporary) / "teacher.onnx")
                self.onnx_bytes = {"teacher": _size(dense), **self.onnx_bytes}
                self.facts["onnx_bytes"] = self.onnx_bytes
                self.compare(dense)
                models = {"teacher": dense.path, **models}
                self.on_stage("latency of both")
            grid = within(settings.grid, self.slim)
            self.latency = latency_table(
                models, examples, grid, settings.threads, rounds=settings.rounds, seconds=settings.seconds
            )
        self.facts |= {} if planned is None else planned.facts(self.latency)
        atomic_write(self.folder / LATENCY, to_json(self.latency) + "\n")
        return [self.folder / LATENCY]

    def report(self) -> Iterable[Path]:
        """Write page and card; they are made of the files that are written by now."""
        from fxprune.report.writing import write_report

        written = write_report(self.folder)
        self.left = written.left
        return written.files

    def compare(self, dense: OnnxExport) -> None:
        """Write down which operators ONNX Runtime runs for the teacher, and say which the cut lost."""
        from fxprune.deploy.fusions import lost_fusions

        assert self.onnx is not None
        self.facts["onnx_teacher"] = export_facts(dense)
        self.facts["lost_fusions"] = self.lost_fusions = lost_fusions(dense.fused, self.onnx.fused)

    def outputs(self) -> Outputs:
        return Outputs(
            folder=self.folder,
            files=(*self.files, self.folder / "fxprune.json"),
            hf=self.hf,
            onnx=self.onnx,
            generation=self.generation,
            onnx_bytes=self.onnx_bytes,
            latency=tuple(self.latency),
            lost_fusions=tuple(self.lost_fusions),
            failures=self.failures,
            left=self.left,
        )


def _size(export: OnnxExport) -> int:
    return sum(file.stat().st_size for file in export.files)
