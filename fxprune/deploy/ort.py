"""Running ONNX files in ONNX Runtime on the CPU, and their parity with PyTorch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from fxprune.deploy.parity import input_tensors, output_tensors, worst_error

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    from onnxruntime import InferenceSession
    from torch import Tensor, nn

PROVIDER = "CPUExecutionProvider"


def open_session(path: str | Path, threads: int = 0) -> InferenceSession:
    """Load an ONNX file for the CPU.

    Args:
        path: the file; external data lies beside it.
        threads: inside one operator, 0 = as many as cores. Operators run one after another, and idle threads sleep,
            so that sessions measured in turn do not take time from one another.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # a file that cannot run raises as well, and says so only once
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(str(path), options, providers=[PROVIDER])


def feeds(session: InferenceSession, kwargs: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return the arrays the session wants, out of a model's keyword arguments."""
    found = input_tensors(kwargs)
    return {value.name: found[value.name].detach().cpu().numpy() for value in session.get_inputs()}


def run(session: InferenceSession, kwargs: Mapping[str, Any]) -> dict[str, Tensor]:
    """Run the session on a model's keyword arguments and name its outputs."""
    names = [value.name for value in session.get_outputs()]
    arrays = session.run(names, feeds(session, kwargs))
    return {name: torch.from_numpy(array) for name, array in zip(names, arrays, strict=True)}


def check_parity(onnx_path: str | Path, module: nn.Module, kwargs: Mapping[str, Any]) -> float:
    """Return the largest error of the ONNX file against `module`, relative to the largest value of each output.

    Raises:
        DeployError: names or shapes of the outputs differ.
    """
    with torch.no_grad():
        want = output_tensors(module(**kwargs))
    return worst_error(run(open_session(onnx_path), kwargs), want)
