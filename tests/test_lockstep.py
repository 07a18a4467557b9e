"""Two states of a graph: the one of before survives the cut, and values live no longer than they are read."""

from __future__ import annotations

import copy

import torch
from models import inputs_of, traced_of
from zoo.cutting import halves

from fxprune.lockstep import State, Walk, nodes_until
from fxprune.student import Student
from fxprune.verify.compare import output_tensors


def test_both_states_compute_what_their_models_do() -> None:
    dense = traced_of("bert")
    student = Student(copy.deepcopy(dense))
    before = State(student.traced)
    student.cut(halves(student.groups, ragged=False))
    gm, kwargs = student.traced, [inputs_of("bert"), inputs_of("bert", 3, 9)]
    last = next(node for node in gm.graph.nodes if node.name == "linear_13")
    old, new = (Walk(state, gm, kwargs, last) for state in (before, State(gm)))
    alive = []
    with torch.no_grad():
        for node in nodes_until(gm, last):
            got = [walk.step(node) for walk in (old, new)]
            alive.append(sum(name not in new.state.tensors for name in new.values))
            for walk in (old, new):
                walk.free(node)
        for model, values in zip((dense, student.traced), got, strict=True):
            for given, value in zip(kwargs, values, strict=True):
                torch.testing.assert_close(value, output_tensors(model(**given))[0])
    assert max(alive) < len(alive) / 3


def test_a_call_takes_other_operands() -> None:
    gm = traced_of("fused_glu")
    last = next(node for node in gm.graph.nodes if node.name == "linear_1")
    walk = Walk(State(gm), gm, [inputs_of("fused_glu")], last)
    with torch.no_grad():
        for node in nodes_until(gm, last):
            walk.step(node)
        weight = last.args[1].name
        doubled = walk.call(last, 0, {weight: 2 * walk.values[weight][0]})
        bias = walk.values[last.args[2].name][0]
        torch.testing.assert_close(doubled - bias, 2 * (walk.values[last.name][0] - bias))


def test_inputs_are_not_written_to() -> None:
    gm = traced_of("fused_glu")
    given = inputs_of("fused_glu")
    walk = Walk(State(gm), gm, [given], next(iter(gm.graph.nodes)))
    (value,) = walk.step(next(iter(gm.graph.nodes)))
    value.zero_()
    assert given["x"].any()
