"""What is read from a checkpoint is what it has to be, or refused in one sentence."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from fxprune.distillation.checkpoints.history import history_from
from fxprune.distillation.checkpoints.journal import Cut, cuts_from, to_text
from fxprune.distillation.checkpoints.randomness import randomness, set_randomness
from fxprune.distillation.checkpoints.saved import Saved
from fxprune.errors import CheckpointError

CPU = torch.device("cpu")
SAVED = Saved(
    {"n": 3, "x": -0.5, "b": True, "t": "text", "l": [1, "a"], "inf": float("inf"), "none": None, "p": {"n": 1}},
    {"w": torch.zeros(2), "p/w": torch.ones(3)},
)


@pytest.mark.parametrize(
    ("read", "cause"),
    [
        (lambda s: s.integer("n", 4), "n is 3"),
        (lambda s: s.integer("n", 0, 2), "n is 3"),
        (lambda s: s.integer("b"), "b is True"),
        (lambda s: s.integer("x"), "x is -0.5"),
        (lambda s: s.integer("gone"), "there is no gone"),
        (lambda s: s.number("x"), "x is -0.5"),
        (lambda s: s.number("inf"), "inf is inf"),
        (lambda s: s.flag("n"), "n is 3"),
        (lambda s: s.text("none"), "none is None"),
        (lambda s: s.items("l", int), "l holds 'a'"),
        (lambda s: s.items("n", int), "n is 3"),
        (lambda s: s.part("n"), "n is 3"),
        (lambda s: s.part("p").integer("n", 2), "n is 1"),
        (lambda s: s.tensor("v", (2,)), "there is no tensor 'v'"),
        (lambda s: s.tensor("w", (3,)), r"tensor 'w' is float32 \[2\], and \[3\] is needed"),
        (lambda s: s.tensor("w", (2,), torch.bool), r"tensor 'w' is float32 \[2\]"),
        (lambda s: s.check_names(["w"]), "tensor 'p/w' is not expected"),
        (lambda s: s.check_names(["w", "p/w", "z"]), "tensor 'z' is missing"),
        (lambda s: set_randomness(s, CPU), "there is no tensor 'python'"),
    ],
)
def test_what_does_not_fit_is_refused(read: Callable[[Saved], object], cause: str) -> None:
    with pytest.raises(CheckpointError, match=rf"the checkpoint does not fit the run(.|\n)*cause   {cause}"):
        read(SAVED)


def test_parts_go_in_and_come_out() -> None:
    whole = Saved()
    whole.add("p", Saved({"n": 1}, {"w": torch.ones(3)}))
    part = whole.part("p")
    assert part.integer("n") == 1
    assert torch.equal(part.tensor("w", (3,)), torch.ones(3))
    assert part.tensor("w", (3,)).data_ptr() != whole.tensors["p/w"].data_ptr()


def test_every_generator_goes_on_where_it_was() -> None:
    import random

    import numpy as np

    random.gauss(0, 1)
    np.random.standard_normal(3)
    saved = randomness(CPU)

    def drawn() -> list[float]:
        return [random.random(), random.gauss(0, 1), float(np.random.standard_normal()), float(torch.rand(()))]

    wanted = drawn()
    drawn()
    set_randomness(saved, CPU)
    assert drawn() == wanted


def test_random_states_that_are_none_are_refused() -> None:
    saved = randomness(CPU)
    for name, value in (("python", -1), ("numpy", 1 << 32), ("torch", 255)):
        broken = Saved(saved.data, {**saved.tensors, name: torch.full_like(saved.tensors[name], value)})
        with pytest.raises(CheckpointError):
            set_randomness(broken, CPU)
    with pytest.raises(CheckpointError, match="gauss is 'x'"):
        set_randomness(Saved({**saved.data, "gauss": "x"}, saved.tensors), CPU)


CUT = Cut(
    step=3,
    removed={"hidden": (1, 5), "qk": ((0, 1), (2, 3))},
    returned={},
    scores="abc",
    params=(20, 10),
    jump=(0.25, 0.5),
)


def test_a_journal_is_read_back() -> None:
    later = Cut(step=5, removed={}, returned={"hidden": (1,)}, scores="d", params=(10, 10), jump=None)
    assert cuts_from(to_text([CUT, later])) == [CUT, later]
    assert (CUT.units, CUT.cost, later.cost) == (4, 0.25, None)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "[]",
        "{",
        "[" * 100_000,
        CUT.to_line() * 2,
        CUT.to_line().replace('"step": 3', '"step": 0'),
        CUT.to_line().replace('"step": 3', '"step": true'),
        CUT.to_line().replace("[1, 5]", "[1, -5]"),
        CUT.to_line().replace("[1, 5]", "[1, []]"),
        CUT.to_line().replace("[1, 5]", "[1, [1, 2, 3]]"),
        CUT.to_line().replace("[1, 5]", '"all"'),
        CUT.to_line().replace("[20, 10]", "[20]"),
        CUT.to_line().replace("[0.25, 0.5]", "[0.25]"),
        CUT.to_line().replace('"scores"', '"more"'),
    ],
)
def test_a_journal_that_is_none_is_refused(line: str) -> None:
    with pytest.raises(CheckpointError):
        cuts_from(line + "\n")


STEP = '{"step": 1, "steps": 2, "params": 9, "losses": {"total": 1.5}, "cut": false, "ratio": 1.0, '
STEP += '"tokens_per_second": 5.0, "learning_rate": 0.1}'


def test_a_history_is_read_back_or_refused() -> None:
    (step,) = history_from(STEP + "\n")
    assert (step.step, step.losses, step.flops, step.jump) == (1, {"total": 1.5}, None, None)
    for old, new in (
        ("1,", "2,"),
        ("false", "0"),
        ('{"total": 1.5}', "[]"),
        ("1.5", '"1.5"'),
        ("0.1}", '0.1, "x": 1}'),
    ):
        with pytest.raises(CheckpointError):
            history_from(STEP.replace(old, new, 1))
