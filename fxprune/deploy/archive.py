"""Stored programs from elsewhere: what PyTorch would run while it reads one, looked for before it does.

`torch.export.load` unpickles what an archive says is a pickle, evaluates the text of symbolic sizes, looks functions up
by name anywhere below `torch`, and loads compiled libraries. A program needs none of this beyond ATen ops and
arithmetic of sizes, so anything else is refused.
"""

from __future__ import annotations

import ast
import functools
import json
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from fxprune.errors import SourceError
from fxprune.trust import trust

_OPS = re.compile(r"torch\.ops\.(?!_)\w+\.\w+(\.\w+)?|torch\.sym_\w+|math\.[a-z]\w*|#[\w.]+")
_ARITHMETIC = re.compile(
    r"_operator\.(add|sub|mul|floordiv|truediv|mod|pow|neg|pos|abs|inv|invert|index|getitem|eq|ne|lt|le|gt|ge"
    r"|and_|or_|xor|not_|lshift|rshift)"
)
_TOUCHES_FILES = re.compile(r"torch\.ops\.\w+\.(from_file|save|load)\w*")
_PARTS: tuple[type[ast.AST], ...] = (
    *(ast.Expression, ast.Call, ast.Name, ast.Load, ast.Constant, ast.keyword, ast.Tuple, ast.UnaryOp, ast.BinOp),
    *(ast.BoolOp, ast.Compare, ast.operator, ast.unaryop, ast.boolop, ast.cmpop),
)
_LONGEST = 20_000  # characters of one symbolic size
_OBJECTS = ("custom_obj_", "opaque_obj_")


def check_archive(path: Path) -> None:
    """Raise SourceError if the stored program at `path` could do anything but compute; nothing of it is run.

    Pickled tensors are let through where `trust` allows them; `safe_reading` then reads tensors only.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            _check_entries(path, archive)
            for name in archive.namelist():
                if name.endswith(".json"):
                    _check_json(path, name, json.loads(archive.read(name)))
    except (zipfile.BadZipFile, NotImplementedError, EOFError, ValueError, RecursionError, OSError) as error:
        cause = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise SourceError(f"{path} is no exported program", cause=cause) from error


@contextmanager
def safe_reading() -> Iterator[None]:
    """Make every pickle inside an archive be read for its tensors alone, also where PyTorch would fall back."""
    real = torch.load

    @functools.wraps(real)
    def load(*args: Any, **kwargs: Any) -> Any:
        return real(*args, **{**kwargs, "weights_only": True})

    torch.load = load
    try:
        yield
    finally:
        torch.load = real


def _check_entries(path: Path, archive: zipfile.ZipFile) -> None:
    for entry in archive.infolist():
        if "/aotinductor/" in f"/{entry.filename}" or entry.filename.endswith((".so", ".dll", ".dylib", ".py")):
            raise _refused(path, f"it brings compiled code ({entry.filename})")
        if entry.compress_type != zipfile.ZIP_STORED:  # PyTorch compresses nothing: a small file stays small
            raise _refused(path, f"{entry.filename} is compressed")


def _check_json(path: Path, name: str, data: Any) -> None:
    if name.endswith("_config.json"):
        _check_payload(path, data)
    for key, text in _texts(data):
        if key in ("target", "as_operator") and not _computes(text):
            raise _refused(path, f"it calls {text[:100]!r}")
        if key == "expr_str" and not is_arithmetic(text):
            raise _refused(path, f"a size is {text[:100]!r}")


def _check_payload(path: Path, data: Any) -> None:
    """Look at a list of weights or constants: where each lies, and how it is stored."""
    for name, entry in data["config"].items() if isinstance(data, dict) else ():
        if str(entry.get("path_name", "")).startswith(_OBJECTS):
            raise _refused(path, f"{name!r} is a pickled object")
        if entry.get("use_pickle") and not trust().pickles:
            raise _refused(path, f"{name!r} is pickled", "pass --allow-pickle to read its tensors, and nothing else")


def _texts(data: Any) -> Iterator[tuple[str, str]]:
    """Yield every text in nested data, with its key."""
    waiting = [data]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            yield from ((key, value) for key, value in item.items() if isinstance(value, str))
            waiting += item.values()
        elif isinstance(item, list):
            waiting += item


def _computes(target: str) -> bool:
    """Tell whether the name is that of an op, or of arithmetic with sizes."""
    if "__" in target.replace("__and__", "").replace("__or__", "").replace("__xor__", ""):
        return False
    return bool(_ARITHMETIC.fullmatch(target) or (_OPS.fullmatch(target) and not _TOUCHES_FILES.match(target)))


def is_arithmetic(text: str) -> bool:
    """Tell whether `text` is a size such as sympy prints it: names, numbers, operators and calls of functions by name.

    >>> is_arithmetic("Mul(Integer(4), Symbol('s77', positive=True, integer=True))"), is_arithmetic("S('x'.y)")
    (True, False)
    """
    if len(text) > _LONGEST:
        return False
    try:
        tree = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    named = {call.args[0] for call in calls if ast.unparse(call.func) == "Symbol" and call.args}
    return all(isinstance(node, _PARTS) and _is_plain(node, node in named) for node in ast.walk(tree))


def _is_plain(node: ast.AST, names_a_symbol: bool) -> bool:
    """Tell whether one part of a size is harmless: text only names a symbol, and functions are classes of sympy."""
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and bool(re.fullmatch(r"[A-Z][A-Za-z]+", node.func.id))
    if isinstance(node, ast.Name):
        return not node.id.startswith("_")
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return names_a_symbol and node.value.isidentifier()
    return not isinstance(node, ast.Constant) or isinstance(node.value, int | float)


def _refused(path: Path, why: str, remedy: str = "export the model again where you trust it") -> SourceError:
    return SourceError(f"{path} is not read", cause=f"{why}, and that could run code", remedy=remedy)
