"""The captured model: a plain `fx.GraphModule` that is called like the model it came from."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.fx import Graph, GraphModule
from torch.utils._pytree import tree_leaves

if TYPE_CHECKING:
    from fxprune.certificate import Certificate
    from fxprune.latency import LatencyPlan
    from fxprune.plan import Plan
    from fxprune.repair import Repairs


FIXED = "fixed length"  # the rung of a graph that runs at the length of its examples alone


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """What a graph cannot say of the model it came from."""

    aliases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # canonical name -> all names of a tensor
    recomputed: frozenset[str] = frozenset()  # buffers no state dict holds: the model computes them from its config
    rung: str = "named"  # how free the captured sizes are
    dynamic: Mapping[str, Any] = field(default_factory=dict)


_RESULTS = {
    "plan": "it was not cut; prune(...) and distill(...) return models with one",
    "certificate": "it was not proved; cut it with verify=True",
    "repairs": "it was not repaired; cut it with repair='least-squares'",
    "latency_plan": "its widths were not chosen by latency; cut it with target_latency='4ms'",
}


class Traced(GraphModule):
    """A captured model. Call it with the keyword arguments it was captured with, at any batch and length."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Traced:
        own, self.meta = self.meta, {}
        try:
            with warnings.catch_warnings():  # torch copies its own pytree specs in a way it has deprecated
                warnings.simplefilter("ignore", FutureWarning)
                copied: Traced = super().__deepcopy__(memo)  # type: ignore[assignment]
        finally:
            self.meta = own
        # facts are shared; groups hold the nodes of this very graph, and a copy is analysed anew
        copied.meta = {name: fact for name, fact in own.items() if name != "groups"}
        for name in copied.provenance.recomputed:  # torch copies every buffer as one that is saved
            owner, leaf = _owner(copied, name)
            owner._non_persistent_buffers_set.add(leaf)
        return copied

    @property
    def provenance(self) -> Provenance:
        """Names, ties and capture facts; survives copies."""
        found: Provenance = self.meta["provenance"]
        return found

    def num_parameters(self) -> int:
        """Count the parameters, tied ones once."""
        return sum(parameter.numel() for parameter in self.parameters())

    @property
    def plan(self) -> Plan:
        """The kept units, once the model was cut."""
        return self._result("plan")

    @property
    def certificate(self) -> Certificate:
        """The proofs, if the model was cut with ``verify=True``."""
        return self._result("certificate")

    @property
    def repairs(self) -> Repairs:
        """What was fitted anew, if the model was cut with ``repair=``."""
        return self._result("repairs")

    @property
    def latency_plan(self) -> LatencyPlan:
        """What its widths were found to take, if they were chosen by latency."""
        return self._result("latency_plan")

    def save(self, folder: str | Path) -> Path:
        """Write the plan, the graph (.pt2) and, where a config can express it, an ordinary Hugging Face model.

        Args:
            folder: made if missing.
        Returns:
            The folder.
        """
        from fxprune.deploy.bundle import save_bundle

        return save_bundle(self, Path(folder))

    def _result(self, name: str) -> Any:
        if name not in self.meta:
            raise AttributeError(name)  # goes on to __getattr__
        return self.meta[name]

    def __getattr__(self, name: str) -> Any:
        if name in _RESULTS:  # torch's own answer would say that a GraphModule has none
            raise AttributeError(f"this model has no {name}: {_RESULTS[name]}")
        return super().__getattr__(name)


def build(
    graph: Graph, tensors: Mapping[str, Tensor], provenance: Provenance, graphs: Mapping[str, nn.Module] | None = None
) -> Traced:
    """Make a `Traced` of `graph`, with `tensors` registered under all their names, and the `graphs` it calls."""
    traced = Traced(nn.Module(), Graph())
    for canonical, tensor in tensors.items():
        for name in provenance.aliases.get(canonical, (canonical,)):
            register(traced, name, tensor, persistent=canonical not in provenance.recomputed)
    for name, module in (graphs or {}).items():
        traced.add_module(name, module)
    traced.graph = graph
    traced.meta["provenance"] = provenance
    return traced


def register(root: nn.Module, name: str, tensor: Tensor, *, persistent: bool = True) -> None:
    """Register a parameter or buffer under a dotted name, making the modules on the way."""
    *path, leaf = name.split(".")
    owner = root
    for part in path:
        if part not in owner._modules:
            owner.add_module(part, nn.Module())
        owner = owner._modules[part]  # type: ignore[assignment]
    if isinstance(tensor, nn.Parameter):
        owner.register_parameter(leaf, tensor)
    else:
        owner.register_buffer(leaf, tensor, persistent=persistent)


def replace_tensor(traced: GraphModule, name: str, tensor: Tensor) -> None:
    """Put `tensor` in the place of `name`, under all the names it is tied to."""
    for alias in aliases_of(traced, name):
        owner, leaf = _owner(traced, alias)
        (owner._parameters if isinstance(tensor, nn.Parameter) else owner._buffers)[leaf] = tensor  # type: ignore[assignment]


def remove_tensor(traced: GraphModule, name: str) -> None:
    """Forget a parameter or buffer, under this name."""
    owner, leaf = _owner(traced, name)
    delattr(owner, leaf)


def aliases_of(traced: GraphModule, name: str) -> tuple[str, ...]:
    """Return all names of the tensor whose canonical name is `name`."""
    return traced.meta["provenance"].aliases.get(name, (name,))


def tensor_of(traced: GraphModule, name: str) -> Tensor:
    """Return the parameter or buffer called `name`."""
    owner, leaf = _owner(traced, name)
    value = getattr(owner, leaf)
    assert isinstance(value, Tensor)
    return value


def _owner(root: nn.Module, name: str) -> tuple[nn.Module, str]:
    """Return the module that holds a tensor, and the name it has there; `get_submodule` takes ten times as long."""
    *path, leaf = name.split(".")
    owner = root
    for part in path:
        owner = owner._modules[part]  # type: ignore[assignment]
    return owner, leaf


def tied_names(tensors: Iterable[tuple[str, Tensor]]) -> dict[int, list[str]]:
    """Group names by the tensor object behind them."""
    names: dict[int, list[str]] = defaultdict(list)
    for name, tensor in tensors:
        names[id(tensor)].append(name)
    return names


def example_tensors(traced: GraphModule) -> list[torch.Tensor]:
    """Return the traced (fake) values of the inputs, in order."""
    return [node.meta["val"] for node in traced.graph.nodes if node.op == "placeholder"]


def input_names(gm: GraphModule) -> list[str]:
    """Return the names of the arguments, in order."""
    info = getattr(gm.graph._codegen, "pytree_info", None)
    return [str(node.target) for node in gm.graph.nodes if node.op == "placeholder"] if info is None else info.orig_args


def input_values(gm: GraphModule, kwargs: Mapping[str, Any]) -> list[Any]:
    """Return the values of the inputs of the graph, in order; nested arguments have several."""
    return [leaf for name in input_names(gm) for leaf in tree_leaves(kwargs[name])]
