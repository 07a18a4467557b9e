"""Running ONNX files in ONNX Runtime, and their parity with PyTorch."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from fxprune.deploy.external_data import check_external_data
from fxprune.deploy.parity import input_tensors, output_tensors, worst_error
from fxprune.deploy.providers import CPU, check_used, find_provider
from fxprune.deploy.session import make_session
from fxprune.errors import FxpruneError, SourceError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from onnxruntime import InferenceSession
    from torch import Tensor, nn

PROVIDER = CPU


def open_session(
    path: str | Path, threads: int = 0, provider: str = CPU, *, spinning: bool = False
) -> InferenceSession:
    """Load an ONNX file; what it raises if that fails is ONNX Runtime's own.

    Args:
        path: the file; external data lies beside it.
        threads: inside one operator, 0 = as many as cores. Operators run one after another.
        provider: where it runs, by short or long name; what it cannot run, the processor does.
        spinning: whether idle threads stay awake for some 50 ms, which is ONNX Runtime's default and faster; False
            where something else is to run then.
    Raises:
        UsageError: ONNX Runtime does not have this provider, or it does not start.
    """
    chosen = find_provider(provider)
    session: InferenceSession = make_session(str(path), threads, chosen, spinning=spinning)
    check_used(session.get_providers(), chosen)
    return session


def read_session(
    path: str | Path, threads: int = 0, provider: str = CPU, *, spinning: bool = False
) -> InferenceSession:
    """Load an ONNX file of unknown origin.

    Raises:
        SourceError: there is no such file, or none that this ONNX Runtime can run, such as one of a newer opset.
        UsageError: as `open_session`.
    """
    import onnxruntime

    if not Path(path).is_file():
        raise SourceError(f"there is no ONNX file {str(path)!r}", remedy="check the path, or `fxprune export` it")
    check_external_data(Path(path))
    try:
        return open_session(path, threads, provider, spinning=spinning)
    except FxpruneError:
        raise
    except Exception as error:  # ONNX Runtime derives its errors from Exception alone
        raise SourceError(
            f"{str(path)!r} is no ONNX file that runs here",
            cause=f"onnxruntime {onnxruntime.__version__}: {plain_line(error)}",
            remedy="export it again, for an opset this ONNX Runtime knows",
        ) from error


def plain_line(error: Exception) -> str:
    """Return the first line of what ONNX Runtime says, without its codes and places in its own source."""
    lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", lines[0])
    text = re.sub(r"^Load model from .* failed:", "", text)
    return re.sub(r"/\S+\.(?:cc|h):\d+ \S.*?\) ", "", text)[:400]


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
