"""bfloat16 is for the matrix products alone."""

from __future__ import annotations

import pytest
import torch
from distilling import batches, distiller, trained
from torch import Tensor
from torch.utils._pytree import tree_leaves

from fxprune.distillation.config import DistillConfig
from fxprune.errors import UsageError


@pytest.mark.parametrize("name", ["bert", "llama_gqa", "encoder"])
def test_a_run_in_bf16_stays_near_the_one_in_float32(name: str) -> None:
    _, expected, cuts = trained(name, 12)
    found, history, same = trained(name, 12, precision="bf16")
    assert same == cuts
    assert history[-1] != expected[-1]
    for got, wanted in zip(history, expected, strict=True):
        assert got["total"] == pytest.approx(wanted["total"], rel=0.1, abs=0.02)
    for parameter, state in found.optimizer.state.items():
        assert parameter.dtype == state["exp_avg"].dtype == torch.float32
    assert all(score.dtype == torch.float32 for score in found.cutter.scores.value.values())
    assert all(each.inner.dtype == each.weight.dtype == torch.float32 for each in found.terms.maps.values())


def test_products_are_in_bf16_and_what_is_compared_is_not() -> None:
    found, seen = distiller("bert", precision="bf16"), set()
    batch = next(batches(found))

    class Seen(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            if func in (torch.ops.aten.addmm.default, torch.ops.aten.mm.default):
                seen.update(each.dtype for each in args if isinstance(each, Tensor))
            return func(*args, **(kwargs or {}))

    with Seen():
        outputs = found.terms.run(found.student.traced, batch)
    assert seen == {torch.bfloat16}
    assert {value.dtype for value in tree_leaves(outputs) if value.is_floating_point()} == {torch.float32}


def test_an_uncut_student_has_no_transfer_loss_in_bf16_either() -> None:
    found = distiller("bert", precision="bf16")
    losses, _, _ = found.step(next(batches(found)))
    assert [losses[term] for term in ("kl", "hidden", "embedding", "attention")] == [0, 0, 0, 0]


def test_another_precision_is_refused() -> None:
    with pytest.raises(UsageError, match="unknown precision 'fp16'"):
        DistillConfig(target_params="50%", precision="fp16")  # type: ignore[arg-type]
