"""Models that draw random numbers, such as those that hide patches at random, are proved like others."""

from __future__ import annotations

import torch
from torch import Tensor, nn

import fxprune
from fxprune.verify.compare import same_draws


class Hiding(nn.Module):
    """Hides places at random, in evaluation mode too."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.leave = nn.Linear(6, 16), nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        shown = torch.rand(x.shape[0], x.shape[1]) < 0.5
        return self.leave(self.enter(x).relu() * shown[..., None])


def test_a_model_that_hides_places_at_random_is_proved() -> None:
    slim = fxprune.prune(Hiding().eval(), {"x": torch.randn(5, 13, 6)}, ratio=0.5, verify=True)
    assert slim.certificate.masked < 1e-5
    assert slim.certificate.permutation < 1e-5


def test_the_draws_of_others_go_on() -> None:
    torch.manual_seed(7)
    expected = torch.rand(2)
    torch.manual_seed(7)
    with same_draws():
        first = torch.rand(2)
    with same_draws():
        assert torch.equal(torch.rand(2), first)
    assert torch.equal(torch.rand(2), expected)
