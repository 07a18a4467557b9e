"""Several processes that call one function, as a launcher would start them, and what each of them returned."""

from __future__ import annotations

import os
import pickle
import socket
from collections.abc import Callable, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
from torch import multiprocessing

TIME = 120  # seconds until a test gives up on them


def launch(folder: Path, *functions: Callable[[], Any], count: int = 2) -> list[BaseProcess]:
    """Start `count` processes; each leaves what every function returned, or what it raised as text, in `folder`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("spawn")
    started = []
    for rank in range(count):
        process = context.Process(target=_enter, args=(folder, rank, count, port, functions))
        process.start()
        started.append(process)
    return started


def returned(folder: Path, processes: Sequence[BaseProcess]) -> dict[str, list[Any]]:
    """Wait for all; return, by the name of each function, what each process left: None if it died in there."""
    for process in processes:
        process.join(TIME)
        if process.is_alive():
            process.kill()
            process.join()
    names = {file.name.partition(".")[2] for file in folder.iterdir()}
    files = {name: [folder / f"{rank}.{name}" for rank in range(len(processes))] for name in names}
    return {
        name: [pickle.loads(file.read_bytes()) if file.exists() else None for file in found]
        for name, found in files.items()
    }


def _enter(folder: Path, rank: int, count: int, port: int, functions: Sequence[Callable[[], Any]]) -> None:
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(count), "OMP_NUM_THREADS": "1"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "ACCELERATE_USE_CPU": "true"}
    torch.set_num_threads(1)
    for function in functions:
        try:
            result = function()
        except Exception as error:
            result = f"{type(error).__name__}: {error}"
        (folder / f"{rank}.{function.__name__}").write_bytes(pickle.dumps(result))
