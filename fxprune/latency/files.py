"""Files to time: a model cut to some widths, exported as it would be at the end of a run, or filled into a template."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from fxprune.deploy.bundle import origin_of
from fxprune.errors import DeployError
from fxprune.latency.holes import distinct_axes
from fxprune.latency.kept import KeptPair
from fxprune.latency.space import Space
from fxprune.latency.template import Template
from fxprune.student import Student, refresh_shapes
from fxprune.traced import Traced
from fxprune.unit_scores import random_units
from fxprune.workload import Precision

if TYPE_CHECKING:
    from onnx import ModelProto

_TRIES = 200  # pairs of widths, of which the most telling is exported
_MIDDLES = (0.35, 0.7)  # of the axes that stay in a template; the exporter folds constants that are small
Say = Callable[[str], None]


@dataclass(slots=True)
class Files:
    """Writes ONNX files of a model at any widths.

    Attributes:
        traced: the dense model; its weights are only copied.
        space: its widths.
        free_outputs: outputs whose dimensions may be cut.
        say: told what takes long.
        identity: tells the model from others, in the cache.
        folder: of the cache; None: the user's.
        precision: of the files.
    """

    traced: Traced
    space: Space
    free_outputs: frozenset[int] = frozenset()
    say: Say = field(default=lambda text: None)
    identity: str | None = None
    folder: Path | None = None
    precision: Precision = "float32"
    _template: Template | DeployError | None = None

    def export(self, widths: Sequence[int], path: Path) -> None:
        """Cut a copy to `widths`, units at random, and export it.

        Raises:
            DeployError: no rung of the exporter agrees with PyTorch, or it cannot be made int8.
        """
        from fxprune.deploy.int8 import write_int8
        from fxprune.deploy.onnx import export_onnx

        student = Student(copy.deepcopy(self.traced), free_outputs=self.free_outputs)
        with torch.random.fork_rng(devices=[]):
            student.cut_to(self.space.counts(widths), random_units(student.groups))
        refresh_shapes(student.traced, student.groups)
        export_onnx(student.traced.requires_grad_(False), origin_of(self.traced).example_kwargs, path)
        if self.precision == "int8":
            write_int8(path, path)

    def write(self, widths: Sequence[int], path: Path) -> None:
        """Write the file by template; where the graph changes with the widths, export it."""
        if self._template is None:
            self._template = self._made()
        if isinstance(self._template, Template):
            self._template.write(widths, path)
        else:
            self.export(widths, path)

    @property
    def by_template(self) -> bool:
        """Whether files cost little."""
        return isinstance(self._template, Template)

    def _made(self) -> Template | DeployError:
        found: Template | DeployError | None = None
        for middle in _MIDDLES:
            found = self._made_of(telling_pair(self.space, middle))
            if isinstance(found, Template):
                return found
        assert isinstance(found, DeployError)
        self.say(f"every width is exported: {found.message} ({found.cause})")
        return found

    def _made_of(self, pair: tuple[tuple[int, ...], tuple[int, ...]]) -> Template | DeployError:
        model = f"{self.identity} {self.precision}"
        kept = KeptPair.of(model, pair, self.folder) if self.identity is not None else None
        files = kept.read() if kept is not None else None
        if files is None:
            files = self._exported(pair)
            if kept is not None:
                kept.write(files)
        try:
            return Template.of(files, pair, self.space)
        except DeployError as error:
            return error

    def _exported(self, pair: Sequence[tuple[int, ...]]) -> list[ModelProto]:
        import onnx

        self.say("exporting the model at two widths, to write it at any")
        found = []
        with tempfile.TemporaryDirectory() as folder:
            for i, widths in enumerate(pair):
                self.export(widths, Path(folder) / f"{i}.onnx")
                found.append(onnx.load(f"{folder}/{i}.onnx"))
        return found


def telling_pair(space: Space, middle: float = _MIDDLES[0]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return two widths at which as many axes as possible have sizes of their own.

    They are widths the model may be cut to, so that the exporter treats them as it will treat the final ones.

    Args:
        space: of the widths.
        middle: what stays of the axes, about.
    """
    rng = np.random.default_rng(0)
    best: tuple[float, tuple[int, ...], tuple[int, ...]] | None = None
    free = [n > 2 and least < n for least, n in zip(space.narrowest, space.dense, strict=True)]
    for _ in range(_TRIES):
        first, second = (_drawn(space, rng, middle) for _ in range(2))
        if any(a == b for a, b, varies in zip(first, second, free, strict=True) if varies):
            continue
        if any(1 in (a, b) and n > 1 for a, b, n in zip(first, second, space.dense, strict=True)):
            continue  # an axis of one is not in the graph
        score = len(distinct_axes(space, first, second)) if best is None or first != best[1] else 0
        if best is None or score > best[0]:
            best = (score, first, second)
    if best is None:
        return space.narrowest, space.dense
    return best[1:]


def _drawn(space: Space, rng: np.random.Generator, middle: float) -> tuple[int, ...]:
    """Draw widths around `middle`, families out of proportion."""
    found: list[int] = []
    for family in space.families:
        ratio = min(1.0, middle * 2 ** rng.uniform(-1, 1))
        near = np.flatnonzero(np.abs(family.ratios - ratio) < 0.1)
        place = rng.choice(near) if len(near) else int(family.at(np.array(ratio)))
        found += [int(n) for n in family.counts[place]]
    return tuple(found)
