"""A student: a captured model that is cut, with its groups, ledger and parameter count kept in step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import SymInt, Tensor
from torch.fx import GraphModule
from torch.optim import Optimizer

from fxprune.allocation import Budget
from fxprune.axes import Axis, size_of
from fxprune.calls import results_of
from fxprune.flops import FlopBudget
from fxprune.groups import Groups, analyse
from fxprune.ledger import Ledger
from fxprune.passes import SliceUnits, run_passes
from fxprune.plan import Plan, fingerprint
from fxprune.sizes import size_from
from fxprune.traced import Traced
from fxprune.unit_scores import UnitScores, best_units
from fxprune.units import Kept

if TYPE_CHECKING:
    from fxprune.latency import LatencyPlan


class Student:
    """Cuts a captured model, as often as wanted.

    Args:
        traced: captured and dense; it is changed in place.
        free_outputs: indices of outputs whose dimensions may be cut.
    """

    def __init__(self, traced: Traced, *, free_outputs: frozenset[int] = frozenset()) -> None:
        self.traced = traced
        self.free_outputs = free_outputs
        self.groups: Groups = analyse(traced, free_outputs=free_outputs)
        self.ledger = Ledger(self.groups, traced.provenance.aliases, fingerprint(traced.state_dict()))
        self.budget = Budget.of(traced, self.groups)
        self.latency_plan: LatencyPlan | None = None  # where the widths were chosen by what they take

    def cut(
        self,
        masks: Mapping[str, Tensor],
        optimizers: tuple[Optimizer, ...] = (),
        followers: Sequence[Callable[[Kept], None]] = (),
    ) -> Kept:
        """Remove units.

        Args:
            masks: which units stay, by group.
            optimizers: whose state is sliced along.
            followers: told what stays, while the groups still have their old sizes.
        Returns:
            What the rewriter was given.
        """
        kept = self.ledger.kept(masks)
        if kept.units:
            for follow in followers:
                follow(kept)
            self.ledger.record(kept)
            run_passes(self.traced, [SliceUnits(self.groups.inferred, kept, optimizers)])
        return kept

    def cut_to(
        self,
        counts: Mapping[str, int],
        scores: UnitScores,
        optimizers: tuple[Optimizer, ...] = (),
        followers: Sequence[Callable[[Kept], None]] = (),
    ) -> dict[str, Tensor]:
        """Keep the `counts` best units of each group; groups that are that small already stay. Returns the masks."""
        masks = self.best(counts, scores)
        self.cut(masks, optimizers, followers)
        return masks

    def best(self, counts: Mapping[str, int], scores: UnitScores) -> dict[str, Tensor]:
        """Return masks that keep the `counts` best units of each group that has more."""
        due = {name: count for name, count in counts.items() if count < self.groups[name].size}
        return best_units(scores, due)

    def planned(self, counts: Mapping[str, int], scores: UnitScores) -> Plan:
        """Return the plan of what `cut_to` would do now, and cut nothing."""
        ledger = self.ledger.copy()
        ledger.record(ledger.kept(self.best(counts, scores)))
        return ledger.plan()

    def apply(self, plan: Plan) -> None:
        """Cut to `plan`."""
        self.cut(self.ledger.cut_for(plan))

    def flops(self, batch: int = 1, length: int = 128) -> int:
        """Return the FLOPs of one forward pass as the student is now; see `FlopBudget`."""
        return FlopBudget.of(self.traced, self.groups, batch=batch, length=length).flops()

    @property
    def plan(self) -> Plan:
        """Everything cut so far, over dense units."""
        return self.ledger.plan()


def refresh_shapes(traced: GraphModule, groups: Groups) -> None:
    """Write the sizes of now into the traced values, so that the graph can be analysed or exported again."""
    for node, results in groups.inferred.axes.items():
        values = results_of(node)
        if values is None:
            continue
        new: list[Any] = []
        for value, axes in zip(values, results, strict=True):
            shape = [_size_now(axis, old) for axis, old in zip(axes, value.shape, strict=True)]
            # two symbolic sizes are not compared: that would be a guard
            same = all(n is old or (isinstance(n, int) and n == old) for n, old in zip(shape, value.shape, strict=True))
            new.append(value if same else _resized(value, shape))
        node.meta["val"] = new[0] if isinstance(node.meta["val"], Tensor) else type(node.meta["val"])(new)
        node.meta.pop("tensor_meta", None)


def _size_now(axis: Axis, old: int | SymInt) -> int | SymInt:
    """Return the size of `axis`; of heads folded with the batch, as in ``4*s0``, the heads may have become fewer."""
    now, before = size_of(axis), size_from(old)
    if isinstance(now, int) or isinstance(before, int) or isinstance(old, int):
        return now if isinstance(now, int) else old
    same = now.coefficient == before.coefficient
    return old if same else old // before.coefficient * now.coefficient


def _resized(value: Tensor, shape: list[Any]) -> Tensor:
    mode = getattr(value, "fake_mode", None)
    if mode is None:
        return torch.empty(shape, dtype=value.dtype, device="meta")
    with mode:
        return value.new_empty(shape)
