"""What a run was told, as a file in its folder: from it, and a checkpoint, it goes on by itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from fxprune.distillation.checkpoints.identity import CHANGEABLE
from fxprune.distillation.checkpoints.keeper import FOLDER, ORDER
from fxprune.distillation.checkpoints.typed import read_typed
from fxprune.distillation.config import DistillConfig
from fxprune.errors import CheckpointError, UsageError

FORMAT, VERSION = "fxprune run", 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a run was told.

    Attributes:
        model: hub name, "demo" or folder; of a folder the whole path.
        dataset: likewise; None: the default one.
        text_column, target_column: of the data set.
        config: settings.
        latency: whether teacher and student are timed at the end.
        int8: whether an int8 file is written too.
        grid: batch x length they are timed at.
        threads: likewise.
        checkpoint_every: steps; None: by time.
        keep_checkpoints: how many.
    """

    model: str
    dataset: str | None
    config: DistillConfig
    text_column: str | None = None
    target_column: str | None = None
    latency: bool = True
    int8: bool = False
    grid: tuple[tuple[int, int], ...] = ()
    threads: tuple[int, ...] = ()
    checkpoint_every: int | None = None
    keep_checkpoints: int = 2

    def to_data(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {"format": FORMAT, "version": VERSION, **asdict(self)}

    def from_everywhere(self) -> Order:
        """Return it with whole paths, so that the run can go on from another folder."""
        dataset = None if self.dataset is None else whole_path(self.dataset)
        return replace(self, model=whole_path(self.model), dataset=dataset)

    def changed(self, settings: Mapping[str, Any]) -> Order:
        """Return it with other settings, as far as a run may go on with them.

        Raises:
            UsageError: a setting that may not change, or a value that cannot be meant.
        """
        if fixed := [name for name in settings if name not in CHANGEABLE]:
            raise UsageError(
                f"{fixed[0]} cannot change once a run has begun",
                remedy=f"what can: {', '.join(CHANGEABLE)}",
            )
        chosen = dict(settings)
        schedule = self.config.schedule
        if "interval" in chosen:
            schedule = replace(schedule, interval=chosen.pop("interval"))
        return replace(self, config=replace(self.config, schedule=schedule, **chosen))


def whole_path(name: str) -> str:
    """Return a local path as one that holds from everywhere, other names as they are."""
    path = Path(name).expanduser()
    return str(path.resolve()) if path.exists() else name


def read_order(folder: Path) -> Order:
    """Read what the run in `folder` was told.

    Raises:
        CheckpointError: there is no run, or the file is damaged.
    """
    path = folder / FOLDER / ORDER
    if not path.is_file():
        raise CheckpointError(
            f"there is no run in '{folder}' to go on with",
            cause=f"there is no {FOLDER}/{ORDER}",
            remedy="give the --output of a run that was stopped after its first step",
        )
    return read_typed(path, Order, FORMAT, VERSION)
