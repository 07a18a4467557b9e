"""The public functions: capture, analyse, plan, prune, save and load."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn
from torch.export import ExportedProgram

from fxprune import groups as grouping
from fxprune import tracing
from fxprune.errors import UsageError, check_one_of
from fxprune.exported import capture_program, examples_of
from fxprune.goal import Allocation, Goal, Purpose
from fxprune.groups import Groups
from fxprune.inference import output_values
from fxprune.origin import Origin
from fxprune.passes import CANONICAL, DropoutMode, run_passes
from fxprune.plan import Plan
from fxprune.planning import Loss, check_score, chosen_for, constraints, counts_for
from fxprune.repair import Repairer, check_repair
from fxprune.result import finish
from fxprune.student import Student
from fxprune.traced import FIXED, Traced
from fxprune.widths import Constraints

__all__ = ["analyse", "capture", "constraints", "counts_for", "finish", "load", "make_plan", "prune"]


def capture(
    model: nn.Module | ExportedProgram,
    example_kwargs: Mapping[str, Any] | None = None,
    *,
    length: int | None = None,
) -> Traced:
    """Capture `model` as a graph that is called like it and returns the same structure.

    Args:
        model: any module `torch.export` can trace, or an exported program (of a `.pt2` file, say), which needs no
            source code; it is copied, never changed. On the meta device it needs no memory.
        example_kwargs: keyword arguments of its forward; dimension 0 of every tensor is the batch, dimension 1 of
            2-D integer tensors the sequence, and both stay free. A program brings its own.
        length: tokens of the captured graph where that cannot stay free, as in a loop over positions; default: as
            many as the examples have.
    Returns:
        A graph in evaluation mode with the model's own parameters and names, tied ones tied.
    Raises:
        CaptureError: the model cannot be traced; the error names the module and the source line that stopped it.
    """
    if isinstance(model, ExportedProgram):
        return _captured_program(model, example_kwargs)
    if example_kwargs is None:
        raise UsageError("capture needs example inputs", remedy="pass the keyword arguments of one call of its forward")
    traced = tracing.capture(model, example_kwargs, length)
    run_passes(traced, CANONICAL)
    if traced.provenance.rung == FIXED:
        example_kwargs = tracing.at_fixed_length(model, example_kwargs, length)
    traced.meta["origin"] = Origin.of(model, example_kwargs)
    return traced


def _captured_program(program: ExportedProgram, example_kwargs: Mapping[str, Any] | None) -> Traced:
    examples = dict(example_kwargs) if example_kwargs is not None else examples_of(program)
    traced = copy.deepcopy(capture_program(program))
    tracing.check_names(traced, examples)
    run_passes(traced, [DropoutMode(train=False), *CANONICAL])
    traced.meta["origin"] = Origin(model_class=Traced, config=None, example_kwargs=examples)
    return traced


def analyse(traced: Traced, *, free_outputs: bool | Collection[int] | None = None) -> Groups:
    """Find the groups of units that must be cut together.

    Args:
        traced: from `capture`.
        free_outputs: outputs whose dimensions may be cut, by place, such as an encoder's hidden state; True frees all;
            by default features that come beside predictions.
    Returns:
        The groups, frozen ones with their reason; `explain` says what couples two axes, or froze one.
    """
    return grouping.analyse(traced, free_outputs=free_outputs)


def prune(
    model: nn.Module | ExportedProgram,
    example_kwargs: Mapping[str, Any] | None = None,
    *,
    ratio: float | None = None,
    target_params: int | str | None = None,
    target_flops: int | str | None = None,
    target_latency: str | float | None = None,
    plan: Plan | None = None,
    at: str | None = None,
    optimise_for: Purpose = "size",
    length: int = 128,
    allocation: Allocation = "uniform",
    min_keep: float | None = None,
    round_to: int = 1,
    importance: str = "magnitude",
    loss: Loss | None = None,
    free_outputs: bool | Collection[int] | None = None,
    loadable: bool | None = None,
    verify: bool = False,
    repair: str = "none",
    calibration: Sequence[Mapping[str, Any]] = (),
    say: Callable[[str], None] = lambda text: None,
) -> Traced:
    """Cut a model at once, without training.

    Give one of `ratio`, `target_params`, `target_flops`, `target_latency` and `plan`.

    Args:
        model: a module, an exported program, or what `capture` made of either; copied, never changed.
        example_kwargs: keyword arguments of the module's forward; the others bring their own.
        ratio: fraction of every matrix axis that stays, in (0, 1]; of heads x dims the dims are narrowed.
        target_params: ``"15M"``, 14500000 or ``"25%"``; the result is at most that.
        target_flops: the same in FLOPs of the matrix products (2 a multiply-accumulate) at batch 1, `length` tokens.
        target_latency: ``"4ms"``: the largest widths whose ONNX file takes at most that on this machine, measured.
        plan: from an earlier run; dense weights + plan = slim weights.
        at: batch x length that is timed, as ``"8x128"``, ``"8x128,2"`` for two threads, or ``"8x128,int8"`` for the
            int8 file; 1x128 by default.
        optimise_for: ``"latency"`` takes the fastest of the widths that meet a target in parameters or FLOPs.
        length: tokens that FLOPs are counted at.
        allocation: uniform (the same ratio in every matrix) or global (the units with the least score per saved
            parameter or FLOP go first, so that layers may end at different widths where the class allows it).
        min_keep: of a global allocation, or where latency counts: fraction of every group that stays at least; 0.1 by
            default.
        round_to: kept sizes are multiples of this where the dense size is one; heads stay whole numbers.
        importance: magnitude or random, or with a loss sensitivity, fisher or movement.
        loss: makes a scalar of the model's output, for scores that need gradients.
        free_outputs: as for `analyse`.
        loadable: whether the widths must be expressible by a config of the model's Hugging Face class;
            by default, if it has one.
        verify: prove the result (see `Certificate`).
        repair: ``"least-squares"`` fits the kept weights anew, so that what they compute stays what it was; dense
            weights + plan are then no longer the slim weights.
        calibration: keyword arguments to repair on, at least twice; every fourth chooses how far weights may move.
        say: told what takes long, such as timing widths.
    Returns:
        The slim model, called like the dense one: `.plan`, `.certificate`, `.repairs`, `.latency_plan`,
        `.num_parameters()`, `.save(folder)`.
    Raises:
        PlanError: the target is out of reach, or the plan is of another model.
        ScoreError: unknown score, or one that needs a loss.
        VerifyError: a proof failed.
    """
    targets = {
        "ratio": ratio,
        "target_params": target_params,
        "target_flops": target_flops,
        "target_latency": target_latency,
    }
    check_one_of({**targets, "plan": plan}, "ratio=0.5")
    spread: dict[str, Any] = {"length": length, "allocation": allocation, "min_keep": min_keep, "round_to": round_to}
    spread |= {"at": at, "optimise_for": optimise_for}
    goal = None if plan is not None else Goal(**targets, **spread)  # type: ignore[arg-type]
    check_score(importance, loss)
    check_repair(repair, calibration)
    traced = copy.deepcopy(model) if isinstance(model, Traced) else capture(model, example_kwargs)
    examples = traced.meta["origin"].example_kwargs
    freed = _places(free_outputs, traced)
    dense = copy.deepcopy(traced) if verify else None
    student = Student(traced, free_outputs=freed)
    repairer = Repairer(traced, student.groups)
    followers = [repairer.remember] if calibration else []
    if goal is not None:
        counts, scores = chosen_for(student, goal, _limits(model, traced, loadable), importance, loss, say)
        student.cut_to(counts, scores, followers=followers)
    elif plan is not None:
        student.cut(student.ledger.cut_for(plan), followers=followers)
    if calibration:
        traced.meta["repairs"] = repairer.repair([tracing.runnable(traced, inputs) for inputs in calibration])
    return finish(student, dense, examples)


def make_plan(
    model: nn.Module | ExportedProgram,
    example_kwargs: Mapping[str, Any] | None = None,
    *,
    ratio: float | None = None,
    target_params: int | str | None = None,
    target_flops: int | str | None = None,
    target_latency: str | float | None = None,
    at: str | None = None,
    optimise_for: Purpose = "size",
    length: int = 128,
    allocation: Allocation = "uniform",
    min_keep: float | None = None,
    round_to: int = 1,
    importance: str = "magnitude",
    loss: Loss | None = None,
    free_outputs: bool | Collection[int] | None = None,
    loadable: bool | None = None,
) -> Plan:
    """Say which units to keep, without cutting anything; `prune` takes the plan later.

    A model on the meta device is planned without its weights: of the scores, only ``"random"`` needs none.

    Args:
        model, example_kwargs, ...: as for `prune`.
    Raises:
        PlanError: the target is out of reach.
        ScoreError: unknown score, one that needs a loss, or one that needs weights a meta model has not.
    """
    goal = Goal(
        ratio=ratio,
        target_params=target_params,
        target_flops=target_flops,
        target_latency=target_latency,
        at=at,
        optimise_for=optimise_for,
        length=length,
        allocation=allocation,
        min_keep=min_keep,
        round_to=round_to,
    )
    check_score(importance, loss)
    traced = model if isinstance(model, Traced) else capture(model, example_kwargs)
    student = Student(traced, free_outputs=_places(free_outputs, traced))
    return student.planned(*chosen_for(student, goal, _limits(model, traced, loadable), importance, loss))


def _limits(model: nn.Module | ExportedProgram, traced: Traced, loadable: bool | None) -> Constraints:
    return constraints(model, traced) if loadable is None or loadable else Constraints()


def load(folder: str | Path) -> nn.Module:
    """Load a slim model that `save` wrote: the graph with its weights and its plan, without the model's source code.

    Raises:
        SourceError: the folder holds no such model.
    """
    from fxprune.deploy.bundle import load_bundle

    return load_bundle(Path(folder))


def _places(free_outputs: bool | Collection[int] | None, traced: Traced) -> frozenset[int]:
    if free_outputs is None:
        return grouping.byproducts(traced)
    total = len(output_values(traced))
    if isinstance(free_outputs, bool):
        return frozenset(range(total)) if free_outputs else frozenset()
    if strange := [place for place in free_outputs if not 0 <= place < total]:
        raise UsageError(f"the model has {total} outputs, so no output {strange[0]}", remedy="count from 0")
    return frozenset(free_outputs)
