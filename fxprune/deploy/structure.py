"""Outputs as plain dictionaries in files, and in the classes of their library again when loaded."""

from __future__ import annotations

import copy
import json
import re
from importlib import import_module
from typing import TYPE_CHECKING, Any

from torch.utils._pytree import treespec_dumps, treespec_loads

if TYPE_CHECKING:
    from fxprune.traced import Traced

_KNOWN = ("builtins.", "collections.")  # classes every process has


def with_plain_outputs(traced: Traced) -> tuple[Traced, str | None]:
    """Return a copy, on the same weights, that returns dictionaries instead of classes of a library.

    A stored program names the classes of its outputs, and cannot be loaded where they are not imported.

    Returns:
        The copy, and the structure that was replaced as text, for `restore_outputs`; None if it was plain.
    """
    shared = {id(tensor): tensor for tensor in (*traced.parameters(), *traced.buffers())}
    bare = copy.deepcopy(traced, dict(shared))
    structure = treespec_dumps(_codegen(bare).pytree_info.out_spec)
    protocol, spec = json.loads(structure)
    plain = json.dumps([protocol, _plain(spec)])
    if plain == json.dumps([protocol, spec]):
        return bare, None
    _set_structure(bare, plain)
    return bare, structure


def restore_outputs(traced: Traced, structure: str | None) -> None:
    """Return the classes of `structure` again, if their library is installed; else outputs stay dictionaries."""
    if structure is None:
        return
    try:
        for name in sorted(set(re.findall(r'"type": "([\w.]+)\.\w+"', structure))):
            import_module(name)
        _set_structure(traced, structure)
    except (ImportError, NotImplementedError, ValueError):
        return


def _plain(spec: dict[str, Any]) -> dict[str, Any]:
    """Replace every class that unflattens from keys, such as a `ModelOutput`, by a dictionary."""
    children = [_plain(child) for child in spec["children_spec"]]
    keys = json.loads(spec["context"]) if spec["context"] else None
    keyed = isinstance(keys, list) and len(keys) == len(children) and all(isinstance(key, str) for key in keys)
    foreign = spec["type"] is not None and not spec["type"].startswith(_KNOWN)
    kind = "builtins.dict" if keyed and foreign else spec["type"]
    return {**spec, "type": kind, "children_spec": children}


def _set_structure(traced: Traced, structure: str) -> None:
    codegen = copy.copy(_codegen(traced))
    codegen.pytree_info = codegen.pytree_info._replace(out_spec=treespec_loads(structure))
    traced.graph.set_codegen(codegen)
    traced.recompile()


def _codegen(traced: Traced) -> Any:
    return traced.graph._codegen
