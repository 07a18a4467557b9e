"""What a model class computes at a slim config, compared node by node with the slim graph."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch._ops import OpOverload
from torch.fx import Node
from torch.utils._pytree import tree_leaves

from fxprune.calls import bound_arguments, module_of
from fxprune.errors import CaptureError, DeployError, PassError
from fxprune.passes import CANONICAL, FoldNumbers, run_passes
from fxprune.rescaling.equations import scales
from fxprune.traced import FIXED, Traced, tensor_of
from fxprune.tracing import capture

if TYPE_CHECKING:
    from torch import Tensor, nn


aten = torch.ops.aten
_COPIES = (aten.contiguous.default, aten.clone.default)
_VIEWS = (aten.view.default, aten._unsafe_view.default)  # which of them it is, the layout in memory decides


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """How the slim weights become those of a class at one config.

    Attributes:
        weights: by the names of the class, tied ones once.
        folded: the nodes whose number the class computes from its own sizes, absorbed by the weights.
        unread: parameters and buffers of the class that the slim graph does not have, since no output depends on them.
    """

    weights: Mapping[str, Tensor]
    folded: tuple[str, ...]
    unread: frozenset[str]


def fit(slim: Traced, model: nn.Module, example_kwargs: Mapping[str, Any]) -> Fit:
    """Return the weights with which `model` computes what the slim graph does, proved by comparing the two graphs.

    Shapes do not show how many heads share a projection, nor outputs that barely depend on it; the graph of the class
    itself shows every size and every number.

    Args:
        slim: the slim graph.
        model: of the class it came from, with a config of the slim shapes; any weights.
        example_kwargs: inputs of both.
    Raises:
        DeployError: the class computes something else at this config; says where.
    """
    own = _captured(model, example_kwargs, free=slim.provenance.rung != FIXED)
    changed = differences(slim, own)
    weights: Traced = slim
    if changed:
        weights = copy.deepcopy(slim)
        _fold(weights, {node.name: number for node, number in changed.items()})
        if left := differences(weights, own):
            raise _misfit(next(iter(left)), "no weight can absorb the difference")
    unread = frozenset(model.state_dict().keys() - slim.state_dict().keys())  # also what only training counts
    return Fit(weights=weights.state_dict(), folded=tuple(node.name for node in changed), unread=unread)


def differences(slim: Traced, own: Traced) -> dict[Node, float]:
    """Return the nodes of `slim` that hold another number than `own`, with the number there.

    Raises:
        DeployError: the graphs differ in more than numbers: in an op, a size, an edge or a computed buffer.
    """
    left, right = map(_computing, (slim, own))
    if len(left) != len(right):
        raise DeployError(f"the class runs {len(right)} nodes, the slim graph has {len(left)}")
    partner: dict[Node, Node] = {}
    found: dict[Node, float] = {}
    for node, other in zip(left, right, strict=True):
        if (node.op, _plain(node.target)) != (other.op, _plain(other.target)):
            raise _misfit(node, f"the class has {other.target} there")
        partner[node] = other
        ours, theirs = (list(map(_original, _leaves(one))) for one in (node, other))
        if len(ours) != len(theirs):
            raise _misfit(node, "the class calls it with other arguments")
        for mine, its in zip(ours, theirs, strict=True):
            if isinstance(mine, Node):
                if partner[mine] is not its:
                    raise _misfit(node, "the class feeds it another value")
            elif mine != its:
                if not _is_number(node, mine, its):
                    raise _misfit(node, f"the slim graph has {mine} where the class has {its}")
                found[node] = float(its)
    for name in sorted(slim.provenance.recomputed):
        if not torch.equal(tensor_of(slim, name), tensor_of(own, name)):
            raise DeployError(f"the class computes another {name} from its config than the slim graph has")
    return found


def _captured(model: nn.Module, example_kwargs: Mapping[str, Any], *, free: bool) -> Traced:
    try:
        own = capture(model, example_kwargs, free=free)
    except CaptureError as error:
        raise DeployError("the class does not run at this config", cause=error.cause or error.message) from error
    run_passes(own, CANONICAL)
    return own


def _computing(gm: Traced) -> list[Node]:
    """Return what the outputs are computed from, in order: not what is only checked, say against a number of tokens."""
    needed: set[Node] = set()
    for node in reversed(gm.graph.nodes):
        if node in needed or node.op in ("output", "placeholder"):
            needed |= {node, *node.all_input_nodes}
    return [node for node in gm.graph.nodes if node in needed and _computes(node)]


def _computes(node: Node) -> bool:
    """Tell copies from the rest: one head leaves nothing to bring in order, so a class with one traces fewer."""
    return node.target not in _COPIES


def _plain(target: object) -> object:
    """Return what an op computes, whether or not it copies."""
    return aten.reshape.default if target in _VIEWS else target


def _original(value: Any) -> Any:
    while isinstance(value, Node) and not _computes(value):
        value = value.args[0]
    return value


def _leaves(node: Node) -> list[Any]:
    """Return the arguments of a node, defaults filled in: a class may write down what another leaves out."""
    if isinstance(node.target, OpOverload):
        return tree_leaves(bound_arguments(node))
    return tree_leaves((node.args, dict(sorted(node.kwargs.items()))))


def _is_number(node: Node, mine: object, its: object) -> bool:
    """Tell whether two different arguments are numbers to compute with, not sizes."""
    if not isinstance(mine, (int, float)) or not isinstance(its, (int, float)):
        return False
    return isinstance(mine, float) or isinstance(its, float) or scales(node)


def _fold(weights: Traced, its: Mapping[str, float]) -> None:
    """Absorb the numbers of the class at the nodes with these names into `weights`, as far as possible."""
    numbers = {node: its[node.name] for node in weights.graph.nodes if node.name in its and scales(node)}
    try:
        run_passes(weights, [FoldNumbers(numbers)])
    except PassError as error:
        raise DeployError("the class computes another number than the slim graph", cause=error.message) from error


def _misfit(node: Node, cause: str) -> DeployError:
    return DeployError(
        "the class computes something else at this config", node=node, module=module_of(node), cause=cause
    )
