"""Homotopic distillation from beginning to end."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import Tensor, nn

from fxprune import api
from fxprune.certificate import certify
from fxprune.distillation.config import DistillConfig
from fxprune.distillation.data import text_dataset
from fxprune.distillation.device import choose_device, move
from fxprune.distillation.loop import Distiller, generator_for
from fxprune.distillation.objective import FEATURES, Batch, Objective, find_objective
from fxprune.distillation.packing import fixed_batches, packed_batches
from fxprune.distillation.report import DistillResult, StepReport
from fxprune.distillation.sentences import fixed_sentence_batches, sentence_batches
from fxprune.distillation.taps import Taps, find_taps
from fxprune.errors import UsageError
from fxprune.groups import byproducts, feature_outputs
from fxprune.hub import first_line
from fxprune.passes import AllPositions, DropoutMode, HideTaps, run_passes
from fxprune.student import Student
from fxprune.traced import Traced
from fxprune.widths import Constraints

_SIGHTS = {
    "hidden": "residual stream that leaves a numbered block",
    "embedding": "residual stream that enters a first block",
    "attention": "fused attention",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class StartReport:
    """What is known before the first step."""

    teacher_params: int
    student_params: int  # as planned
    objective: str
    notes: tuple[str, ...]


def distill(
    model: nn.Module,
    tokenizer: Any,
    dataset: str,
    config: DistillConfig,
    *,
    examples: Mapping[str, Tensor] | None = None,
    text_column: str | None = None,
    on_start: Callable[[StartReport], None] | None = None,
    on_step: Callable[[StepReport], None] | None = None,
) -> DistillResult:
    """Narrow a text model step by step while it learns from its dense self.

    Args:
        model: a Hugging Face text model, or any traceable module that takes token ids; copied, never changed.
        tokenizer: its tokenizer.
        dataset: "demo", local files, or the name of a data set on the hub.
        config: settings.
        examples: inputs to capture the model with; drawn from its config by default.
        text_column: of the data set, where it has several.
        on_start: called once the target is known to be reachable, before the first step.
        on_step: called after each step.
    Raises:
        UsageError, DataError, CaptureError, PlanError: before anything is trained.
        DistillError: a loss stopped being a number.
        VerifyError: with ``verify``, a proof failed.
    Source:
        Liang et al. 2023, HomoDistil, arXiv:2302.09632.
    """
    device = choose_device(config.device)
    accelerator = Accelerator(cpu=device.type == "cpu")
    if accelerator.num_processes > 1:
        raise UsageError("several processes are not supported yet", remedy="run one process")
    _check_float32(model)
    set_seed(config.seed)
    if examples is None:
        from fxprune.sources import example_inputs

        examples = example_inputs(model, tokenizer)
    traced = api.capture(model, examples)
    objective = find_objective(traced, tokenizer)
    student = Student(
        traced, free_outputs=feature_outputs(traced) if objective.name == FEATURES else byproducts(traced)
    )
    limits = api.constraints(model, traced) if config.loadable else Constraints()
    final = api.counts_for(student, ratio=config.target_ratio, target_params=config.target_params, limits=limits)
    held_out, batches = _data(dataset, tokenizer, objective, config, text_column)
    teacher = copy.deepcopy(traced).requires_grad_(False)
    _check_fits(teacher, held_out[0])
    taps = find_taps(traced, student.groups, student.free_outputs)
    for graph in (teacher, traced):
        move(graph, accelerator.device)
    start = StartReport(
        teacher_params=teacher.num_parameters(),
        student_params=student.budget.parameters(final),
        objective=objective.name,
        notes=_notes(objective, student, taps, config),
    )
    if on_start is not None:
        on_start(start)
    distiller = Distiller(teacher, student, taps, objective, final, config, accelerator)
    began = time.monotonic()
    history = list(_train(distiller, batches, on_step))
    seconds = time.monotonic() - began
    measured = distiller.evaluate([batch.to(accelerator.device) for batch in held_out])
    return DistillResult(
        student=_finished(distiller, examples),
        teacher_params=start.teacher_params,
        student_params=student.traced.num_parameters(),
        held_out=measured,
        objective=objective.name,
        notes=start.notes,
        history=tuple(history),
        seconds=seconds,
    )


def _train(
    distiller: Distiller, batches: Iterator[Batch], on_step: Callable[[StepReport], None] | None
) -> Iterator[StepReport]:
    for step in range(1, distiller.config.max_steps + 1):
        batch = next(batches).to(distiller.accelerator.device)
        began = time.monotonic()
        losses, cut, left = distiller.step(batch)
        report = StepReport(
            step=step,
            steps=distiller.config.max_steps,
            params=distiller.student.traced.num_parameters(),
            losses=losses,
            cut=cut,
            ratio=left,
            tokens_per_second=batch.inputs["input_ids"].numel() / (time.monotonic() - began),
        )
        if on_step is not None:
            on_step(report)
        yield report


def _data(
    dataset: str, tokenizer: Any, objective: Objective, config: DistillConfig, text_column: str | None
) -> tuple[list[Batch], Iterator[Batch]]:
    """Return held-out batches (masked once, the same for every run) and the endless training batches."""
    fixed = generator_for(0)
    first, endless = (
        (fixed_sentence_batches, sentence_batches)
        if _by_sentence(config, objective)
        else (fixed_batches, packed_batches)
    )
    held_out = first(
        text_dataset(dataset, split="held_out", text_column=text_column),
        tokenizer,
        length=config.length,
        batch_size=config.batch_size,
        n=config.held_out_batches,
    )
    rows = text_dataset(dataset, split="train", seed=config.seed, text_column=text_column)
    packed = endless(rows, tokenizer, length=config.length, batch_size=config.batch_size, seed=config.seed)
    masks = generator_for(config.seed)
    return (
        [objective.prepare(batch, tokenizer, fixed, config.mask_probability) for batch in held_out],
        (objective.prepare(batch, tokenizer, masks, config.mask_probability) for batch in packed),
    )


def _by_sentence(config: DistillConfig, objective: Objective) -> bool:
    return config.packing == "sentences" or (config.packing == "auto" and objective.name == FEATURES)


def _check_float32(model: nn.Module) -> None:
    for name, parameter in model.named_parameters():
        if parameter.is_floating_point() and parameter.dtype != torch.float32:
            raise UsageError(
                f"the model is in {str(parameter.dtype).removeprefix('torch.')}, and is trained in float32",
                cause=f"parameter {name!r}",
                remedy="pass model.float()",
            )


def _check_fits(teacher: Traced, batch: Batch) -> None:
    """Let the teacher read two rows, on the CPU: elsewhere an index out of range ends the process."""
    ids = batch.inputs["input_ids"]
    rows = {name: tensor[:2] if len(tensor) > 1 else tensor.repeat(2, 1) for name, tensor in batch.inputs.items()}
    try:
        with torch.no_grad():
            teacher(**rows)
    except (IndexError, RuntimeError) as error:
        raise UsageError(
            f"the model cannot read sequences of {ids.shape[1]} tokens with ids up to {int(ids.max())}",
            cause=first_line(error),
            remedy="choose a smaller length, or the tokenizer the model was trained with",
        ) from error


def _notes(objective: Objective, student: Student, taps: Taps, config: DistillConfig) -> tuple[str, ...]:
    notes = []
    if objective.name == FEATURES and any(tap.output for tap in taps.hidden):
        notes.append(
            "the model has no language-model head: distilled on how similar its output features are, and on hidden, "
            "embedding and attention terms; the output features shrink with it"
        )
    elif objective.name == FEATURES:
        notes.append(
            "the model has no language-model head: distilled on hidden, embedding and attention terms; nothing trains "
            "the layers that make its predictions, so train them afterwards"
        )
    missing = {"hidden": taps.hidden, "embedding": taps.embedding, "attention": taps.attention}
    for term in [name for name, found in missing.items() if getattr(config.loss, name) and not found]:
        notes.append(f"no {term} term: the graph shows no {_SIGHTS[term]}")
    if _by_sentence(config, objective):
        notes.append("trained on single sentences, as its users give them")
    if student.traced.provenance.rung != "named":
        notes.append(f"captured with {student.traced.provenance.rung} sizes")
    if not config.loadable:
        notes.append("widths are free: the result need not load as its Hugging Face class")
    return tuple(notes)


def _finished(distiller: Distiller, examples: Mapping[str, Tensor]) -> Traced:
    """Hide the taps, move to the CPU, refresh shapes, and prove the result if asked."""
    student, config = distiller.student, distiller.config
    run_passes(distiller.teacher, [AllPositions(), HideTaps()])
    run_passes(student.traced, [AllPositions(), HideTaps(), DropoutMode(train=False)])
    for graph in (distiller.teacher, student.traced):
        move(graph, torch.device("cpu"))
    slim = api.finish(student, None, examples)
    slim.requires_grad_(False)
    slim.meta["maps"] = {node: feature_map.weight.cpu() for node, feature_map in distiller.terms.maps.items()}
    if config.verify:
        dense = distiller.teacher
        dense.load_state_dict(student.plan.implant(dense.state_dict(), slim.state_dict()), strict=False)
        slim.meta["certificate"] = certify(
            dense, slim, student.groups, student.plan, examples, free_outputs=student.free_outputs
        )
    return slim
