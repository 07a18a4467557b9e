"""The model hub: whether it can be reached, found out in seconds rather than after its client's retries."""

from __future__ import annotations

import logging
import os
import re
import socket
from contextlib import contextmanager
from functools import lru_cache
from threading import Thread
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import getproxies

if TYPE_CHECKING:
    from collections.abc import Iterator

_NAME = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")
_OFFLINE_REMEDY = "connect to the network, or give a local folder"


def is_hub_name(name: str) -> bool:
    """Return whether `name` may be the name of something on the hub, such as ``owner/name``."""
    return _NAME.fullmatch(name) is not None


def offline() -> bool:
    """Return whether the hub is out of reach: forbidden by `HF_HUB_OFFLINE`, or it does not answer in 3 seconds."""
    from huggingface_hub import constants

    return bool(constants.is_offline_mode()) or not _answers(urlsplit(constants.ENDPOINT).hostname or "")


def offline_remedy() -> str:
    """Return what to do about it."""
    from huggingface_hub import constants

    return f"unset HF_HUB_OFFLINE or {_OFFLINE_REMEDY}" if constants.is_offline_mode() else _OFFLINE_REMEDY


@lru_cache
def _answers(host: str) -> bool:
    if {"https", "all"} & set(getproxies()):
        return True  # only the proxy knows
    found: list[bool] = []
    # in a thread, because the time limit of a connection does not cover the look-up of the name
    probe = Thread(target=lambda: found.append(_connects(host)), daemon=True)
    probe.start()
    probe.join(3.0)
    return bool(found and found[0])


def _connects(host: str) -> bool:
    try:
        socket.create_connection((host, 443), timeout=3.0).close()
    except OSError:
        return False
    return True


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the loaders' progress bars and notes off the terminal: what matters of them is raised."""
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars
    from transformers.utils import logging as notes

    level, bars, hub_bars = notes.get_verbosity(), notes.is_progress_bar_enabled(), not are_progress_bars_disabled()
    notes.set_verbosity(logging.CRITICAL)
    notes.disable_progress_bar()
    disable_progress_bars()
    try:
        yield
    finally:
        notes.set_verbosity(level)
        if bars:
            notes.enable_progress_bar()
        if hub_bars and "HF_HUB_DISABLE_PROGRESS_BARS" not in os.environ:
            enable_progress_bars()


def chain(error: BaseException) -> list[BaseException]:
    """Return `error` and what it was raised from or during, outermost first."""
    found: list[BaseException] = []
    step: BaseException | None = error
    while step is not None and step not in found:
        found.append(step)
        step = step.__cause__ or step.__context__
    return found


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, or its type where it has none."""
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
