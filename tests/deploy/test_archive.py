"""Stored programs that could do anything but compute are refused before they are read."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from fxprune.deploy.archive import is_arithmetic, safe_reading
from fxprune.deploy.program import export_program
from fxprune.deploy.pt2 import load_program, load_pt2, store_program
from fxprune.errors import SourceError
from fxprune.trust import trusting

Change = Callable[[str, bytes], bytes | None]


class _Spills:
    """What a hostile pickle does: it leaves a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("stored") / "model.pt2"
    model = nn.Sequential(nn.Linear(4, 6), nn.GELU(), nn.Linear(6, 2)).eval()
    return store_program(export_program(model, {"input": torch.ones(5, 4)}).program, path)


def changed(stored: Path, target: Path, change: Change, **added: bytes) -> Path:
    """Copy an archive with other contents."""
    with zipfile.ZipFile(stored) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as new:
        root = old.namelist()[0].partition("/")[0]
        for name in old.namelist():
            data = change(name, old.read(name))
            if data is not None:
                new.writestr(name, data)
        for name, data in added.items():
            new.writestr(f"{root}/{name}", data)
    return target


def _json(part: str, edit: Callable[[Any], None]) -> Change:
    def change(name: str, data: bytes) -> bytes:
        if not name.endswith(part):
            return data
        content = json.loads(data)
        edit(content)
        return json.dumps(content).encode()

    return change


def _target(name: str) -> Change:
    def edit(model: Any) -> None:
        model["graph_module"]["graph"]["nodes"][-1]["target"] = name

    return _json("models/model.json", edit)


def test_a_program_of_ours_is_read(stored: Path) -> None:
    assert load_pt2(stored)(input=torch.ones(3, 4)).shape == (3, 2)


FUNCTIONS = (
    "torch.load",
    "torch.hub.load",
    "torch._C._pickle_load_obj",
    "torch.ops.load_library",
    "torch.ops.aten.from_file.default",
    "torch.ops.aten.add.__globals__",
    "_operator.call",
    "_operator.attrgetter",
    "math.__loader__",
)
SIZES = (
    "Symbol('s0', positive=True, integer=True)",
    "Mul(Integer(4), FloorDiv(Symbol('s1'), Integer(2)))",
    "Eq(Mod(s0, 2), 0)",
    "Max(1, s0)",
    "s0*4 + 1",
    "-s0",
)
CODE = (
    "__import__('os')",
    "x.y",
    "S('x')",
    "Symbol('a b')",
    "Symbol(S('x'))",
    "Symbol('x', y='z')",
    "lambda x: x",
    "(lambda: 1)()",
    "[1]",
    "x[0]",
    "open('f')",
    "exec('1')",
    "f'{x}'",
    "(",
    "(" * 500,
    "9" * 30_000,
)


@pytest.mark.parametrize("target", FUNCTIONS)
def test_a_function_beyond_ops_is_refused(stored: Path, tmp_path: Path, target: str) -> None:
    file = changed(stored, tmp_path / "m.pt2", _target(target))
    with pytest.raises(SourceError, match=r"is not read\n  cause   it calls '.*', and that could run code"):
        load_program(file)


def test_a_size_that_is_code_is_refused(stored: Path, tmp_path: Path) -> None:
    spilled = tmp_path / "spilled"

    def change(name: str, data: bytes) -> bytes:
        code = f"__import__('pathlib').Path('{spilled}').touch()"
        return data.replace(b"Symbol('", f"({code}, Symbol)[1]('".encode()) if "models/" in name else data

    with pytest.raises(SourceError, match="a size is"):
        load_program(changed(stored, tmp_path / "m.pt2", change))
    assert not spilled.exists()


def _pickled(config: Any) -> None:
    next(iter(config["config"].values()))["use_pickle"] = True


