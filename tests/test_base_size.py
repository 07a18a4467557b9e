"""Allocation at a real size, without weights."""

from __future__ import annotations

import pytest
import torch

from fxprune import api
from fxprune.allocation import TOLERANCE, Budget, parse_count, solve, uniform
from fxprune.errors import PlanError
from fxprune.groups import Groups, analyse
from fxprune.traced import Traced
from fxprune.widths import Constraints

Base = tuple[Traced, Groups, Budget, Constraints]


@pytest.fixture(scope="module")
def base() -> Base:
    """BERT-base on the meta device."""
    from transformers import BertConfig, BertForMaskedLM

    with torch.device("meta"):
        model = BertForMaskedLM(BertConfig())
        ids = torch.ones(5, 13, dtype=torch.int64)
    traced = api.capture(model, {"input_ids": ids, "attention_mask": ids})
    groups = analyse(traced)
    return traced, groups, Budget.of(traced, groups), api.constraints(model, traced)


LAYER = "bert.encoder.layer.{}.{}"
# the last ones lie between the two widest hidden sizes that twelve heads divide, 756 (107.4M) and 768
TARGETS = ["15M", "17.5M", "65M", "25%", "0.2M", "107M", "108.6M", "109.4M", "100%"]


@pytest.mark.parametrize("text", TARGETS)
def test_a_target_is_met_within_one_percent_and_loads_as_a_bert(base: Base, text: str) -> None:
    _, groups, budget, limits = base
    dense = budget.parameters({})
    target = parse_count(text, dense)
    counts = solve(budget, groups, target, limits)
    assert (1 - TOLERANCE) * target <= budget.parameters(counts) <= target
    for i in range(12):
        heads = counts[LAYER.format(i, "attention.heads")]
        assert heads * counts[LAYER.format(i, "attention.self.qk")] == counts["hidden"]
        assert heads * counts[LAYER.format(i, "attention.value")] == counts["hidden"]
        assert counts[LAYER.format(i, "inner")] == counts[LAYER.format(0, "inner")]


def test_a_target_is_met_without_constraints(base: Base) -> None:
    _, groups, budget, _ = base
    counts = solve(budget, groups, 15_000_000)
    assert 0.99 * 15e6 <= budget.parameters(counts) <= 15e6
    ratios = {round(count / groups[name].size, 1) for name, count in counts.items() if "heads" not in name}
    assert ratios == {0.3}  # the same for the residual stream, the heads' dims and the inner layers
    sizes = {(groups[name].role, groups[name].size): set() for name in counts}
    for name, count in counts.items():
        sizes[groups[name].role, groups[name].size].add(count)
    assert all(len(found) == 1 for found in sizes.values())  # equal layers stay equal


def test_all_parameters_as_target_keep_all_units(base: Base) -> None:
    _, groups, budget, limits = base
    counts = solve(budget, groups, budget.parameters({}), limits)
    assert counts == {name: groups[name].size for name in counts}


def test_a_target_above_the_model_is_refused(base: Base) -> None:
    _, groups, budget, limits = base
    with pytest.raises(PlanError, match=r"the target of 120,000,000 .* larger than the model\n.*it has 109,514,298"):
        solve(budget, groups, 120_000_000, limits)


def test_a_target_below_the_smallest_names_the_smallest_and_what_stays(base: Base) -> None:
    _, groups, budget, limits = base
    with pytest.raises(PlanError, match=r"out of reach\n.*\(30522\): rows are picked by data") as caught:
        solve(budget, groups, 30_000, limits)
    smallest = int(str(caught.value).rsplit("at least ", 1)[1].replace(",", ""))
    assert budget.parameters(solve(budget, groups, smallest, limits)) == smallest
    with pytest.raises(PlanError, match=f"{smallest:,}"):
        solve(budget, groups, smallest - 1, limits)


# ---------------------------------------------------------------------- rotary


@pytest.mark.parametrize(
    ("ratio", "hidden", "heads", "inner", "parameters"),
    [
        (576 / 768, 576, 12, 2304, 66_107_514),
        (256 / 768, 256, 8, 1024, 17_519_674),
        (240 / 768, 240, 12, 960, 15_869_802),
        (224 / 768, 224, 8, 896, 14_294_170),
    ],
)
def test_the_papers_widths_come_out_of_their_ratios(
    base: Base, ratio: float, hidden: int, heads: int, inner: int, parameters: int
) -> None:
    """Liang et al. 2023: heads go only where no width of all heads comes within 1 % of the ratio."""
    _, groups, budget, limits = base
    counts = uniform(groups, ratio, limits)
    assert counts["hidden"] == hidden
    assert counts["bert.encoder.layer.0.attention.heads"] == heads
    assert counts["bert.encoder.layer.0.attention.value"] * heads == hidden
    assert counts["bert.encoder.layer.11.inner"] == inner
    assert budget.parameters(counts) == parameters
