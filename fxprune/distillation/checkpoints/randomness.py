"""The random states of a process: torch's, Python's and numpy's."""

from __future__ import annotations

import random

import numpy as np
import torch
from torch import Tensor

from fxprune.distillation.checkpoints.saved import Saved

_WORDS = 624  # of the Mersenne twister that Python and numpy share


def randomness(device: torch.device) -> Saved:
    """Return the state of every generator a run may draw from."""
    version, words, gauss = random.getstate()
    _, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    tensors = {
        "torch": torch.get_rng_state(),
        "python": torch.tensor(words, dtype=torch.int64),
        "numpy": torch.from_numpy(keys.astype(np.int64)),  # type: ignore[union-attr]
    }
    if device.type == "cuda":
        tensors["cuda"] = torch.cuda.get_rng_state(device)
    data = {"version": version, "gauss": gauss, "position": position, "cached": cached if has_gauss else None}
    return Saved(data, tensors)


def set_randomness(saved: Saved, device: torch.device) -> None:
    """Put every generator back to where it was."""
    words = saved.tensor("python", (_WORDS + 1,), torch.int64)
    keys = saved.tensor("numpy", (_WORDS,), torch.int64)
    _check_words(saved, words[:-1])
    _check_words(saved, keys)
    if not 0 <= int(words[-1]) <= _WORDS:
        raise saved.wrong("the position of Python's generator is out of range")
    gauss, cached = (_gauss(saved, name) for name in ("gauss", "cached"))
    random.setstate((saved.integer("version", 3, 3), tuple(words.tolist()), gauss))
    position = saved.integer("position", 0, _WORDS)
    np.random.set_state(("MT19937", keys.numpy().astype(np.uint32), position, int(cached is not None), cached or 0.0))
    try:
        torch.set_rng_state(saved.tensor("torch", torch.get_rng_state().shape, torch.uint8))
        if device.type == "cuda":
            own = torch.cuda.get_rng_state(device)
            torch.cuda.set_rng_state(saved.tensor("cuda", own.shape, torch.uint8), device)
    except RuntimeError as error:
        raise saved.wrong(str(error).splitlines()[0]) from error


def _check_words(saved: Saved, words: Tensor) -> None:
    if bool(((words < 0) | (words >= 1 << 32)).any()):
        raise saved.wrong("a word of a generator is out of range")


def _gauss(saved: Saved, name: str) -> float | None:
    value = saved.data.get(name)
    if value is None or isinstance(value, float):
        return value
    raise saved.wrong(f"{name} is {value!r:.60}")
