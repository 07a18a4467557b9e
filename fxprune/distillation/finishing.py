"""From a distiller to a model that is handed out: taps hidden, on the CPU, shapes refreshed, proved if asked."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor

from fxprune import api
from fxprune.certificate import certify
from fxprune.distillation.device import move
from fxprune.distillation.loop import Distiller
from fxprune.passes import AllPositions, DropoutMode, HideTaps, run_passes
from fxprune.student import refresh_shapes
from fxprune.traced import Traced


def finished(distiller: Distiller, examples: Mapping[str, Tensor]) -> Traced:
    """End the run: return its student, and give the teacher back its outputs."""
    student, config = distiller.student, distiller.config
    for graph in (distiller.teacher, student.traced):
        _hand_out(graph)
    slim = api.finish(student, None, examples)
    slim.requires_grad_(False)
    slim.meta["maps"] = _maps(distiller)
    if config.verify:
        slim.meta["certificate"] = certify(
            distiller.teacher,
            slim,
            student.groups,
            student.plan,
            examples,
            free_outputs=student.free_outputs,
            changed=True,
        )
    return slim


def handed_out(distiller: Distiller) -> Traced:
    """Return a copy of the student as it is now; the run goes on."""
    student = distiller.student
    refresh_shapes(student.traced, student.groups)
    slim = copy.deepcopy(student.traced)
    _hand_out(slim)
    slim.requires_grad_(False)
    slim.meta["plan"] = student.plan
    slim.meta["maps"] = _maps(distiller)
    return slim


def _hand_out(graph: Traced) -> None:
    run_passes(graph, [AllPositions(), HideTaps(), DropoutMode(train=False)])
    move(graph, torch.device("cpu"))


def _maps(distiller: Distiller) -> dict[str, Tensor]:
    return {node: feature_map.weight.cpu() for node, feature_map in distiller.terms.maps.items()}
