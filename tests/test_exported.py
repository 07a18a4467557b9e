"""Exported programs, fresh or from a file, are captured without the code they came from."""

from __future__ import annotations

import io
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from models import model_of, text
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

import fxprune
from fxprune.errors import CaptureError, UsageError
from fxprune.passes.dropout_mode import dropouts

pytestmark = pytest.mark.captures


class Tied(nn.Module):
    """Positional and keyword inputs, a tied weight, dropout, a computed buffer, a dictionary as output."""

    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.head = nn.Embedding(31, 8), nn.Linear(8, 31, bias=False)
        self.enter, self.leave, self.drop = nn.Linear(8, 16), nn.Linear(16, 8), nn.Dropout(0.1)
        self.head.weight = self.tokens.weight
        self.register_buffer("scale", torch.ones(8), persistent=False)

    def forward(self, ids: Tensor, extra: Tensor | None = None, *, sides: dict[str, Tensor]) -> dict[str, Tensor]:
        x = self.tokens(ids) * self.scale + sides["left"]
        if extra is not None:
            x = x + extra
        return {"logits": self.head(self.leave(self.drop(torch.relu(self.enter(x)))))}


def _inputs(batch: int = 5, length: int = 7) -> dict[str, Any]:
    ids = torch.randint(31, (batch, length))
    return {"ids": ids, "extra": torch.randn(batch, length, 8), "sides": {"left": torch.randn(batch, length, 8)}}


def _program(*, free: bool, batch: int = 5) -> ExportedProgram:
    torch.manual_seed(0)
    inputs = _inputs(batch)
    sizes = {0: Dim("rows"), 1: Dim("columns")} if free else None
    shapes = {"ids": sizes, "extra": sizes, "sides": {"left": sizes}} if free else None
    return torch.export.export(
        Tied(), (inputs["ids"], inputs["extra"]), {"sides": inputs["sides"]}, dynamic_shapes=shapes, strict=False
    )


def _decomposed(program: ExportedProgram) -> ExportedProgram:
    with warnings.catch_warnings():  # torch copies its own pytree specs in a way it has deprecated
        warnings.simplefilter("ignore", FutureWarning)
        return program.run_decompositions()


def _stored(program: ExportedProgram) -> ExportedProgram:
    file = io.BytesIO()
    torch.export.save(program, file)
    file.seek(0)
    return torch.export.load(file)


@pytest.mark.parametrize("stored", [False, True], ids=["fresh", "stored"])
def test_a_program_is_captured_with_its_names_ties_and_free_sizes(stored: bool) -> None:
    program = _stored(_program(free=True)) if stored else _program(free=True)
    traced = fxprune.capture(program)
    assert dict(traced.provenance.aliases) == {"head.weight": ("tokens.weight", "head.weight")}
    assert traced.head.weight is traced.tokens.weight
    assert {dim.__name__ for dim in traced.provenance.dynamic["ids"].values()} == {"batch", "length"}  # type: ignore[union-attr]
    assert traced.provenance.dynamic["sides"]["left"].keys() == {0, 1}  # type: ignore[index, union-attr, call-overload]
    assert [group.size for group in fxprune.analyse(traced).prunable] == [16]
    model = Tied().eval()
    model.load_state_dict(traced.state_dict())
    with torch.no_grad():
        for inputs in (_inputs(), _inputs(3, 4)):
            torch.testing.assert_close(traced(**inputs)["logits"], model(**inputs)["logits"])


def test_dropout_is_off_whatever_the_program_was_exported_in() -> None:
    traced = fxprune.capture(_program(free=True))
    assert [node.args[2] for node in dropouts(traced)] == [False]
    assert not traced.training


def test_the_program_itself_is_not_changed() -> None:
    program = _program(free=True)
    before = {name: tensor.clone() for name, tensor in program.state_dict.items()}
    traced = fxprune.capture(program)
    with torch.no_grad():
        for parameter in traced.parameters():
            parameter.zero_()
    assert all(torch.equal(tensor, before[name]) for name, tensor in program.state_dict.items())


