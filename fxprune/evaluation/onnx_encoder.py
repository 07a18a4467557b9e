"""A sentence encoder that is an ONNX file: what another precision costs in score."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from fxprune.deploy.ort import feeds, read_session
from fxprune.errors import SourceError
from fxprune.sources import find_tokenizer

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

_HIDDEN = "last_hidden_state"


class OnnxEncoder(nn.Module):
    """Called like the model it was exported from; runs in ONNX Runtime.

    Args:
        path: of the file.
        threads: inside one operator; 0 = as many as torch uses.
        provider: of ONNX Runtime.
    Raises:
        SourceError: the file cannot be run, or returns no hidden states of its last layer.
    """

    def __init__(self, path: Path, threads: int = 0, provider: str = "cpu") -> None:
        super().__init__()
        self.path = path
        self.session: InferenceSession = read_session(path, threads or torch.get_num_threads(), provider, spinning=True)
        self.names = [value.name for value in self.session.get_outputs()]
        if _HIDDEN not in self.names:
            raise SourceError(
                f"{str(path)!r} returns no {_HIDDEN}, which is what sentences are compared by",
                cause=f"it returns {', '.join(self.names)}",
                remedy="export the encoder without a head",
            )
        self.where = nn.Parameter(torch.empty(0), requires_grad=False)  # tells callers the device: the processor

    def forward(self, **inputs: Tensor) -> Any:
        """Return the outputs by name; kinds of tokens that nobody gave are zeros."""
        missing = {value.name for value in self.session.get_inputs()} - set(inputs)
        given = inputs | {name: torch.zeros_like(inputs["input_ids"]) for name in missing}
        arrays = self.session.run(self.names, feeds(self.session, given))
        outputs: Mapping[str, Tensor] = {
            name: torch.from_numpy(array) for name, array in zip(self.names, arrays, strict=True)
        }
        return SimpleNamespace(**outputs)

    def weights(self) -> int:
        """Return how many entries the file's tensors have, whatever their type."""
        import onnx
        from onnx import TensorProto

        graph = onnx.load(self.path, load_external_data=False).graph
        kinds = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT8, TensorProto.UINT8)
        return sum(prod(tensor.dims) for tensor in graph.initializer if tensor.data_type in kinds)


def tokenizer_beside(path: Path) -> Any:
    """Load the tokenizer in the folder of the file, or in the one above (``out/onnx/model.onnx``).

    Raises:
        SourceError: there is none.
    """
    for folder in (path.absolute().parent, path.absolute().parent.parent):
        if (folder / "tokenizer.json").is_file():
            return find_tokenizer(str(path), str(folder), local=True)
    raise SourceError(
        f"no tokenizer lies beside {str(path)!r}",
        remedy="put tokenizer.json and tokenizer_config.json into its folder or the one above",
    )
