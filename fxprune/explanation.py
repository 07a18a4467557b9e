"""Explanations: what is in a group, which graph nodes coupled two axes, and what froze one."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import networkx as nx
from torch.fx import Node

from fxprune.axes import Axis, Factor, factors_of
from fxprune.calls import module_of, source_of
from fxprune.dependency import Couplings, Place, couplings, flow_of
from fxprune.errors import AnalysisError, nearest, unknown_name
from fxprune.groups import Group, Groups

_AXIS = re.compile(r"(?P<name>[^\[\]:]+)(\[(?P<axis>\d+)\]|:(?P<dim>\d+))")
NOT_COUPLED = "not coupled: they share no group, so each can be cut without the other"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One graph node on the way from one axis to another."""

    node: str
    op: str
    module: str
    source: str

    @classmethod
    def of(cls, node: Node) -> Step:
        """Read it off a node."""
        return cls(node=node.name, op=str(node.target), module=module_of(node), source=source_of(node))

    def __str__(self) -> str:
        where = "  ".join(part for part in (self.module, self.source) if part)
        line = f"  {self.node} = {self.op}"
        return f"{line}    {where}" if where else line


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why a group may not be cut: the node that said so, and the nodes between it and the axis one asked for."""

    reason: str
    at: Step
    way: tuple[Step, ...]

    def lines(self) -> list[str]:
        """Return the reason, and the way to it."""
        way = ["  on this way:", *(f"  {step}" for step in self.way)] if self.way else []
        return [f"  frozen: {self.reason} at", f"  {self.at}", *way]


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupFacts:
    """A group that stands on the axis one asked for."""

    name: str
    role: str
    size: int
    members: tuple[str, ...]
    frozen: tuple[Reason, ...]

    def lines(self) -> list[str]:
        """Return all there is to say, one fact a line."""
        reasons = [line for reason in self.frozen for line in reason.lines()]
        held = [f"  holds {member}" for member in self.members]
        return [f"group {self.name!r} ({self.size} units, {len(self.members)} axes):", *reasons, *held]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """The shortest chain of nodes that made two axes one group; without any, `note` says why."""

    group: str
    size: int
    steps: tuple[Step, ...] = ()
    note: str = ""

    def lines(self) -> list[str]:
        """Return one node a line."""
        steps = [str(step) for step in self.steps] or [f"  {self.note}"]
        return [f"coupled in group {self.group!r} ({self.size} units):", *steps]


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """The answer to a question about one axis or two.

    Attributes:
        axes: what was asked for -> its type, in group names.
        groups: of a single axis: all its groups.
        chains: of two axes: what couples them; empty if nothing does.
    """

    axes: dict[str, str]
    groups: tuple[GroupFacts, ...] = ()
    chains: tuple[Chain, ...] = ()

    def __str__(self) -> str:
        head = [f"{name} = {type_}" for name, type_ in self.axes.items() if name != type_]
        told = [*(group.lines() for group in self.groups), *(chain.lines() for chain in self.chains)]
        facts = [line for lines in told for line in lines]
        if not facts:
            facts = [NOT_COUPLED] if len(self.axes) > 1 else ["it has one position, and no group"]
        return "\n".join([*head, *facts])

    def to_data(self) -> dict[str, Any]:
        """Return the same for JSON."""
        return asdict(self) | {"coupled": bool(self.chains)} if len(self.axes) > 1 else asdict(self)


@dataclass(frozen=True, slots=True)
class _Subject:
    """An axis, or a group by its name."""

    name: str
    type: Axis
    places: tuple[Place, ...]


def explain(groups: Groups, *asked: tuple[str, int] | str) -> Explanation:
    """Explain one axis, or what couples two.

    Args:
        groups: of a captured model.
        asked: ``"parameter.name:0"``, ``"parameter.name[0]"``, (name, 0), or the name of a group; one or two.
    Raises:
        AnalysisError: there is no such parameter, axis or group; the nearest names are listed.
    """
    subjects = [_subject(groups, text) for text in asked]
    axes = {subject.name: groups.spell(subject.type) for subject in subjects}
    ops = couplings(groups.inferred)
    first, last = subjects[0], subjects[-1]
    shared = [factor for factor in dict.fromkeys(factors_of(first.type)) if factor in factors_of(last.type)]
    found = [groups.by_factor[factor] for factor in shared if factor in groups.by_factor]
    if len(subjects) == 1:
        return Explanation(axes=axes, groups=tuple(_facts(groups, ops, group, first) for group in found))
    return Explanation(axes=axes, chains=tuple(_chain(ops, group, first, last) for group in found))


def parse_axis(text: tuple[str, int] | str) -> tuple[str, int]:
    """Read ``"encoder.layer.0.dense.weight:1"``, or the same with ``[1]``.

    Raises:
        AnalysisError: the text has another form.
    """
    if isinstance(text, tuple):
        return text
    match = _AXIS.fullmatch(text.strip())
    if match is None:
        raise AnalysisError(f"{text!r} names no axis", remedy="write it as 'parameter.name:axis', with axes from 0")
    return match["name"], int(match["axis"] or match["dim"])


def _subject(groups: Groups, asked: tuple[str, int] | str) -> _Subject:
    if isinstance(asked, str) and asked in groups:
        group = groups[asked]
        places: list[Place] = [("tensor", member.tensor, member.axis) for member in group.members]
        return _Subject(asked, (group.factor,), tuple(places))
    if isinstance(asked, str) and not _AXIS.fullmatch(asked.strip()):
        raise _no_axis(groups, asked)
    name, dim = parse_axis(asked)
    type_ = groups.axis(name, dim)
    return _Subject(f"{name}[{dim}]", type_, (("tensor", groups.canonical(name), dim),))


def _no_axis(groups: Groups, asked: str) -> AnalysisError:
    """A text without a number: a parameter, or the name of a group that does not exist."""
    inferred = groups.inferred
    if asked in inferred.tensors or asked in inferred.aliases:
        rank = len(inferred.tensors[groups.canonical(asked)])
        return AnalysisError(f"{asked!r} has {rank} axes", remedy=f"say which, as in '{asked}:0'")
    names = [group.name for group in groups]
    if not nearest(asked, names, 1):
        names += [f"{member.tensor}:{member.axis}" for group in groups for member in group.members]
    return AnalysisError(
        unknown_name("group", asked, names), remedy="name a group, or an axis as 'parameter.name:axis', from 0"
    )


def _facts(groups: Groups, ops: Couplings, group: Group, asked: _Subject) -> GroupFacts:
    return GroupFacts(
        name=group.name,
        role=group.role,
        size=group.size,
        members=tuple(map(str, group.members)),
        frozen=tuple(_reasons(groups, ops, group.factor, asked)) if group.frozen else (),
    )


def _reasons(groups: Groups, ops: Couplings, factor: Factor, asked: _Subject) -> Iterable[Reason]:
    """Yield every reason once, each with the nearest node that gives it."""
    flow = flow_of(ops, factor)
    said: dict[str, list[Node]] = {}
    for axis, reason, node in groups.inferred.freezes:
        if factor in factors_of(axis):
            said.setdefault(reason, []).append(node)
    start = next((place for place in asked.places if place in flow), None)
    ways = nx.single_source_shortest_path(flow, start) if start is not None else {}
    for reason, nodes in said.items():
        paths = {node: _path_to(node, ways) for node in nodes}
        reached = {node: path for node, path in paths.items() if path is not None}
        node = min(reached, key=lambda found: len(reached[found]), default=nodes[0])
        steps = [step for step in _steps(reached.get(node, [])) if step.node != node.name]
        yield Reason(reason=reason, at=Step.of(node), way=tuple(steps))


def _path_to(node: Node, ways: dict[Place, list[Place]]) -> list[Place] | None:
    """Return the shortest way to an op, or to a value it takes or makes."""
    read = {str(other.target) for other in node.all_input_nodes if other.op == "get_attr"}
    near = {node, *node.all_input_nodes, *read}
    ends = [path for place, path in ways.items() if _node_of(place) in near]
    return min(ends, key=len, default=None)


def _node_of(place: Place) -> object:
    """Return the node a place is at; the name of a tensor, which has one for every reader."""
    return place[1][0] if place[0] == "value" and isinstance(place[1], tuple) else place[1]


def _chain(ops: Couplings, group: Group, first: _Subject, last: _Subject) -> Chain:
    if set(first.places) & set(last.places):
        note = "the same axis" if len(first.places) == len(last.places) == 1 else "the group holds this axis"
        return Chain(group=group.name, size=group.size, note=note)
    flow = flow_of(ops, group.factor)
    paths = nx.single_source_shortest_path(flow, next(place for place in first.places if place in flow))
    path = min((paths[place] for place in last.places if place in paths), key=len)
    return Chain(group=group.name, size=group.size, steps=_steps(path))


def _steps(path: Iterable[Place]) -> tuple[Step, ...]:
    return tuple(Step.of(place[1]) for place in path if place[0] == "op" and isinstance(place[1], Node))
