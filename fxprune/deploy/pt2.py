"""The `.pt2` file: the graph and its weights, loadable with PyTorch alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.export import ExportedProgram
from torch.fx import GraphModule

from fxprune.atomic import atomic_path
from fxprune.deploy.archive import check_archive, safe_reading
from fxprune.deploy.program import first_line
from fxprune.deploy.records import forget_records, register_records
from fxprune.errors import DeployError, SourceError
from fxprune.exported import tied
from fxprune.quiet import quiet

if TYPE_CHECKING:
    import os


def store_program(program: ExportedProgram, path: str | os.PathLike[str]) -> Path:
    """Write an exported program.

    Raises:
        DeployError: it cannot be stored.
    """
    with atomic_path(path) as temporary:
        try:
            with quiet():
                torch.export.save(program, temporary)
        except Exception as err:  # serialisation fails in as many ways as there are ops
            raise DeployError("the graph cannot be stored as .pt2", cause=first_line(err)) from err
    return Path(path)


def load_program(path: str | os.PathLike[str]) -> ExportedProgram:
    """Return the stored program; outputs of classes that are not imported become dictionaries with attributes.

    Raises:
        SourceError: there is no such file, it is no exported program, or reading it could run code.
    """
    if not Path(path).is_file():
        raise SourceError(f"there is no file {path}")
    check_archive(Path(path))
    unknown = register_records(Path(path))
    try:
        with quiet(), safe_reading():
            return torch.export.load(path)
    except Exception as err:  # a damaged archive raises whatever its first reader meets
        raise SourceError(f"{path} is no exported program", cause=first_line(err)) from err
    finally:
        forget_records(unknown)


def load_pt2(path: str | os.PathLike[str]) -> nn.Module:
    """Return the stored module, called with the keyword arguments it was made with; weights that were tied are tied.

    Raises:
        SourceError: there is no such file, or it is no exported program.
    """
    return module_of(load_program(path))


def module_of(program: ExportedProgram) -> GraphModule:
    """Return the module of a program, with weights that were tied tied again."""
    with quiet():
        return tied(program.module(check_guards=False))
