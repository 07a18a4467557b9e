"""Going back to before a cut: later checkpoints and records go, and the run is resumed from there."""

from __future__ import annotations

from pathlib import Path

from fxprune.atomic import atomic_write
from fxprune.distillation.checkpoints import storage
from fxprune.distillation.checkpoints.journal import Cut, cuts_from
from fxprune.distillation.checkpoints.keeper import FOLDER, writing
from fxprune.distillation.checkpoints.order import read_order
from fxprune.errors import CheckpointError, UsageError
from fxprune.hub import first_line

_LONGEST = 1 << 30  # bytes of a journal


def cuts_in(folder: Path) -> list[Cut]:
    """Return the cuts of the run in `folder`; the last line may be half written, and is left out then.

    Raises:
        CheckpointError: there is no journal, or it is damaged.
    """
    path = folder / storage.JOURNAL
    try:
        if path.stat().st_size > _LONGEST:
            raise ValueError("the file is too long")
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"there is no journal in '{folder}' that can be read",
            cause=first_line(error),
            remedy="give the --output of `fxprune distill`",
        ) from error
    whole = text[: text.rfind("\n") + 1]
    return cuts_from(whole)


def undo_to(folder: Path, step: int) -> int:
    """Take a run back to its newest intact checkpoint before `step`, or to its beginning; return where that is.

    What comes later is deleted: checkpoints, cuts in the journal, and steps in ``metrics.jsonl``.

    Args:
        folder: of a run that does not go on now.
        step: of the cut that shall not have been.
    Raises:
        UsageError: the run has not come that far.
        CheckpointError: there is no run in `folder`.
    """
    read_order(folder)
    root = folder / FOLDER
    paths = storage.found_in(root)
    newest = max([*map(storage.step_of, paths), *(cut.step for cut in _cuts(folder))], default=0)
    if not 1 <= step <= newest:
        raise UsageError(f"the run in '{folder}' has no step {step}", remedy=f"give one from 1 to {newest}")
    kept = next((path for path in paths if storage.step_of(path) < step and _is_intact(path)), None)
    with writing(folder, "the journal"):
        for path in paths:
            if kept is None or storage.step_of(path) > storage.step_of(kept):
                storage.remove(path)
        for name in (storage.JOURNAL, storage.HISTORY):
            atomic_write(folder / name, (kept / name).read_text(encoding="utf-8") if kept is not None else "")
    return 0 if kept is None else storage.step_of(kept)


def _cuts(folder: Path) -> list[Cut]:
    try:
        return cuts_in(folder)
    except CheckpointError:
        return []  # it is what shall be put right


def _is_intact(path: Path) -> bool:
    try:
        storage.checked(path)
    except CheckpointError:
        return False
    return True
