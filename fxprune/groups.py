"""Groups: the prunable factors of a graph, with everything that must be cut together."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import takewhile
from typing import TYPE_CHECKING

from torch.fx import GraphModule

from fxprune.axes import Axis, Concat, Factor, factors_of, resolve, size_of
from fxprune.errors import AnalysisError, unknown_name
from fxprune.inference import Frozen, Inferred, frozen_factors, infer, output_values
from fxprune.ragged import ragged_pairs

if TYPE_CHECKING:
    from fxprune.explanation import Explanation

ROLES = ["heads", "queries per key", "qk", "value", "hidden"]  # the first that fits names the group


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One parameter or buffer axis that holds units of a group."""

    tensor: str
    axis: int

    def __str__(self) -> str:
        return f"{self.tensor}[{self.axis}]"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Group:
    """One prunable dimension with all its occurrences; removing a unit removes it from every member.

    Attributes:
        name: path of the module that holds all members, and the role.
        members: the parameter and buffer axes it stands in.
        frozen: None, or why it may not be cut.
        role: heads, qk, value, hidden or inner.
        factor: its place in the axis types.
    """

    name: str
    members: tuple[Member, ...]
    frozen: Frozen | None
    role: str
    factor: Factor

    @property
    def size(self) -> int:
        """Number of units now; it falls when the group is cut."""
        assert isinstance(self.factor.size, int)
        return self.factor.size

    def __str__(self) -> str:
        state = f"frozen: {self.frozen}" if self.frozen else f"{len(self.members)} axes"
        return f"{self.name}  {self.size}  {state}"


class Groups:
    """All groups of one captured graph, by name, in the order the graph meets them."""

    def __init__(self, inferred: Inferred) -> None:
        self.inferred = inferred
        self._by_name = {group.name: group for group in _named(inferred)}

    def __iter__(self) -> Iterator[Group]:
        return iter(self._by_name.values())

    def __len__(self) -> int:
        return len(self._by_name)

    def __getitem__(self, name: str) -> Group:
        if name not in self._by_name:
            raise AnalysisError(unknown_name("group", name, self._by_name))
        return self._by_name[name]

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    @property
    def prunable(self) -> list[Group]:
        """The groups that may be cut."""
        return [group for group in self if group.frozen is None and group.size > 1]

    @cached_property
    def by_factor(self) -> dict[Factor, Group]:
        """The group of each factor."""
        return {group.factor: group for group in self}

    @cached_property
    def ragged(self) -> dict[str, str]:
        """Group -> outer group under which it may keep different units, e.g. the dimensions of each head."""
        outer = ragged_pairs(self.inferred, [group.factor for group in self.prunable])
        names = self.by_factor
        return {names[inner].name: names[over].name for inner, over in outer.items()}

    def axis(self, tensor: str, axis: int) -> Axis:
        """Return the type of one parameter axis."""
        axes = self.inferred.tensors[self.canonical(tensor)]
        if not 0 <= axis < len(axes):
            raise AnalysisError(f"{tensor} has {len(axes)} axes, so no axis {axis}", remedy="count from 0")
        return resolve(axes[axis])

    def canonical(self, tensor: str) -> str:
        """Return the name members go by, for any name of a parameter or buffer: tied ones have several."""
        tensors, aliases = self.inferred.tensors, self.inferred.aliases
        name = aliases.get(tensor, tensor)
        if name not in tensors:
            raise AnalysisError(unknown_name("parameter", tensor, {*tensors, *aliases}))
        return name

    def spell(self, axis: Axis) -> str:
        """Write an axis type with group names: ``heads x value``, ``(q | k | v)``."""
        return spell(axis, {factor: group.name for factor, group in self.by_factor.items()})

    def explain(self, *axes: tuple[str, int] | str) -> Explanation:
        """Explain one axis (its groups, all they hold, and what froze them), or two: the nodes that coupled them.

        Args:
            axes: one or two of ``"parameter.name:0"``, (parameter name, 0), or the name of a group.
        Raises:
            AnalysisError: no such parameter, axis or group; the nearest names are listed.
        """
        from fxprune.explanation import explain

        return explain(self, *axes)

    def to_text(self) -> str:
        """One line a group."""
        return "\n".join(str(group) for group in self)


