"""A session of ONNX Runtime, and what one costs a process.

Run as a program (``python session.py FILE THREADS PROVIDER INPUTS.npz``) it prints load time and memory as JSON: in a
process of its own, and without torch, nothing else counts. So this file imports nothing of fxprune.
"""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from time import perf_counter
from typing import Any

CPU = "CPUExecutionProvider"
_LOADS = 3


def make_session(path: str, threads: int, provider: str, *, spinning: bool = False) -> Any:
    """Load an ONNX file; operators run one after another.

    Args:
        path: the file; external data lies beside it.
        threads: inside one operator, 0 = as many as cores.
        provider: ONNX Runtime's own name of it; the processor runs what it cannot.
        spinning: whether threads stay awake for a while, on a busy core: what ONNX Runtime does unless it is told.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # a file that cannot run raises as well, and says so only once
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spinning)))
    return onnxruntime.InferenceSession(path, options, providers=list(dict.fromkeys([provider, CPU])))


def memory_mb(field: str) -> float | None:
    """Return VmRSS or VmHWM of this process in MB; None where the system does not tell."""
    with suppress(OSError), open("/proc/self/status") as status:
        for line in status:
            if line.startswith(f"{field}:"):
                return round(int(line.split()[1]) / 1024, 1)
    return None


def footprint(path: str, threads: int, provider: str, inputs: str) -> dict[str, float | None]:
    """Load and run a file here; return milliseconds of a load (median of three) and memory of the process in MB."""
    import numpy as np
    import onnxruntime  # noqa: F401  # what the runtime itself needs is counted as `start_mb`

    start = memory_mb("VmRSS")
    began = perf_counter()
    session = make_session(path, threads, provider)
    loads = [perf_counter() - began]
    with np.load(inputs) as arrays:
        feeds = dict(arrays)
    for _ in range(3):
        session.run(None, feeds)
    found = {"start_mb": start, "rss_mb": memory_mb("VmRSS"), "peak_mb": memory_mb("VmHWM")}
    while len(loads) < _LOADS:
        del session
        began = perf_counter()
        session = make_session(path, threads, provider)
        loads.append(perf_counter() - began)
    return {"load_ms": round(sorted(loads)[_LOADS // 2] * 1000, 1), **found}


if __name__ == "__main__":
    file, number, name, arrays = sys.argv[1:]
    print(json.dumps(footprint(file, int(number), name, arrays)))
