"""Units zeroed in place take no part, and can learn again."""

from __future__ import annotations

import pytest
import torch
from models import ALL, traced_of
from torch import Tensor

from fxprune.silencing import all_places, reviving_places, silence
from fxprune.student import Student
from fxprune.traced import tensor_of
from fxprune.unit_scores import best_units, random_units
from fxprune.units import axis_mask

SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("llama_gqa", "t5")]
NAMES = ["bert", "gpt2", "einsum_attention", *SLOW]
# one weight holds queries and keys, so neither side can be zeroed alone
STUCK = {"gpt2": "qk"}


def student(name: str) -> Student:
    return Student(traced_of(name).double().requires_grad_(True))


def halved(found: Student, roles: set[str]) -> dict[str, Tensor]:
    counts = {group.name: max(1, group.size // 2) for group in found.groups.prunable if group.role in roles}
    return best_units(random_units(found.groups), counts)


def logits(found: Student, name: str) -> Tensor:
    given = ALL[name].inputs(3, 11)
    output = found.traced(
        **{key: value.double() if value.is_floating_point() else value for key, value in given.items()}
    )
    return output if isinstance(output, Tensor) else output.logits


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("where", [all_places, reviving_places])
def test_a_silent_unit_computes_what_a_missing_one_does(name: str, where) -> None:  # type: ignore[no-untyped-def]
    """Where nothing is normalised over the group."""
    silent, slim = student(name), student(name)
    masks = halved(silent, {"heads", "qk", "value", "inner"})
    before = logits(silent, name)
    silence(silent.traced, silent.groups, silent.ledger.kept(masks), where(silent.groups))
    slim.cut(masks)
    assert slim.traced.num_parameters() < silent.traced.num_parameters()
    assert torch.allclose(logits(silent, name), logits(slim, name), atol=ALL[name].tolerance)
    assert not torch.allclose(logits(silent, name), before, atol=1e-3)


@pytest.mark.parametrize("name", ["bert"])
def test_a_silent_unit_of_a_residual_stream_is_zero_after_every_norm(name: str) -> None:
    found = student(name)
    masks = halved(found, {"hidden"})
    silence(found.traced, found.groups, found.ledger.kept(masks), reviving_places(found.groups))
    (name_of,) = masks
    for member in reviving_places(found.groups)[name_of]:
        tensor = tensor_of(found.traced, member.tensor)
        gone = tensor.index_select(member.axis, torch.nonzero(~masks[name_of])[:, 0])
        assert not gone.any()
        assert tensor.any()


@pytest.mark.parametrize("name", NAMES)
def test_a_silent_unit_has_a_gradient_unless_all_of_it_is_zero(name: str) -> None:
    for where, alive in ((reviving_places, True), (all_places, False)):
        for group in student(name).groups.prunable:
            if group.role in ("hidden", "queries per key", STUCK.get(name)):
                continue  # norms give a gradient even to what is all zero, and so do keys that others share
            found = student(name)
            places = where(found.groups)
            masks = {key: mask for key, mask in halved(found, {group.role}).items() if key == group.name}
            silence(found.traced, found.groups, found.ledger.kept(masks), places)
            logits(found, name).square().mean().backward()
            grads = _silent_gradients(found, masks, places[group.name])
            assert bool((grads > 0).all()) is alive, group.name
            assert bool(grads.any()) is alive, group.name


def _silent_gradients(found: Student, masks: dict[str, Tensor], members) -> Tensor:  # type: ignore[no-untyped-def]
    """Return the size of the gradient of the silent positions of each matrix that holds them."""
    kept, sizes = found.ledger.kept(masks), []
    for member in members:
        grad = tensor_of(found.traced, member.tensor).grad
        if grad is not None and grad.ndim > 1:
            gone = ~axis_mask(found.groups.inferred.tensors[member.tensor][member.axis], kept)
            sizes.append(grad.abs().sum([dim for dim in range(grad.ndim) if dim != member.axis])[gone])
    return torch.cat(sizes)
