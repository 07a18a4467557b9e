"""Maps from the student's width to the teacher's, refitted in closed form after each cut.

A map starts as the identity, so every transfer loss starts at 0. After a cut the best map for the units that are left
is known exactly: it solves a least-squares problem whose sums the training batches provide.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from fxprune.axes import Axis
from fxprune.distillation.checkpoints.saved import Saved
from fxprune.distillation.taps import FeatureTap
from fxprune.units import IndexCache, Kept

RIDGE = 1e-3  # relative to the mean variance of the student's features
MEMORY = 0.9  # of the sums, per step: they follow a student that learns


class FeatureMap:
    """One map W (teacher width x student width) and the running sums it is fitted from."""

    def __init__(self, tap: FeatureTap, width: int, device: torch.device) -> None:
        self.axis: Axis = tap.axis
        self.weight = torch.eye(width, device=device)
        self.inner = torch.zeros(width, width, device=device)  # sum of s s^T
        self.cross = torch.zeros(width, width, device=device)  # sum of t s^T
        self._new: tuple[Tensor, Tensor] | None = None  # sums of the step that is not over

    def __call__(self, student: Tensor) -> Tensor:
        """Map (..., student width) to (..., teacher width)."""
        return student @ self.weight.T

    @torch.no_grad()
    def observe(self, student: Tensor, teacher: Tensor) -> None:
        """Add features of a part of a batch, (..., student width) and (..., teacher width), to the sums of the step."""
        s, t = student.flatten(0, -2).float(), teacher.flatten(0, -2).float()
        if self._new is None:
            self._new = (s.T @ s, t.T @ s)
        else:
            self._new[0].addmm_(s.T, s)
            self._new[1].addmm_(t.T, s)

    def keep(self) -> None:
        """End a step: what it showed is added to what earlier ones did."""
        self.inner.mul_(MEMORY)
        self.cross.mul_(MEMORY)
        if self._new is not None:
            self.inner.add_(self._new[0])
            self.cross.add_(self._new[1])
        self.forget()

    def forget(self) -> None:
        """Drop what the step showed: it is begun again."""
        self._new = None

    @torch.no_grad()
    def refit(self, total: Callable[[list[Tensor]], None] = lambda sums: None) -> None:
        """Solve ``min_W |W s - t|^2 + ridge |W - W_before|^2`` over the observed features.

        The penalty pulls towards the map of before, not towards zero: directions the few last batches do not
        show keep what earlier ones taught.

        Args:
            total: adds up sums over processes, in place; each has seen its own sequences.
        """
        width = len(self.inner)
        sums = [self.inner.clone(), self.cross.clone()]
        total(sums)
        damping = RIDGE * sums[0].diagonal().mean().clamp_min(1e-12)
        left = sums[0] + damping * torch.eye(width, device=self.inner.device)
        right = sums[1] + damping * self.weight
        self.weight = torch.linalg.solve(left, right.T).T.contiguous()

    def cut(self, kept: Kept) -> None:
        """Drop the columns of removed units; call before the factors shrink."""
        index = IndexCache(kept)(self.axis)
        if index is not None:
            index = index.to(self.weight.device)
            self.weight = self.weight[:, index].contiguous()
            self.inner = self.inner[index][:, index].contiguous()
            self.cross = self.cross[:, index].contiguous()

    def saved(self) -> Saved:
        """Return the map between two steps."""
        return Saved(tensors={"weight": self.weight, "inner": self.inner, "cross": self.cross})

    def restore(self, saved: Saved) -> None:
        """Put back what `saved` returned, once the units that were gone are cut."""
        for name in ("weight", "inner", "cross"):
            now = getattr(self, name)
            setattr(self, name, saved.tensor(name, now.shape).to(now.device))
