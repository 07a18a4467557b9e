"""One row of the coverage table, in a process of its own: everything fxprune does with one architecture, unaided.

python benchmarks/coverage_row.py bert            # prints JSON
python benchmarks/coverage_row.py bert --peer     # Torch-Pruning with nothing given
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import click
import torch

import fxprune
from fxprune.errors import FxpruneError
from fxprune.traced import Traced

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from zoo import ZOO, model_of
from zoo.cutting import Halved, difference
from zoo.shipping import bundle_error, onnx_of, reload_error
from zoo.widths import lost, widths

EXACT = 1e-5  # float32, relative to the largest output: what counts as equal to the masked dense model
BATCH, LENGTH = 5, 13


class Row:
    """One architecture on its way through; a stage that fails leaves its sentence."""

    def __init__(self, name: str) -> None:
        self.entry = ZOO[name]
        self.model = model_of(self.entry)
        self.inputs = self.entry.inputs(BATCH, LENGTH)
        self.facts: dict[str, Any] = {"name": name, "failures": {}}

    def stage(self, name: str, work: Callable[[], Any]) -> Any:
        """Run one stage; note what it took and, if it fails, why."""
        start = perf_counter()
        try:
            return work()
        except FxpruneError as error:
            self.facts["failures"][name] = str(error)
        except Exception as error:  # a row never takes the table down: an error nobody foresaw is a finding
            self.facts["failures"][name] = f"unforeseen {type(error).__name__}: {error}"
        finally:
            self.facts.setdefault("seconds", {})[name] = round(perf_counter() - start, 2)

    def run(self) -> dict[str, Any]:
        """Capture, prove, export, reload."""
        dense = self.stage("capture", lambda: fxprune.capture(self.model, self.inputs))
        if dense is not None:
            self.facts["rung"] = dense.provenance.rung
            self.stage("capture", lambda: self.facts.update(parity=difference(dense, self.model, self.inputs)))
            half = self.stage("proofs", lambda: self.prove(dense))
            if half is not None:
                self.stage("onnx", lambda: self.onnx(half.slim))
            self.stage("reload", self.reload)
        return self.facts

    def prove(self, dense: Traced) -> Halved:
        """Half of every group that is not frozen, and the three proofs."""
        before = dense.num_parameters()
        half = Halved.of(dense)
        self.facts["kept"] = half.slim.num_parameters() / before
        self.facts["widths"] = {name: vars_of(width) for name, width in widths(half.dense, half.groups).items()}
        self.facts["lost"] = lost(half.dense, half.groups)
        self.facts["faults"] = half.faults(self.inputs)
        self.facts["permutation"] = half.permutation(self.inputs)
        self.facts["masked"] = half.masked(self.inputs)
        return half

    def onnx(self, slim: Traced) -> None:
        """Export that cut model, as ragged and odd as it is."""
        with tempfile.TemporaryDirectory() as folder:
            made = onnx_of(slim, self.inputs, Path(folder))
        self.facts["onnx"] = {"error": made.max_error, "rung": made.rung, "opset": made.opset}

    def reload(self) -> None:
        """Half of every width as a user asks for it, through the folder and the model's own library."""
        with tempfile.TemporaryDirectory() as folder:
            slim = fxprune.prune(self.model, self.inputs, ratio=0.5)
            kept = slim.num_parameters() / sum(parameter.numel() for parameter in self.model.parameters())
            try:
                if hasattr(self.model, "config"):
                    error = reload_error(self.model, slim, self.inputs, Path(folder))
                    self.facts["reload"] = {"error": error, "kept": kept}
                else:
                    slim.save(folder)
            finally:
                self.facts["load"] = bundle_error(slim, self.inputs, Path(folder))


def vars_of(width: Any) -> dict[str, Any]:
    """Return a width as plain data."""
    return {"places": width.places, "narrowed": width.narrowed, "reasons": list(width.reasons)}


@click.command()
@click.argument("name", type=click.Choice(list(ZOO)))
@click.option("--peer", is_flag=True, help="Run Torch-Pruning instead.")
def main(name: str, peer: bool) -> None:
    """Print the facts of one architecture as one line of JSON."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    with contextlib.redirect_stdout(io.StringIO()):
        if peer:
            from peer import unaided

            facts = unaided(name)
        else:
            facts = Row(name).run()
    print(json.dumps(facts))


if __name__ == "__main__":
    main()
