"""How far a student is from its teacher, measured on the way without disturbing it."""

from __future__ import annotations

import pytest
import torch
from distilling import batches, distiller, parameters, terms

from fxprune.distillation.discrepancy import Discrepancy


@pytest.mark.parametrize(("name", "term"), [("bert", "kl"), ("gpt2", "kl"), ("encoder", None)])
def test_it_is_the_term_on_held_out_text(name: str, term: str | None) -> None:
    found = distiller(name)
    stream, held_out = batches(found, name), next(batches(found, name, seed=9))
    watch = Discrepancy(found, held_out)
    assert watch() == 0.0
    assert watch.at_a_cut() == 0.0
    for _ in range(7):
        found.step(next(stream))
    assert watch() > 0.0
    if term is not None:
        assert watch() == pytest.approx(terms(found, held_out)[term], rel=1e-5)


def test_a_cut_is_measured_before_and_after() -> None:
    found = distiller("bert")
    stream = batches(found)
    found.watch = Discrepancy(found, next(batches(found, seed=9)))
    jumps = []
    for _ in range(7):
        _, cut, _ = found.step(next(stream))
        assert (found.jump is not None) == cut
        jumps += [found.jump] if found.jump else []
    assert jumps
    assert all(after > before >= 0.0 for before, after in jumps)


@pytest.mark.parametrize("dropout", [False, True])
def test_measuring_changes_nothing(dropout: bool) -> None:
    histories = []
    for watched in (False, True):
        found = distiller("bert", dropout=dropout)
        stream, held_out = batches(found), next(batches(found, seed=9))
        found.watch = Discrepancy(found, held_out) if watched else None
        torch.manual_seed(1)
        histories.append([found.step(next(stream))[0] for _ in range(7)])
        assert any(parameter.requires_grad for parameter in found.student.traced.parameters())
    assert histories[0] == histories[1]
    assert parameters(found)
