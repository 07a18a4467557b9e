"""Ridge regression from sums: exact where it can be, and never worse on rows it did not see."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from fxprune.ridge import GRID, Fit, Gram, Sums, regress

S, N, K, OUT = 2, 50, 6, 4


def rows(seed: int, delta: Tensor, noise: float = 0.0, n: int = N) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(S, n, K, generator=generator, dtype=torch.float64)
    residual = x @ delta.mT + noise * torch.randn(S, n, OUT, generator=generator, dtype=torch.float64)
    return x, residual, residual + 1.0 + x @ torch.ones(K, OUT, dtype=torch.float64)


def sums(*parts: tuple[Tensor, Tensor, Tensor], free: int = 0) -> Sums:
    found = Sums(Gram([x for x, _, _ in parts], free))
    for part in parts:
        found.add(*part)
    return found


def fitted(noise: float, n: int, grid: tuple[float, ...] = GRID) -> tuple[Fit, Tensor]:
    delta = torch.randn(S, OUT, K, dtype=torch.float64)
    delta = delta if noise < 1 else delta * 0
    return regress(sums(rows(1, delta, noise, n)), sums(rows(2, delta, noise)), grid), delta


def test_what_is_linear_is_found() -> None:
    fit, delta = fitted(0.0, N, (1e-2, 1e-6, 1e-12))
    torch.testing.assert_close(fit.delta, delta, atol=1e-10, rtol=0)
    assert fit.ridge == 1e-12
    assert fit.held_out[0] > 0.1
    assert fit.held_out[1] < 1e-15


def test_a_weight_is_left_as_it_is_where_nothing_helps() -> None:
    """Fewer rows than features, and nothing but noise: every fit is worse on other rows."""
    fit, _ = fitted(1.0, K // 2, (1e-2, 1e-4))
    assert fit.ridge is None
    assert not fit.delta.any()
    assert fit.held_out[1] == fit.held_out[0]


@pytest.mark.parametrize("noise", [0.0, 0.3, 3.0])
@pytest.mark.parametrize("n", [3, 10, 100])
def test_held_out_rows_never_get_worse(noise: float, n: int) -> None:
    fit, _ = fitted(noise, n)
    assert fit.held_out[1] <= fit.held_out[0]
    assert fit.fitted[1] <= fit.fitted[0]


def test_noise_asks_for_a_stronger_penalty() -> None:
    ridges = [fitted(noise, 10, (10.0, 1.0, 0.1, 1e-2, 1e-4, 1e-8))[0].ridge or 100.0 for noise in (0.0, 0.9)]
    assert ridges[0] < ridges[1]


def test_errors_are_those_of_the_rows_themselves() -> None:
    delta = torch.randn(S, OUT, K, dtype=torch.float64)
    first, second = rows(1, delta, 0.5, 7), rows(2, delta, 0.5, 9)
    found = sums(first, second)
    x, residual, wanted = (torch.cat(parts, 1) for parts in zip(first, second, strict=True))
    guess = delta + 0.1
    variance = (wanted - wanted.mean(1, keepdim=True)).square().sum()
    assert found.error() == pytest.approx(float(residual.square().sum() / variance))
    assert found.error(guess) == pytest.approx(float((residual - x @ guess.mT).square().sum() / variance))


def test_a_column_of_ones_carries_no_penalty() -> None:
    """A bias shifts by the mean, however strongly the weights are held."""
    x = torch.randn(1, N, K, dtype=torch.float64)
    x -= x.mean(1, keepdim=True)
    ones = torch.cat([x, torch.ones(1, N, 1, dtype=torch.float64)], -1)
    part = (ones, torch.full((1, N, OUT), 3.0, dtype=torch.float64), torch.randn(1, N, OUT, dtype=torch.float64))
    fit = regress(sums(part, free=1), sums(part, free=1), (1e3,))
    torch.testing.assert_close(fit.delta[0, :, -1], torch.full((OUT,), 3.0, dtype=torch.float64), atol=1e-4, rtol=0)
    assert float(fit.delta[..., :-1].abs().max()) < 1e-6


def test_features_without_any_variance_do_no_harm() -> None:
    part = (torch.zeros(S, N, K), torch.randn(S, N, OUT), torch.randn(S, N, OUT))
    fit = regress(sums(part), sums(part), (1e-3, 0.0))
    assert fit.ridge is None
    assert not fit.delta.any()
