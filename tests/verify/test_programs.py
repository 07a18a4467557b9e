"""The proofs on random programs: what is captured computes the same, and every cut is what the plan says."""

from __future__ import annotations

from collections.abc import Sequence

import hypothesis.strategies as st
import pytest
import torch
from cutting import Cut
from hypothesis import HealthCheck, Phase, given, seed, settings
from verify.programs import Code, Program, inputs
from verify.steps import all_steps

from fxprune.groups import analyse
from fxprune.passes import CANONICAL, run_passes
from fxprune.rules import Applied
from fxprune.rules import table as rule_table
from fxprune.tracing import capture
from fxprune.verify.compare import output_tensors, relative_error
from fxprune.verify.permutation import permutation_error

TOLERANCE = 1e-8  # of float64; some programs subtract what is nearly equal
STEPS = all_steps()
CODES = st.tuples(st.integers(0, len(STEPS) - 1), *[st.integers(0, 11)] * 4)
PROGRAMS = st.lists(CODES, min_size=3, max_size=12)


def prove(codes: Sequence[Code]) -> int:
    """Prove one program, cut plainly and raggedly; return how many groups could be cut."""
    model = Program(codes, STEPS).double().eval()
    traced = capture(model, inputs(5, 7))
    run_passes(traced, CANONICAL)
    for shape in ((5, 7), (3, 4)):
        pairs = zip(output_tensors(traced(**inputs(*shape))), output_tensors(model(**inputs(*shape))), strict=True)
        assert max(relative_error(a, b) for a, b in pairs) < TOLERANCE, f"captured: {model}"
    groups, given_inputs = analyse(traced), inputs(3, 4)
    assert permutation_error(traced, groups, given_inputs) < TOLERANCE, f"permutation: {model}"
    for ragged in (False, True):
        cut = Cut.of(traced, ragged=ragged)
        assert cut.faults(given_inputs) == [], f"structure: {model}"
        assert cut.masked_error(given_inputs) < TOLERANCE, f"masked: {model}"
    return len(groups.prunable)


def search(examples: int, start: int, *, shrink: bool = True) -> None:
    """Prove `examples` programs; a failing one is shrunk and printed as the list it is."""

    phases = [Phase.generate, *([Phase.shrink] if shrink else [])]

    @seed(start)
    @settings(
        max_examples=examples, deadline=None, database=None, phases=phases, suppress_health_check=list(HealthCheck)
    )
    @given(PROGRAMS)
    def check(codes: list[Code]) -> None:
        prove(codes)

    check()


def test_ten_programs() -> None:
    search(10, 0)


@pytest.mark.slow
@pytest.mark.parametrize("start", range(100, 140))
def test_fifty_programs(start: int) -> None:
    search(50, start)


@pytest.mark.slow
def test_most_programs_can_be_cut() -> None:
    """A program that freezes everything proves nothing."""
    torch.manual_seed(0)
    drawn = [[tuple(torch.randint(0, 12, (5,)).tolist()) for _ in range(8)] for _ in range(12)]
    counts = [prove([(code[0] * 7 + place, *code[1:]) for place, code in enumerate(codes)]) for codes in drawn]
    assert sum(count > 2 for count in counts) > 8


def test_the_search_finds_a_wrong_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    """Most wrong rules do not fit the shapes, and freeze what they touch; this one fits."""
    softmax = torch.ops.aten.softmax.int
    monkeypatch.setitem(rule_table._RULES, softmax, Applied("... d -> ... d"))
    with pytest.raises(AssertionError):
        search(60, 0, shrink=False)


# found by the search, shrunk, and fixed
FOUND: dict[str, list[Code]] = {
    # nothing but rounding was left in an output: norms start alike, and the mean of what they return is zero
    "a gate by the mean of a norm": [(22, 9, 1, 5, 8), (36, 2, 0, 7, 7), (14, 9, 11, 2, 8), (24, 2, 0, 2, 6)],
}


@pytest.mark.parametrize("name", FOUND)
def test_a_program_that_failed_once(name: str) -> None:
    prove(FOUND[name])
