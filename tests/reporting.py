"""What an output folder of a run says, written by hand."""

from __future__ import annotations

import json
from typing import Any

ROW = {"batch": 1, "length": 32, "threads": 1, "p95_ms": 9.0, "n": 100, "warmup": 3}
ROW |= {"provider": "CPUExecutionProvider", "onnxruntime": "1.31.1", "cpu": "a processor", "fxprune": "0.1.0"}
LATENCY = [
    {**ROW, "model": "teacher", "p50_ms": 8.0, "p25_ms": 7.5, "p75_ms": 8.5},
    {**ROW, "model": "student", "p50_ms": 2.0, "p25_ms": 1.9, "p75_ms": 2.2},
]
CERTIFICATE = {"permutation": 3e-7, "masked": 4e-7, "faults": [], "tolerance": 1e-4, "plan": "abc", "weights": "slim"}
CERTIFICATE |= {"holds": True}
IDS = {"name": "input_ids", "shape": ["batch", "length"], "dtype": "int64", "preprocessed": True}
FACTS: dict[str, Any] = {
    "command": "distill",
    "model": "org/teacher",
    "dataset": "org/texts:en",
    "teacher": {"hub_name": "org/teacher", "license": "apache-2.0"},
    "data": {"hub_name": "org/texts"},
    "run": {
        "command_line": ["fxprune", "distill", "--model", "org/teacher", "--target-params", "25%"],
        "began": "2026-01-01T00:00:00+00:00",
        "processes": 1,
        "python": "3.11.7",
        "packages": {"fxprune": "0.1.0", "torch": "2.13.0"},
    },
    "settings": {"seed": 7, "target_params": "25%", "batch_size": 4, "length": 16, "loss": {"kl": 1.0}},
    "params": {"teacher": 4_000_000, "student": 1_000_000},
    "flops": {"teacher": 8_000_000, "student": 2_000_000, "batch": 1, "length": 16},
    "objective": "masked LM",
    "losses": {"teacher": {"task": 2.0}, "student": {"task": 2.5, "kl": 0.25, "hidden": 0.1}},
    "notes": ["a note of the run"],
    "seconds": 12.0,
    "snapshots": [],
    "inputs": [IDS],
    "output_names": ["logits"],
    "longest": 128,
    "frozen": [{"name": "words", "size": 99, "groups": 1, "parameters": 500, "reason": "picked by data", "where": "e"}],
    "hugging_face": {"model_class": "SomeModel", "changed": {"hidden_size": [32, 16]}, "max_error": 1e-7, "proved": 1},
    "onnx": {"opset": 23, "rung": "opset 23", "max_error": 2e-7},
    "onnx_bytes": {"teacher": 8_000_000, "student": 2_000_000},
    "failures": {},
}


def step(number: int, *, cut: bool = False, **more: Any) -> dict[str, Any]:
    losses = {"total": 3.0 + 1 / number, "task": 2.0 + 1 / number, "kl": 0.5}
    return {"step": number, "steps": 40, "params": 4_000_000 - 50_000 * number, "losses": losses, "cut": cut, **more}


STEPS = [step(n, cut=n % 10 == 0, **({"jump": [0.2, 0.3]} if n % 10 == 0 else {})) for n in range(1, 41)]
for row in STEPS[4::5]:
    row["discrepancy"] = 0.25


def plan(**groups: tuple[int, int]) -> str:
    """A plan that keeps the first units of each group: name -> (dense, kept)."""
    entries = {
        f"g{place}": {"name": name.replace("__", "."), "size": dense, "keep": list(range(kept))}
        for place, (name, (dense, kept)) in enumerate(groups.items())
    }
    return json.dumps({"format": "fxprune plan", "version": 1, "model": "0", "groups": entries, "tensors": {}})


WIDTHS = {"hidden": (32, 16), "layer__0__inner": (64, 20), "layer__1__inner": (64, 30), "layer__0__heads": (4, 4)}
