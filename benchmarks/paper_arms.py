"""The arms of the paper benchmark: what is compared, each one change away from homotopic distillation."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from fxprune import analyse
from fxprune.distillation.config import DistillConfig, LossWeights, ScheduleConfig
from fxprune.distillation.taps import find_taps
from fxprune.passes import DeadCode, run_passes
from fxprune.traced import Traced, register, remove_tensor, tensor_of

Edit = Callable[[Traced], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One way to make a small model; what is not said is as in homotopic distillation.

    Attributes:
        name: of the row.
        question: which of the paper's questions it is for.
        settings: fields of `DistillConfig`.
        schedule: fields of `ScheduleConfig`.
        loss: fields of `LossWeights`.
        start: what the student starts from: its teacher, fresh weights, or half of the layers.
    """

    name: str
    question: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    schedule: Mapping[str, Any] = field(default_factory=dict)
    loss: Mapping[str, float] = field(default_factory=dict)
    start: str = "teacher"

    def config(self, **common: Any) -> DistillConfig:
        """Return the settings of a run."""
        parts = {"schedule": ScheduleConfig(**self.schedule), "loss": LossWeights(**self.loss)}
        return DistillConfig(**{**common, **self.settings, **parts})

    def edit(self, model: nn.Module, seed: int) -> Edit | None:
        """Return what changes the student before the first step."""
        edits: dict[str, Edit] = {"fresh": lambda traced: draw_weights(traced, model, seed), "layers": drop_layers}
        return edits.get(self.start)


ONE_SHOT = {"kind": "one-shot"}
PATH, START, SCORE, TERMS = "path", "start", "score", "terms"
HOMOTOPIC = Arm(name="homotopic", question=PATH)

ARMS = (
    HOMOTOPIC,
    Arm(name="one-shot", question=PATH, schedule=ONE_SHOT),
    Arm(name="homotopic + repair", question=PATH, settings={"repair": "least-squares"}),
    Arm(name="one-shot + repair", question=PATH, settings={"repair": "least-squares"}, schedule=ONE_SHOT),
    Arm(name="masked, then rewritten once", question=PATH, schedule={"rewrite_every": 1_000_000}),
    Arm(name="masked to the last step", question=PATH, schedule={"rewrite_every": 0}),
    Arm(name="soft masks, revived", question=PATH, schedule={"revive": True}),
    Arm(name="narrow, from random weights", question=START, schedule=ONE_SHOT, start="fresh"),
    Arm(name="half the layers, then narrowed", question=START, schedule=ONE_SHOT, start="layers"),
    Arm(name="PLATON", question=SCORE, settings={"importance": "platon"}),
    Arm(name="magnitude", question=SCORE, settings={"importance": "magnitude"}),
    Arm(name="movement", question=SCORE, settings={"importance": "movement"}),
    Arm(name="random scores", question=SCORE, settings={"importance": "random"}),
    *(Arm(name=f"without {term}", question=TERMS, loss={term: 0.0}) for term in LossWeights.__slots__),
)


def draw_weights(traced: Traced, model: nn.Module, seed: int) -> None:
    """Give every parameter the value a new model of the same class and config has."""
    torch.manual_seed(seed)
    fresh = type(model)(model.config).state_dict()
    with torch.no_grad():
        for name, parameter in traced.named_parameters():
            parameter.copy_(fresh[name])


def drop_layers(traced: Traced) -> None:
    """Keep half of the blocks, the first and the last among them; they are numbered anew, in the config too."""
    taps = find_taps(traced, analyse(traced, free_outputs=True))
    blocks = [tap for tap in taps.hidden if re.search(r"\.\d+$", tap.block)]
    nodes = {node.name: node for node in traced.graph.nodes}
    (entered,) = taps.embedding
    ends = [nodes[entered.node], *(nodes[tap.node] for tap in blocks)]
    kept = [round(i) for i in torch.linspace(0, len(blocks) - 1, max(2, len(blocks) // 2)).tolist()]
    for i in sorted(set(range(len(blocks))).difference(kept)):
        ends[i + 1].replace_all_uses_with(ends[i])
        ends[i + 1] = ends[i]
    traced.graph.eliminate_dead_code(
        lambda node: node.op in ("placeholder", "output")
    )  # dropout draws, so it would stay
    run_passes(traced, [DeadCode()])
    stays = [blocks[i].block for i in kept]
    _renumber(traced, {old: f"{old.rpartition('.')[0]}.{new}" for new, old in enumerate(stays)})
    origin = traced.meta["origin"]
    config = type(origin.config).from_dict({**origin.config.to_dict(), "num_hidden_layers": len(stays)})
    traced.meta["origin"] = replace(origin, config=config)
    traced.meta.pop("size_classes", None)


def _renumber(traced: Traced, blocks: Mapping[str, str]) -> None:
    """Move the tensors of blocks to other paths; in this order no path is taken."""
    for old, new in blocks.items():
        for node in [node for node in traced.graph.nodes if node.op == "get_attr"]:
            name = str(node.target)
            if name.startswith(f"{old}.") and old != new:
                moved = new + name.removeprefix(old)
                if not _has(traced, moved):
                    register(traced, moved, tensor_of(traced, name))
                    remove_tensor(traced, name)
                node.target = moved
    traced.recompile()


def _has(traced: Traced, name: str) -> bool:
    return name in traced.state_dict()
