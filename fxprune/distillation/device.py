"""Where a run computes."""

from __future__ import annotations

import torch
from torch.fx import GraphModule

from fxprune.errors import UsageError
from fxprune.traced import replace_tensor, tensor_of


def choose_device(name: str) -> torch.device:
    """Return the device called `name`; auto is cuda where there is one.

    Raises:
        UsageError: an unknown device, or cuda on a machine without.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise UsageError("there is no CUDA device", remedy="use --device cpu, or a build of torch with CUDA")
    if name not in ("cpu", "cuda"):
        raise UsageError(f"unknown device {name!r}", remedy="use cpu, cuda or auto; CUDA_VISIBLE_DEVICES chooses a GPU")
    return torch.device(name)


def move(traced: GraphModule, device: torch.device) -> None:
    """Move a captured graph: its tensors, and the devices that capture wrote into its nodes."""
    if all(tensor.device.type == device.type for tensor in (*traced.parameters(), *traced.buffers())):
        return
    for node in traced.graph.nodes:
        node.args = torch.fx.node.map_aggregate(node.args, lambda a: device if isinstance(a, torch.device) else a)
        node.kwargs = torch.fx.node.map_aggregate(node.kwargs, lambda a: device if isinstance(a, torch.device) else a)
        if node.op == "get_attr":
            tensor = tensor_of(traced, str(node.target))
            moved = tensor.detach().to(device)
            if isinstance(tensor, torch.nn.Parameter):
                moved = torch.nn.Parameter(moved, requires_grad=tensor.requires_grad)
            replace_tensor(traced, str(node.target), moved)
    traced.recompile()
