"""Taps: the values a student is compared with its teacher on, found from the graph.

A block is what stands under a numbered module (``encoder.layer.3``). Its output is the value on a residual stream that
the rest of the model goes on with; what enters the first block is the embedding output; attention is tapped at its
queries and keys, or at its scores. Teacher and student are copies of one graph, so a tap has the same name in both.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from torch.fx import GraphModule, Node

from fxprune.attention import FUSED, Site, attention_sites
from fxprune.axes import Axis, Factor, resolve
from fxprune.calls import bound_arguments, is_tensor
from fxprune.groups import Groups
from fxprune.inference import output_values


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureTap:
    """A value on a residual stream: (batch, ..., width)."""

    kind: str  # "hidden" or "embedding"
    node: str
    block: str  # path of the block it leaves, or enters
    axis: Axis  # of its last dimension, shared with the groups
    output: bool = False  # whether the model returns it as features
    sequence: bool = True  # whether it has a vector for each token
    positions: str | None = None  # the input whose positions it has


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionTap:
    """One place where a block attends.

    Attributes:
        sources: queries (b, h, s, e) and keys (b, h', k, e), or the scores (b, h, s, k) alone.
        mask: of the fused op; where attention is written out, the scores with all that was added to them.
        causal: whether the fused op hides what comes later.
        scale: what it multiplies scores by.
        block: path of the block.
        heads: axis of the heads.
        positions: the input whose positions the queries have.
        written_out: keys are (b, h, e, k) then, and heads may be folded with the batch, (b h, s, e).
    """

    sources: tuple[str, ...]
    mask: str | None
    causal: bool = False
    scale: float = 1.0
    block: str
    heads: Axis
    positions: str | None = None
    written_out: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Taps:
    """All taps of one graph."""

    embedding: tuple[FeatureTap, ...]
    hidden: tuple[FeatureTap, ...]
    attention: tuple[AttentionTap, ...]

    @property
    def nodes(self) -> tuple[str, ...]:
        """Names of all nodes to expose, each once."""
        features = [tap.node for tap in (*self.embedding, *self.hidden)]
        attention = [name for tap in self.attention for name in (*tap.sources, tap.mask) if name]
        return tuple(dict.fromkeys([*features, *attention]))


def find_taps(gm: GraphModule, groups: Groups, features: Collection[int] = ()) -> Taps:
    """Find the taps of a captured graph.

    Args:
        gm: captured.
        groups: of it; a residual stream is a group that is normalised over.
        features: places of outputs that are features: they are taps too.
    """
    streams = {group.factor for group in groups if group.role == "hidden"}
    blocks = {node: block_of(node) for node in gm.graph.nodes}
    lengths, behind = _lengths(gm), _behind(gm, blocks)
    hidden: dict[str, FeatureTap] = {}
    embedding: dict[str, FeatureTap] = {}
    for node, block in blocks.items():
        axis = _stream(node, groups, streams)
        if axis is None:
            continue
        users = [user for user in node.users if user.op != "output" or block]
        if block and any(blocks[user] != block for user in users):
            hidden[block] = FeatureTap(
                kind="hidden", node=node.name, block=block, axis=axis, positions=_positions(node, lengths)
            )
        if not block and node not in behind:  # what a decoder looks back at is no embedding
            for entered in [blocks[user] for user in node.users if blocks[user] and blocks[user].endswith(".0")]:
                tap = FeatureTap(
                    kind="embedding", node=node.name, block=entered, axis=axis, positions=_positions(node, lengths)
                )
                embedding.setdefault(entered, tap)
    returned = {node.name for place, node in enumerate(output_values(gm)) if place in features}
    return Taps(
        embedding=tuple(embedding.values()),
        hidden=(
            *[replace(tap, output=tap.node in returned) for tap in hidden.values()],
            *_final(gm, groups, features, hidden, lengths),
        ),
        attention=tuple(
            attention
            for site in attention_sites(gm, groups.inferred)
            if (attention := _attention(site, blocks[site.node], groups, lengths)) is not None
        ),
    )


def block_of(node: Node) -> str:
    """Return the path of the outermost numbered module that owns `node`; empty outside of all blocks."""
    for path, _ in (node.meta.get("nn_module_stack") or {}).values():
        if path.rpartition(".")[2].isdigit():
            return str(path)
    return ""


def _lengths(gm: GraphModule) -> dict[str, str]:
    """Return the input each symbolic length belongs to: masks share the one of their ids."""
    found: dict[str, str] = {}
    for node in gm.graph.nodes:
        if node.op == "placeholder" and is_tensor(node) and node.meta["val"].ndim == 2:
            length = node.meta["val"].shape[1]
            if not isinstance(length, int) and "mask" not in str(node.target):
                found.setdefault(str(length), str(node.target))
    return found


def _positions(node: Node, lengths: Mapping[str, str], dim: int = 1) -> str | None:
    shape = node.meta["val"].shape
    return lengths.get(str(shape[dim])) if len(shape) > 2 else None


def _behind(gm: GraphModule, blocks: Mapping[Node, str]) -> set[Node]:
    """Return the nodes that are computed from what a block computes."""
    found: set[Node] = set()
    for node in gm.graph.nodes:
        if node.op == "call_function" and any(source in found or blocks[source] for source in node.all_input_nodes):
            found.add(node)
    return found


def _stream(node: Node, groups: Groups, streams: set[Factor]) -> Axis | None:
    """Return the last axis of a value that lies on a residual stream."""
    if node.op != "call_function" or not is_tensor(node) or node not in groups.inferred.axes:
        return None
    axes = groups.inferred.of(node)
    if len(axes) < 3 or not node.meta["val"].is_floating_point():
        return None
    last = resolve(axes[-1])
    return last if len(last) == 1 and last[0] in streams else None


def _final(
    gm: GraphModule,
    groups: Groups,
    features: Collection[int],
    hidden: Mapping[str, FeatureTap],
    lengths: Mapping[str, str],
) -> list[FeatureTap]:
    """Features the model returns count too: a final norm or a pooler may follow the last block."""
    taken = {tap.node for tap in hidden.values()}
    return [
        FeatureTap(
            kind="hidden",
            node=node.name,
            block="output",
            axis=groups.inferred.of(node)[-1],
            output=True,
            sequence=len(groups.inferred.of(node)) > 2,
            positions=_positions(node, lengths),
        )
        for place, node in enumerate(output_values(gm))
        if place in features and node.name not in taken
    ]


def _attention(site: Site, block: str, groups: Groups, lengths: Mapping[str, str]) -> AttentionTap | None:
    """Tap attention that is fused, or the scores of a softmax that has an axis of its own for the heads."""
    if site.node.target is not FUSED:
        return _written_out(site, block, groups, lengths)
    arguments = bound_arguments(site.node)
    query = arguments["query"]
    return AttentionTap(
        sources=(query.name, arguments["key"].name),
        mask=None if arguments["attn_mask"] is None else arguments["attn_mask"].name,
        causal=bool(arguments["is_causal"]),
        scale=arguments["scale"],
        block=block,
        heads=groups.inferred.of(query)[-3],
        positions=_positions(query, lengths, -2),
    )


def _written_out(site: Site, block: str, groups: Groups, lengths: Mapping[str, str]) -> AttentionTap | None:
    scores = site.node.args[0]
    if not isinstance(scores, Node) or scores.meta["val"].ndim != 4 or site.node.args[1] not in (-1, 3):
        return None
    batch, heads = (resolve(axis) for axis in groups.inferred.of(scores)[:2])
    shared = {factor for axis in site.heads for factor in resolve(axis)}
    if not shared.difference(batch).issuperset(heads):
        return None
    return AttentionTap(
        sources=_multiplied(site, groups, batch, heads) or (scores.name,),
        mask=scores.name,
        block=block,
        heads=heads,
        positions=_positions(scores, lengths, -2),
        written_out=True,
    )


def _multiplied(site: Site, groups: Groups, batch: Axis, heads: Axis) -> tuple[str, ...] | None:
    """Return queries and keys of the only product: what is added to it, such as a term of the distance, is no error."""
    if len(site.products) != 1:
        return None
    query, key = site.products[0].args[-2:]
    if not isinstance(query, Node) or not isinstance(key, Node):
        return None  # an einsum has its axes in any order
    *before, _, _ = groups.inferred.of(query)
    shared = [resolve(axis) for axis in before]
    return (query.name, key.name) if shared in ([batch, heads], [(*batch, *heads)]) else None