def analyse(traced: GraphModule, *, free_outputs: bool | Collection[int] | None = None) -> Groups:
    """Find the groups of coupled units in a captured graph.

    Args:
        traced: from `fxprune.capture`.
        free_outputs: outputs whose dimensions may be cut, by place; True frees all, None the `byproducts`.
    """
    return Groups(infer(traced, free_outputs=byproducts(traced) if free_outputs is None else free_outputs))


def feature_outputs(traced: GraphModule) -> frozenset[int]:
    """Return the places of outputs that are features, not predictions: as wide as a residual stream of the model.

    An encoder's hidden state is one, and what a pooler makes of it; logits and labels are not.
    """
    inferred = infer(traced, free_outputs=True)
    widths = {group.size for group in Groups(inferred) if group.role == "hidden"}
    places = set()
    for place, node in enumerate(output_values(traced)):
        axes = inferred.axes.get(node, [()])[0]
        if axes and size_of(axes[-1]) in widths:
            places.add(place)
    return frozenset(places)


def byproducts(traced: GraphModule) -> frozenset[int]:
    """Return the places of feature outputs that come beside predictions, such as the encoder states of a translator.

    Where features are all a model returns, they are its contract, and stay.
    """
    total = len(output_values(traced))
    features = feature_outputs(traced) if total > 1 else frozenset()
    return features if len(features) < total else frozenset()


def spell(axis: Axis, names: dict[Factor, str]) -> str:
    """Write an axis type; a factor without a name is its size."""
    words = []
    for term in resolve(axis):
        if isinstance(term, Concat):
            words.append(f"({' | '.join(spell(part, names) for part in term.parts)})")
        else:
            words.append(names.get(term, str(term.size)))
    return " x ".join(words) or "1"


def _named(inferred: Inferred) -> list[Group]:
    members = _members(inferred)
    frozen, roles = frozen_factors(inferred), _roles(inferred)
    taken: Counter[str] = Counter()
    groups = []
    for factor, places in members.items():
        role = next((role for role in ROLES if role in roles[factor]), "inner")
        if factor in frozen and role == "inner":
            role = f"axis{places[0].axis}" if len({place.axis for place in places}) == 1 else "frozen"
        name = ".".join(part for part in (_common_module([m.tensor for m in places]), role.replace(" ", "_")) if part)
        taken[name] += 1
        unique = name if taken[name] == 1 else f"{name}#{taken[name]}"
        groups.append(Group(name=unique, members=tuple(places), frozen=frozen.get(factor), role=role, factor=factor))
    return groups


def _members(inferred: Inferred) -> dict[Factor, list[Member]]:
    members: dict[Factor, list[Member]] = {}
    for tensor, axes in inferred.tensors.items():
        for dim, axis in enumerate(axes):
            for factor in dict.fromkeys(factors_of(axis)):
                if isinstance(factor.size, int):
                    members.setdefault(factor, []).append(Member(tensor=tensor, axis=dim))
    return members


def _roles(inferred: Inferred) -> dict[Factor, set[str]]:
    roles: dict[Factor, set[str]] = defaultdict(set)
    for axis, role in inferred.roles:
        counted = [factor for factor in factors_of(axis) if isinstance(factor.size, int)]
        for place, factor in enumerate(counted):  # heads x 2: several queries share a key
            roles[factor].add("queries per key" if role == "heads" and place else role)
    return roles


def _common_module(tensors: list[str]) -> str:
    paths = [tensor.rpartition(".")[0].split(".") for tensor in tensors]
    same = takewhile(lambda parts: len(set(parts)) == 1, zip(*paths, strict=False))
    return ".".join(parts[0] for parts in same)
