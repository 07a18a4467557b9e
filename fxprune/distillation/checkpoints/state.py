"""The whole state of a run between two steps, and a run put back into it, bit for bit.

What all processes have in common is saved once: the student's weights, Adam's moments, the schedule. What each has of
its own, such as random states and running sums over its share of the batches, is saved for each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields

import torch
from torch import Tensor
from torch.optim import Optimizer

from fxprune.distillation.checkpoints.randomness import randomness, set_randomness
from fxprune.distillation.checkpoints.saved import Saved, by_prefix
from fxprune.distillation.course import Run
from fxprune.distillation.loop import Distiller
from fxprune.distillation.scales import Scales
from fxprune.plan import Plan
from fxprune.traced import Traced

MOMENTS = ("exp_avg", "exp_avg_sq")


# ---------------------------------------------------------------------- what is common to all processes


def common(run: Run) -> Saved:
    """Return what every process has alike, without weights and plan."""
    distiller, found = run.distiller, Saved()
    found.data.update(seconds=run.seconds, done=distiller.done)
    found.add("optimizer", _optimizer(distiller.optimizer, weights_of(distiller.student.traced)))
    found.add("scales", _scales(distiller.terms.scales or Scales()))
    found.add("cutter", distiller.cutter.saved())
    found.add("mender", distiller.mender.saved())
    found.add("stream", run.batches.saved())
    return found


def restore_common(run: Run, saved: Saved, plan: Plan, weights: Mapping[str, Tensor]) -> None:
    """Cut the student to its plan, and put back weights and all that `common` returned.

    Args:
        run: that has not begun.
        saved: from `common`.
        plan: of the student.
        weights: of the student.
    Raises:
        CheckpointError, PlanError: the state does not fit the run.
    """
    distiller = run.distiller
    cut_to(distiller, plan)
    tensors = weights_of(distiller.student.traced)
    given = Saved({}, dict(weights), "weights/")
    given.check_names(list(tensors))
    with torch.no_grad():
        for name, tensor in tensors.items():
            tensor.copy_(given.tensor(name, tensor.shape, tensor.dtype))
    _restore_optimizer(distiller.optimizer, tensors, saved.part("optimizer"))
    _restore_scales(distiller, saved.part("scales"))
    distiller.cutter.restore(saved.part("cutter"))
    distiller.mender.restore(saved.part("mender"))
    config = distiller.config
    run.batches.restore(saved.part("stream"), most=config.calibration_batches + config.max_steps)
    distiller.done = saved.integer("done", 1, config.max_steps)


def cut_to(distiller: Distiller, plan: Plan) -> None:
    """Cut a dense student to the plan of a checkpoint, with its optimizer and maps."""
    student = distiller.student
    maps = [each.cut for each in distiller.terms.maps.values()]
    student.cut(student.ledger.cut_for(plan), (distiller.optimizer,), maps)
    if student.plan.digest != plan.digest:
        raise Saved(within="plan/").wrong("cut to its plan, the student has another one")


def weights_of(traced: Traced) -> dict[str, Tensor]:
    """Return every parameter and buffer of a student, tied ones once."""
    return {**dict(traced.named_parameters()), **dict(traced.named_buffers())}


# ---------------------------------------------------------------------- what each process has of its own


def own(run: Run) -> Saved:
    """Return what this process has of its own."""
    distiller, found = run.distiller, Saved()
    found.add("random", randomness(distiller.ranks.device))
    found.add("micro", distiller.micro.saved())
    found.add("scores", distiller.cutter.saved_scores())
    maps = Saved()
    for node, feature_map in distiller.terms.maps.items():
        maps.add(node, feature_map.saved())
    found.add("maps", maps)
    return found


def restore_own(run: Run, saved: Saved) -> None:
    """Put back what `own` returned; the student is cut as it was."""
    distiller = run.distiller
    distiller.micro.restore(saved.part("micro"))
    distiller.cutter.restore_scores(saved.part("scores"))
    maps = saved.part("maps")
    for node, feature_map in distiller.terms.maps.items():
        feature_map.restore(maps.part(node))
    set_randomness(saved.part("random"), distiller.ranks.device)


# ---------------------------------------------------------------------- parts


def _optimizer(optimizer: Optimizer, tensors: Mapping[str, Tensor]) -> Saved:
    """Return Adam's moments by the name of the weight; one that never had a gradient has none."""
    names = {id(tensor): name for name, tensor in tensors.items()}
    states = {names[id(weight)]: state for weight, state in optimizer.state.items() if state}
    found = Saved({"steps": {name: float(state["step"]) for name, state in states.items()}})
    for key in MOMENTS:
        found.tensors.update(by_prefix(key, {name: state[key] for name, state in states.items()}))
    return found


def _restore_optimizer(optimizer: Optimizer, tensors: Mapping[str, Tensor], saved: Saved) -> None:
    steps = saved.part("steps")
    trained = {id(weight) for group in optimizer.param_groups for weight in group["params"]}
    saved.check_names([f"{key}/{name}" for key in MOMENTS for name in steps.data])
    for name in steps.data:
        if name not in tensors or id(tensors[name]) not in trained:
            raise saved.wrong(f"there is no trained weight {name!r}")
        weight = tensors[name]
        optimizer.state[weight] = {
            "step": torch.tensor(steps.number(name)),
            **{key: saved.tensor(f"{key}/{name}", weight.shape, weight.dtype).to(weight.device) for key in MOMENTS},
        }


def _scales(scales: Scales) -> Saved:
    found = Saved()
    for field in fields(Scales):
        found.tensors.update(by_prefix(field.name, getattr(scales, field.name)))
    return found


def _restore_scales(distiller: Distiller, saved: Saved) -> None:
    """Take the scales that were measured when the run began: another machine may round them otherwise."""
    now, device = distiller.terms.scales or Scales(), distiller.ranks.device
    saved.check_names(list(_scales(now).tensors))
    kinds = {
        field.name: {
            name: saved.tensor(f"{field.name}/{name}", tensor.shape).to(device)
            for name, tensor in getattr(now, field.name).items()
        }
        for field in fields(Scales)
    }
    distiller.terms.scales = Scales(**kinds)