@pytest.mark.parametrize(("free", "batch"), [(True, 5), (False, 5), (False, 1)])
def test_a_program_is_cut_proved_saved_and_loaded(free: bool, batch: int, tmp_path: Path) -> None:
    slim = fxprune.prune(_stored(_program(free=free, batch=batch)), ratio=0.5, verify=True)
    assert slim.certificate.holds
    assert (16, 8) in {(entry.size, entry.count) for entry in slim.plan.groups.values()}
    inputs = _inputs(3, 4) if free else _inputs(batch)
    loaded = fxprune.load(slim.save(tmp_path))
    with torch.no_grad():
        torch.testing.assert_close(loaded(**inputs)["logits"], slim(**inputs)["logits"])


def test_a_program_of_a_library_model_has_the_groups_of_the_model() -> None:
    model, inputs = model_of("bert"), text(5, 13)
    free = {0: Dim("batch"), 1: Dim("length", max=64)}
    shapes = dict.fromkeys(inputs, free)
    program = torch.export.export(model, (), inputs, dynamic_shapes=shapes, strict=False)
    expected = fxprune.analyse(fxprune.capture(model, inputs))
    assert fxprune.analyse(fxprune.capture(_stored(program))).to_text() == expected.to_text()


def test_a_decomposed_program_is_cut_as_far_as_there_are_rules() -> None:
    program = _decomposed(_stored(_program(free=True)))
    groups = fxprune.analyse(fxprune.capture(program))
    reasons = {group.frozen.reason for group in groups if group.frozen}
    assert reasons >= {"rows are picked by data"}
    model = nn.Sequential(nn.Linear(6, 8), nn.GELU(), nn.Linear(8, 6))
    program = _decomposed(torch.export.export(model, (torch.randn(5, 6),), strict=False))
    slim = fxprune.prune(program, ratio=0.5, verify=True)
    assert (8, 4) in {(entry.size, entry.count) for entry in slim.plan.groups.values()}


def test_a_stored_program_is_read_where_its_output_class_is_unknown(tmp_path: Path) -> None:
    """As in a process that never imports the library the model is of."""
    inputs = text(5, 13)
    program = torch.export.export(model_of("bert"), (), inputs, strict=False)
    torch.export.save(program, tmp_path / "model.pt2")
    code = (
        "import sys, fxprune\n"
        "from fxprune.deploy.pt2 import load_program\n"
        f"traced = fxprune.capture(load_program({str(tmp_path / 'model.pt2')!r}))\n"
        "out = traced(**traced.meta['origin'].example_kwargs)\n"
        "assert 'transformers' not in sys.modules\n"
        "print(type(out).__name__, list(out), list(out.logits.shape))\n"
        "import transformers.modeling_outputs\n"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "MaskedLMOutput ['logits'] [5, 13, 99]", done.stderr


def test_empty_weights_are_not_tied_to_each_other() -> None:
    class Empty(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Parameter(torch.empty(0, 4)), nn.Parameter(torch.empty(0, 4))

        def forward(self, x: Tensor) -> Tensor:
            return torch.cat((x, self.a, self.b))

    traced = fxprune.capture(_stored(torch.export.export(Empty(), (torch.randn(3, 4),), strict=False)))
    assert len(list(traced.parameters())) == 2


def test_a_program_needs_inputs_that_are_its_own() -> None:
    program = _program(free=True)
    inputs = _inputs()
    with pytest.raises(CaptureError, match=r"unknown input 'extr'; did you mean 'extra'\?"):
        fxprune.capture(program, {**inputs, "extr": 1})
    with pytest.raises(CaptureError, match="the example inputs lack 'extra'\n  remedy  pass ids, extra, sides"):
        fxprune.capture(program, {"ids": inputs["ids"]})
    program.example_inputs = None
    with pytest.raises(UsageError, match="the program holds no example inputs"):
        fxprune.capture(program)
    with pytest.raises(UsageError, match="capture needs example inputs"):
        fxprune.capture(Tied())
