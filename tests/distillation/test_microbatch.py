"""How many sequences are run at a time follows the memory, and changes no result."""

from __future__ import annotations

import pytest
import torch
from distilling import ROWS, batches, distiller, trained
from torch import Tensor

from fxprune.distillation.config import ScheduleConfig
from fxprune.distillation.loop import Distiller
from fxprune.distillation.microbatch import _Kept
from fxprune.distillation.objective import Batch
from fxprune.distillation.terms import Outputs
from fxprune.errors import DistillError
from fxprune.traced import Traced

STEPS = {"steps": 10, "target_params": "30%", "schedule": ScheduleConfig(start=0.1, end=0.6, interval=2)}


def test_it_grows_as_the_student_shrinks_and_changes_no_result() -> None:
    _, expected, _ = trained("bert", **STEPS)  # type: ignore[arg-type]
    found, history, _ = trained("bert", micro_batch=2, auto_batch=True, **STEPS)  # type: ignore[arg-type]
    batch = next(batches(found))
    assert found.micro.rows(batch) > 2  # type: ignore[operator]
    for got, wanted in zip(history, expected, strict=True):
        assert got == pytest.approx(wanted, rel=1e-4, abs=1e-5)
    fixed, _, _ = trained("bert", micro_batch=2, **STEPS)  # type: ignore[arg-type]
    assert fixed.micro.rows(batch) == 2


@pytest.mark.parametrize("name", ["bert", "encoder"])
def test_a_step_that_does_not_fit_is_run_again_in_smaller_parts(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where all sequences are compared with one another, and nothing a failed attempt left behind counts."""
    _, expected, _ = trained(name, 10)
    found, stream = distiller(name, auto_batch=True), None
    tight(found, 1, monkeypatch)
    stream = batches(found, name)
    for wanted in expected:
        assert found.step(next(stream))[0] == pytest.approx(wanted, rel=1e-4, abs=1e-5)
    assert found.micro.rows(next(stream)) == 1


def tight(found: Distiller, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the student of a distiller run on `rows` sequences at most."""
    run = found.terms.run

    def limited(model: Traced, batch: Batch) -> Outputs:
        if model is found.student.traced and batch.rows > rows:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return run(model, batch)

    monkeypatch.setattr(found.terms, "run", limited)


@pytest.mark.parametrize(("auto", "rows", "remedy"), [(False, 4, "--auto-batch"), (True, 1, "smaller --length")])
def test_what_cannot_fit_is_told(auto: bool, rows: int, remedy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = distiller("bert", auto_batch=auto)
    tight(found, 0, monkeypatch)
    with pytest.raises(DistillError, match=rf"^{rows} sequences? at a time do not fit into memory\n.*{remedy}"):
        found.step(next(batches(found)))


def test_other_errors_are_no_lack_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    found = distiller("bert", auto_batch=True)

    def fail(*_: object) -> None:
        raise RuntimeError("shapes differ")

    monkeypatch.setattr(found.terms, "run", fail)
    with pytest.raises(RuntimeError, match="shapes differ"):
        found.step(next(batches(found)))


def test_sequences_are_counted_by_their_tokens() -> None:
    found, _, _ = trained("bert", micro_batch=2, auto_batch=True, **STEPS)  # type: ignore[arg-type]
    short = next(batches(found))
    long = Batch({"input_ids": torch.zeros(ROWS, 10 * short.inputs["input_ids"].shape[1])}, None)
    assert found.micro.rows(long) == max(1, found.micro._tokens // long.inputs["input_ids"].shape[1])  # type: ignore[operator]
    assert found.micro.rows(long) < found.micro.rows(short)  # type: ignore[operator]


def test_what_autograd_keeps_is_counted_once_and_without_weights() -> None:
    weight = torch.randn(8, 8, requires_grad=True)
    kept, value = _Kept([weight]), torch.randn(4, 8)
    with torch.autograd.graph.saved_tensors_hooks(kept.pack, lambda tensor: tensor):
        hidden: Tensor = value @ weight
        (hidden.exp() * hidden).sum().backward()
    assert kept.bytes == 3 * 4 * 8 * 4  # value, hidden, and its exponential


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_is_asked_for_its_memory() -> None:
    from fxprune.distillation.microbatch import MicroBatch

    device = torch.device("cuda")
    micro, weight = MicroBatch(2, True, device), torch.randn(64, 64, device=device, requires_grad=True)
    batch = Batch({"input_ids": torch.zeros(2, 16, device=device)}, None)
    with micro.watching(batch, [weight]):
        (torch.randn(1 << 20, 64, device=device) @ weight).exp().sum().backward()
    assert 2 < micro.rows(batch) < torch.cuda.get_device_properties(device).total_memory  # type: ignore[operator]
