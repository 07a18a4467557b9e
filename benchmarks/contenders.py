"""The two tools on one model, and what each of them is timed on; see speed.py."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
import torch_pruning
from common import Case, Work
from torch import Tensor, nn
from transformers import BertConfig, BertForMaskedLM, BertModel

import fxprune
from fxprune.allocation import uniform
from fxprune.groups import analyse
from fxprune.importance import magnitude, random_score
from fxprune.student import Student
from fxprune.traced import Traced
from fxprune.unit_scores import UnitScorer, UnitScores
from fxprune.widths import Constraints

KEPT = 0.5

ANALYSIS, THEIR_ANALYSIS = "analysis", "analysis, Torch-Pruning"
CUT, CUT_ADAM, SCORE_CUT = "cut", "cut with Adam state", "magnitude scores and cut with Adam state"
STEP, STEP_RANDOM = "step(), Torch-Pruning", "step() with random scores, Torch-Pruning"
CAPTURE = "capture"


def prepared(model: str) -> tuple[nn.Module, dict[str, Tensor]]:
    """Return the dense model and its inputs."""
    torch.manual_seed(0)
    dense = (BertModel if model == "encoder" else BertForMaskedLM)(BertConfig()).eval()
    return dense, {"input_ids": torch.randint(5, 999, (2, 16)), "attention_mask": torch.ones(2, 16, dtype=torch.long)}


class Ours:
    """What fxprune is timed on: one capture, copied for every run."""

    def __init__(self, model: nn.Module, inputs: Mapping[str, Tensor]) -> None:
        self.model, self.inputs = model, inputs
        # Torch-Pruning narrows an encoder's outputs; the logits neither tool may touch
        self.free = frozenset[int]() if isinstance(model, BertForMaskedLM) else frozenset({0, 1})
        self.traced = fxprune.capture(model, inputs)
        student = Student(self.traced, free_outputs=self.free)
        self.counts = uniform(student.groups, KEPT, Constraints())
        self.scores = UnitScorer(student.groups)(self.traced, random_score)

    def cases(self) -> dict[str, Case]:
        """Return the rows of fxprune."""
        return {
            ANALYSIS: lambda: lambda: analyse(self.traced, free_outputs=self.free),
            CUT: lambda: self._cut(adam=False),
            CUT_ADAM: lambda: self._cut(adam=True),
            SCORE_CUT: lambda: self._cut(adam=True, score=True),
            CAPTURE: lambda: lambda: fxprune.capture(self.model, self.inputs),
        }

    def _cut(self, *, adam: bool, score: bool = False) -> Work:
        student = Student(copy.deepcopy(self.traced), free_outputs=self.free)
        optimizers = (warm_adam(student.traced),) if adam else ()
        scorer = UnitScorer(student.groups)

        def work() -> Traced:
            scores: UnitScores = scorer(student.traced, magnitude) if score else self.scores
            student.cut_to(self.counts, scores, optimizers)
            return student.traced

        return work


class Theirs:
    """What Torch-Pruning is timed on: the model copied for every run, with the hints it needs for these widths."""

    def __init__(self, model: nn.Module, inputs: Mapping[str, Tensor]) -> None:
        self.model, self.inputs = model, inputs

    def cases(self) -> dict[str, Case]:
        """Return the rows of Torch-Pruning."""
        return {
            THEIR_ANALYSIS: self._analysis,
            STEP: lambda: self._step(torch_pruning.importance.MagnitudeImportance()),
            STEP_RANDOM: lambda: self._step(torch_pruning.importance.RandomImportance()),
        }

    def _analysis(self) -> Work:
        model = copy.deepcopy(self.model)

        def work() -> object:
            graph = torch_pruning.DependencyGraph().build_dependency(model, example_inputs=dict(self.inputs))
            return list(graph.get_all_groups(root_module_types=[nn.Linear]))

        return work

    def _step(self, importance: Any) -> Work:
        model = copy.deepcopy(self.model)
        attentions = [module for module in model.modules() if type(module).__name__ == "BertSelfAttention"]
        pruner = torch_pruning.pruner.BasePruner(
            model,
            dict(self.inputs),
            importance=importance,
            pruning_ratio=1 - KEPT,
            num_heads={layer: m.num_attention_heads for m in attentions for layer in (m.query, m.key, m.value)},
            prune_head_dims=True,
            ignored_layers=[model.cls.predictions.decoder] if isinstance(model, BertForMaskedLM) else [],
            root_module_types=[nn.Linear],
        )

        def work() -> nn.Module:
            pruner.step()
            return model

        return work


def warm_adam(model: nn.Module) -> torch.optim.Optimizer:
    """Return an AdamW that has made one step, so that it holds two moments of every parameter."""
    parameters = list(model.parameters())
    for parameter in parameters:
        parameter.requires_grad_(True).grad = torch.ones_like(parameter)
    optimizer = torch.optim.AdamW(parameters, lr=1e-6)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return optimizer
