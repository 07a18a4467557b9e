"""What Torch-Pruning makes of one architecture with nothing given: does it run, and is it what it should be?

Its own groups say which units went. The dense model with those units zeroed, normalised over the others only, must
compute the same: the same truth that fxprune is held to, found without any of its code.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch_pruning
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from zoo import ZOO, model_of

RATIO = 0.5
CLOSE = 1e-4  # the bar their results were measured with


def unaided(name: str) -> dict[str, Any]:
    """Prune half, as its first example does, and compare."""
    model, inputs = model_of(ZOO[name]), ZOO[name].inputs(5, 13)
    facts: dict[str, Any] = {"name": name, "runs": False, "equal": False, "wrong": False, "failures": {}}
    slim, zeroed = copy.deepcopy(model), copy.deepcopy(model)
    before = sum(parameter.numel() for parameter in model.parameters())
    try:
        pruner = torch_pruning.pruner.BasePruner(
            slim, dict(inputs), importance=torch_pruning.importance.MagnitudeImportance(), pruning_ratio=RATIO
        )
        for group in pruner.step(interactive=True):
            _zero(group, slim, zeroed)
            group.prune()
        with torch.no_grad():
            got = _floats(slim(**inputs))
    except Exception as error:  # whatever it raises is its answer
        facts["failures"]["prune"] = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"[:300]
        return facts
    facts |= {"runs": True, "kept": sum(parameter.numel() for parameter in slim.parameters()) / before}
    with torch.no_grad(), _OverKept():
        expected = _floats(zeroed(**inputs))
    facts["equal"] = facts["kept"] < 1 and _close(got, expected)
    facts["wrong"] = not facts["equal"] and facts["kept"] < 1
    return facts


def _zero(group: Any, slim: nn.Module, zeroed: nn.Module) -> None:
    """Zero in the dense model what a group is about to remove from the slim one, at its dense places."""
    names = {id(tensor): name for name, tensor in slim.named_parameters(remove_duplicate=False)}
    dense = dict(zeroed.named_parameters(remove_duplicate=False))
    for dependency, indices in group:
        module = dependency.target.module
        own = [module] if isinstance(module, nn.Parameter) else list(module.parameters(recurse=False))
        for tensor in own:
            target = dense[names[id(tensor)]]
            axis = _axis(dependency, module, tensor)
            if axis is not None and tensor.shape[axis] == target.shape[axis]:
                with torch.no_grad():
                    target.index_fill_(axis, torch.tensor(list(indices)), 0.0)


def _axis(dependency: Any, module: Any, tensor: Tensor) -> int | None:
    """Return the axis of a tensor that a pruning function removes from: outputs are rows, inputs columns."""
    if isinstance(module, nn.Parameter):
        return getattr(dependency.handler.__self__, "pruning_dim", tensor.ndim - 1)
    outputs = "out" in dependency.handler.__name__
    if isinstance(module, nn.Embedding):
        return 1 if outputs else None
    if tensor.ndim == 1:
        return 0 if outputs or isinstance(module, nn.LayerNorm | nn.BatchNorm2d | nn.GroupNorm) else None
    return 0 if outputs else 1


class _OverKept(TorchFunctionMode):
    """Norms and means over the last axis leave out features that are zero in every row."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        kwargs = dict(kwargs or {})
        if func is nn.functional.layer_norm:
            return _layer_norm(*args, **kwargs)
        if func in (torch.mean, Tensor.mean) and args and _is_last(args, kwargs):
            x = args[0]
            return x.sum(-1, keepdim=bool(kwargs.get("keepdim", args[2:] and args[2]))) / max(1, int(_kept(x).sum()))
        return func(*args, **kwargs)


def _is_last(args: Any, kwargs: Mapping[str, Any]) -> bool:
    dim = kwargs.get("dim", args[1] if len(args) > 1 else None)
    return dim in (-1, args[0].ndim - 1, [-1], (-1,))


def _kept(x: Tensor) -> Tensor:
    return (x.reshape(-1, x.shape[-1]) != 0).any(0)


def _layer_norm(
    x: Tensor, shape: Any, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    kept = _kept(x)
    n = max(1, int(kept.sum()))
    centred = (x - x.sum(-1, keepdim=True) / n) * kept
    out = centred * torch.rsqrt(centred.square().sum(-1, keepdim=True) / n + eps)
    out = out if weight is None else out * weight
    return out if bias is None else out + bias


def _floats(outputs: Any) -> list[Tensor]:
    leaves = tree_leaves(dict(outputs) if isinstance(outputs, Mapping) else outputs)
    return [leaf for leaf in leaves if isinstance(leaf, Tensor) and leaf.is_floating_point()]


def _close(got: list[Tensor], expected: list[Tensor]) -> bool:
    """Compare; where an output itself was narrowed, with what is left of it."""
    if len(got) != len(expected):
        return False
    for mine, whole in zip(got, expected, strict=True):
        rest = whole[..., _kept(whole)] if mine.shape != whole.shape else whole
        if mine.shape != rest.shape or not float((mine - rest).abs().max()) <= CLOSE * float(rest.abs().max()):
            return False
    return True
