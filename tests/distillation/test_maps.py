"""Maps start as the identity, follow cuts, and find the best linear map in closed form."""

from __future__ import annotations

import pytest
import torch

from fxprune.axes import Factor
from fxprune.distillation.maps import FeatureMap
from fxprune.distillation.taps import FeatureTap
from fxprune.units import Kept

WIDTH = 8


def new() -> tuple[FeatureMap, Factor]:
    factor = Factor(WIDTH)
    tap = FeatureTap(kind="hidden", node="add", block="layer.0", axis=(factor,))
    return FeatureMap(tap, WIDTH, torch.device("cpu")), factor


def kept(factor: Factor, *units: int) -> Kept:
    mask = torch.zeros(WIDTH, dtype=torch.bool)
    mask[list(units)] = True
    return Kept({factor: mask})


def test_it_starts_as_the_identity_exactly() -> None:
    features = torch.randn(3, 5, WIDTH)
    assert torch.equal(new()[0](features), features)


def test_observing_equal_features_leaves_the_identity() -> None:
    feature_map, _ = new()
    features = torch.randn(30, WIDTH)
    feature_map.observe(features, features)
    feature_map.keep()
    feature_map.refit()
    torch.testing.assert_close(feature_map.weight, torch.eye(WIDTH))


def test_without_any_observation_a_refit_changes_nothing() -> None:
    feature_map, factor = new()
    feature_map.cut(kept(factor, 1, 2, 5))
    feature_map.refit()
    torch.testing.assert_close(feature_map.weight, torch.eye(WIDTH)[:, [1, 2, 5]])


def test_a_cut_drops_columns_and_what_was_summed_for_them() -> None:
    feature_map, factor = new()
    student, teacher = torch.randn(2, 30, WIDTH)
    feature_map.observe(student, teacher)
    feature_map.keep()
    feature_map.cut(kept(factor, 0, 3, 4, 7))
    assert torch.equal(feature_map.weight, torch.eye(WIDTH)[:, [0, 3, 4, 7]])
    left = student[:, [0, 3, 4, 7]]
    torch.testing.assert_close(feature_map.inner, left.T @ left)
    torch.testing.assert_close(feature_map.cross, teacher.T @ left)
    assert feature_map(left).shape == (30, WIDTH)


def test_a_cut_of_something_else_changes_nothing() -> None:
    feature_map, _ = new()
    feature_map.cut(kept(Factor(WIDTH), 1, 2))
    assert torch.equal(feature_map.weight, torch.eye(WIDTH))


def test_a_refit_finds_a_planted_map() -> None:
    feature_map, factor = new()
    feature_map.cut(kept(factor, 0, 3, 4))
    planted = torch.randn(WIDTH, 3)
    for _ in range(20):
        student = torch.randn(4, 50, 3)
        feature_map.observe(student, student @ planted.T)
        feature_map.keep()
    feature_map.keep()
    feature_map.refit()
    torch.testing.assert_close(feature_map.weight, planted, rtol=0, atol=0.01)


def test_a_refit_is_a_least_squares_solution_pulled_to_the_map_before() -> None:
    feature_map, _ = new()
    student, teacher = torch.randn(2, 200, WIDTH, dtype=torch.float64).float()
    feature_map.observe(student, teacher)
    feature_map.keep()
    feature_map.refit()
    best = torch.linalg.lstsq(student, teacher).solution.T
    torch.testing.assert_close(feature_map.weight, best, rtol=0, atol=0.01)
    error = (feature_map(student) - teacher).square().mean()
    assert float(error) <= float((student - teacher).square().mean())


def test_directions_that_were_not_shown_keep_their_map() -> None:
    feature_map, _ = new()
    before = feature_map.weight.clone()
    student = torch.zeros(50, WIDTH)
    student[:, 0] = torch.randn(50)
    feature_map.observe(student, torch.randn(50, WIDTH))
    feature_map.keep()
    feature_map.refit()
    assert torch.allclose(feature_map.weight[:, 1:], before[:, 1:], atol=1e-5)


def test_it_forgets_what_a_student_was() -> None:
    feature_map, _ = new()
    student = torch.randn(100, WIDTH)
    feature_map.observe(student, student)
    feature_map.keep()
    for _ in range(100):
        feature_map.observe(student, 2 * student)
        feature_map.keep()
    feature_map.keep()
    feature_map.refit()
    torch.testing.assert_close(feature_map.weight, 2 * torch.eye(WIDTH), rtol=0, atol=0.01)


def test_parts_of_a_step_count_as_one() -> None:
    whole, parts = new()[0], new()[0]
    for _ in range(3):
        student, teacher = torch.randn(2, 30, WIDTH)
        whole.observe(student, teacher)
        for part in (slice(7), slice(7, None)):
            parts.observe(student[part], teacher[part])
        for feature_map in (whole, parts):
            feature_map.keep()
    torch.testing.assert_close(parts.inner, whole.inner)
    torch.testing.assert_close(parts.cross, whole.cross)


def test_a_step_that_is_begun_again_leaves_nothing() -> None:
    feature_map, _ = new()
    feature_map.observe(*torch.randn(2, 30, WIDTH))
    feature_map.forget()
    feature_map.keep()
    assert not feature_map.inner.any()


def test_observing_keeps_no_gradient() -> None:
    feature_map, _ = new()
    student = torch.randn(10, WIDTH, requires_grad=True)
    feature_map.observe(student, student)
    feature_map.keep()
    assert not feature_map.inner.requires_grad
    feature_map(student).sum().backward()
    assert student.grad is not None


@pytest.mark.parametrize("scale", [1e-4, 1e4])
def test_the_ridge_follows_the_size_of_the_features(scale: float) -> None:
    feature_map, _ = new()
    student, teacher = scale * torch.randn(2, 200, WIDTH)
    feature_map.observe(student, teacher)
    feature_map.keep()
    feature_map.refit()
    torch.testing.assert_close(feature_map.weight, torch.linalg.lstsq(student, teacher).solution.T, rtol=0, atol=0.02)
