"""Maps from the student's width to the teacher's, refitted in closed form after each cut.

A map starts as the identity, so every transfer loss starts at 0. After a cut the best map for the units that are left
is known exactly: it solves a least-squares problem whose sums the training batches provide.
"""

from __future__ import annotations

import torch
from torch import Tensor

from fxprune.axes import Axis
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

    def __call__(self, student: Tensor) -> Tensor:
        """Map (..., student width) to (..., teacher width)."""
        return student @ self.weight.T

    @torch.no_grad()
    def observe(self, student: Tensor, teacher: Tensor) -> None:
        """Add one batch of features, (..., student width) and (..., teacher width), to the sums."""
        s, t = student.flatten(0, -2), teacher.flatten(0, -2)
        self.inner.mul_(MEMORY).addmm_(s.T, s)
        self.cross.mul_(MEMORY).addmm_(t.T, s)

    @torch.no_grad()
    def refit(self) -> None:
        """Solve ``min_W |W s - t|^2 + ridge |W - W_before|^2`` over the observed features.

        The penalty pulls towards the map of before, not towards zero: directions the few last batches do not
        show keep what earlier ones taught.
        """
        width = len(self.inner)
        damping = RIDGE * self.inner.diagonal().mean().clamp_min(1e-12)
        left = self.inner + damping * torch.eye(width, device=self.inner.device)
        right = self.cross + damping * self.weight
        self.weight = torch.linalg.solve(left, right.T).T.contiguous()

    def cut(self, kept: Kept) -> None:
        """Drop the columns of removed units; call before the factors shrink."""
        index = IndexCache(kept)(self.axis)
        if index is not None:
            index = index.to(self.weight.device)
            self.weight = self.weight[:, index].contiguous()
            self.inner = self.inner[index][:, index].contiguous()
            self.cross = self.cross[:, index].contiguous()
