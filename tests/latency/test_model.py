"""A latency model: prices of work, from times."""

from __future__ import annotations

import numpy as np
import pytest
from models import traced_of
from timing import AT, space_of

from fxprune.latency.model import LatencyModel
from fxprune.latency.space import Space
from fxprune.latency.work import Work


@pytest.fixture(scope="module")
def space() -> Space:
    return space_of("bert")


@pytest.fixture(scope="module")
def work(space: Space) -> Work:
    return Work.of(traced_of("bert"), space, AT)


def planted(space: Space, work: Work) -> dict[tuple[int, ...], float]:
    rng = np.random.default_rng(0)
    prices = rng.uniform(0.5, 2.0, len(work.classes) + len(work.padded) + 1) * 1e-5
    return {widths: float(work.amounts(space.counts(widths))[0] @ prices) for widths in space.draw(20)}


def test_times_that_follow_from_work_are_predicted_at_widths_nobody_timed(space: Space, work: Work) -> None:
    times = planted(space, work)
    held_out = list(times)[3::5]
    model = LatencyModel.fitted(space, work, {w: ms for w, ms in times.items() if w not in held_out})
    for widths in held_out:
        assert model.of(widths) == pytest.approx(times[widths], rel=0.01)
        assert sum(model.shares(widths).values()) == pytest.approx(model.of(widths))


def test_noise_does_not_make_wider_models_faster(space: Space, work: Work) -> None:
    rng = np.random.default_rng(1)
    noisy = {widths: ms * rng.uniform(0.7, 1.4) for widths, ms in planted(space, work).items()}
    model = LatencyModel.fitted(space, work, noisy)
    assert (model.prices >= 0).all()
    base = list(space.draw(5)[2])
    for i, size in enumerate(space.dense):
        assert model.of([*base[:i], size, *base[i + 1 :]]) >= model.of(base)


def test_a_factor_scales_every_prediction(space: Space, work: Work) -> None:
    model = LatencyModel.fitted(space, work, planted(space, work))
    assert model.scaled(1.5).scaled(2.0).of(space.dense) == pytest.approx(3.0 * model.of(space.dense))


def test_near_a_time_files_of_about_that_time_count_more(space: Space, work: Work) -> None:
    times = {widths: float(sum(widths)) ** 1.5 for widths in space.draw(20)}  # no model fits these everywhere
    small = min(times.values())
    near = LatencyModel.fitted(space, work, times, near=small)
    far = LatencyModel.fitted(space, work, times, near=max(times.values()))
    fast = [widths for widths, ms in times.items() if ms < 2 * small]

    def error(model: LatencyModel) -> float:
        return sum(abs(model.of(widths) / times[widths] - 1) for widths in fast)

    assert error(near) < error(far)