def test_pickled_weights_are_refused_and_with_trust_read_for_their_tensors_alone(stored: Path, tmp_path: Path) -> None:
    spilled = tmp_path / "spilled"

    def change(name: str, data: bytes, weight: Any) -> bytes:
        buffer = io.BytesIO()
        torch.save(weight, buffer)
        if name.endswith("weights/weight_0"):
            return buffer.getvalue()
        return _json("weights_config.json", _pickled)(name, data)

    honest = changed(stored, tmp_path / "a.pt2", lambda *a: change(*a, nn.Parameter(torch.ones(6, 4))))
    hostile = changed(stored, tmp_path / "b.pt2", lambda *a: change(*a, _Spills(spilled)))
    for file in (honest, hostile):
        with pytest.raises(SourceError, match="is pickled, and that could run code\n  remedy  pass --allow-pickle"):
            load_program(file)
    with trusting(pickles=True):
        assert torch.equal(next(iter(load_program(honest).state_dict.values())), torch.ones(6, 4))
        with pytest.raises(SourceError, match="is no exported program"):
            load_program(hostile)
    assert not spilled.exists()


def test_examples_that_are_a_pickle_of_more_than_tensors_are_not_read(stored: Path, tmp_path: Path) -> None:
    spilled = tmp_path / "spilled"
    hostile = pickle.dumps(_Spills(spilled))
    file = changed(stored, tmp_path / "m.pt2", lambda name, data: hostile if "sample_inputs/" in name else data)
    with pytest.raises(SourceError, match="is no exported program"):
        load_program(file)
    assert not spilled.exists()


def test_pickled_objects_are_refused_even_with_trust(stored: Path, tmp_path: Path) -> None:
    def edit(config: Any) -> None:
        config["config"]["thing"] = {"path_name": "opaque_obj_0", "is_param": False, "use_pickle": True}

    file = changed(stored, tmp_path / "m.pt2", _json("constants_config.json", edit))
    with trusting(pickles=True), pytest.raises(SourceError, match="'thing' is a pickled object"):
        load_program(file)


def test_compiled_code_and_compressed_archives_are_refused(stored: Path, tmp_path: Path) -> None:
    file = changed(stored, tmp_path / "m.pt2", lambda _, data: data, **{"data/aotinductor/model/x.so": b"elf"})
    with pytest.raises(SourceError, match="brings compiled code"):
        load_program(file)
    with zipfile.ZipFile(tmp_path / "c.pt2", "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("m/models/model.json", b"[" + b"0," * 10_000 + b"0]")
    with pytest.raises(SourceError, match="is compressed"):
        load_program(tmp_path / "c.pt2")


@pytest.mark.parametrize("keep", [0, 1, 100, 0.5, 0.99])
def test_a_file_that_ends_too_soon_is_no_program(stored: Path, tmp_path: Path, keep: float) -> None:
    data = stored.read_bytes()
    (tmp_path / "m.pt2").write_bytes(data[: int(keep * len(data)) if isinstance(keep, float) else keep])
    with pytest.raises(SourceError, match="is no exported program"):
        load_program(tmp_path / "m.pt2")


@pytest.mark.parametrize("text", SIZES)
def test_sizes_are_arithmetic(text: str) -> None:
    assert is_arithmetic(text)


@pytest.mark.parametrize("text", CODE)
def test_code_is_no_arithmetic(text: str) -> None:
    assert not is_arithmetic(text)


@settings(max_examples=200, deadline=None)
@given(st.text())
def test_any_text_is_judged(text: str) -> None:
    assert is_arithmetic(text) in (True, False)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_damaged_archive_raises_one_kind_of_error(stored: Path, tmp_path_factory: Any, data: Any) -> None:
    content = bytearray(stored.read_bytes())
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=8)):
        content[place] ^= data.draw(st.integers(1, 255))
    file = tmp_path_factory.mktemp("damaged") / "m.pt2"
    file.write_bytes(content)
    with suppress(SourceError):  # any other kind fails the test; a wrong bit among the weights cannot be told
        load_program(file)


def test_pytorch_reads_as_before_afterwards() -> None:
    before = torch.load
    with safe_reading():
        assert torch.load is not before
    assert torch.load is before
