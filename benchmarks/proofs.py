"""The three proofs on each architecture: every prunable group halved at random, in float64 and float32.

    python benchmarks/proofs.py

Models are the tiny ones of the tests, built from configs; the errors are relative to the largest output.
"""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path
from typing import Any

import click
import torch
from rich.console import Console
from rich.table import Table

import fxprune
from fxprune.certificate import certify
from fxprune.groups import byproducts
from fxprune.student import Student, refresh_shapes

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from models import ARCHITECTURES, Example


def halves(student: Student, *, ragged: bool) -> dict[str, torch.Tensor]:
    """Keep a random half of every group; a ragged one keeps other units under each outer unit."""
    masks = {}
    for group in student.groups.prunable:
        outer = student.groups.ragged.get(group.name) if ragged else None
        rows = 1 if outer is None else student.groups[outer].size
        mask = torch.zeros(rows, group.size, dtype=torch.bool)
        for row in mask:
            row[torch.randperm(group.size)[: max(1, group.size // 2)]] = True
        masks[group.name] = mask[0] if outer is None else mask
    return masks


def prove(example: Example, dtype: torch.dtype, *, ragged: bool) -> dict[str, Any]:
    """Capture, cut and prove one model."""
    torch.manual_seed(0)
    model = example.build().eval().to(dtype)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)  # no bias stays zero, no norm stays one
    kwargs = {k: v.to(dtype) if v.is_floating_point() else v for k, v in example.inputs(5, 13).items()}
    traced = fxprune.capture(model, kwargs)
    student = Student(traced, free_outputs=byproducts(traced))
    dense = copy.deepcopy(student.traced)
    before = student.traced.num_parameters()
    roles = sorted({group.role for group in student.groups.prunable})
    student.cut(halves(student, ragged=ragged))
    refresh_shapes(student.traced, student.groups)
    proof = certify(dense, student.traced, student.groups, student.plan, kwargs)
    return {
        "dense": before,
        "slim": student.traced.num_parameters(),
        "widths": roles,
        "permutation": proof.permutation,
        "masked": proof.masked,
        "faults": len(proof.faults),
    }


@click.command()
@click.option("--json", "as_json", is_flag=True)
def main(as_json: bool) -> None:
    """Print the largest errors of permutation and of mask = slice for each architecture."""
    torch.set_num_threads(1)
    found = []
    for name, example in ARCHITECTURES.items():
        for dtype in (torch.float64, torch.float32):
            for ragged in (False, True):
                row = prove(example, dtype, ragged=ragged)
                found.append({"model": name, "dtype": str(dtype).removeprefix("torch."), "ragged": ragged, **row})
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    table = Table(title="largest relative error, every prunable group halved")
    for column in ("model", "dtype", "ragged", "dense", "slim", "permutation", "masked", "faults", "widths"):
        table.add_column(column)
    for row in found:
        shown = {**row, "permutation": f"{row['permutation']:.1e}", "masked": f"{row['masked']:.1e}"}
        shown["widths"] = ", ".join(row["widths"])
        table.add_row(*[str(shown[column.header]) for column in table.columns])
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
