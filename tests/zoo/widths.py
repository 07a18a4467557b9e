"""Which widths of a model can be narrowed: attention, the residual stream, the feed-forward layers; and why not."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from fxprune.attention import attention_sites
from fxprune.axes import Axis, Factor, factors_of
from fxprune.calls import module_of
from fxprune.groups import Group, Groups
from fxprune.traced import Traced, tensor_of

# what stays in every model: its interface, tables indexed by data, and the extent of filters and pictures
_INTERFACE = ("model output", "model input", "rows are picked by data", "a filter slides", "a slice of symbolic length")
ATTENTION_ROLES = {"heads", "queries per key", "qk", "value"}


@dataclass(frozen=True, slots=True)
class Width:
    """One kind of width: in how many places it is, in how many it can be narrowed, and why not in the others."""

    places: int
    narrowed: int
    reasons: tuple[str, ...]

    @property
    def all(self) -> bool:
        """Whether it is narrowed everywhere; also where the model has none."""
        return self.narrowed == self.places

    def __str__(self) -> str:
        return "-" if not self.places else "all" if self.all else f"{self.narrowed}/{self.places}"


def widths(dense: Traced, groups: Groups) -> dict[str, Width]:
    """Return attention, stream and FFN of a dense model with its groups."""
    return {"attention": _attention(dense, groups), "stream": _stream(groups), "FFN": _inner(dense, groups)}


def _attention(dense: Traced, groups: Groups) -> Width:
    """Each place that attends has two widths: of queries and keys, and of values; heads count for both."""
    sites = attention_sites(dense, groups.inferred)
    blocked = []
    for site in sites:
        for inner in (site.qk, site.value):
            if not _any_free(groups, (*site.heads, *inner)):
                blocked.append((site, inner))
    reasons = [_reason(groups, (*site.heads, *inner), module_of(site.node)) for site, inner in blocked]
    return Width(2 * len(sites), 2 * len(sites) - len(blocked), _distinct(reasons))


def _stream(groups: Groups) -> Width:
    """Whatever is normalised over, between the blocks."""
    return _of_groups([group for group in groups if group.role == "hidden" and group.size > 1])


def _inner(dense: Traced, groups: Groups) -> Width:
    """What one weight matrix makes and another takes, and is neither attention nor stream."""
    sites = attention_sites(dense, groups.inferred)
    attended = {f for site in sites for axis in (*site.heads, *site.qk, *site.value) for f in factors_of(axis)}
    found = []
    for group in groups:
        matrices = [member for member in group.members if tensor_of(dense, member.tensor).ndim > 1]
        between = len({member.tensor for member in matrices}) > 1 and len({member.axis for member in matrices}) > 1
        if (
            between
            and group.size > 1
            and group.factor not in attended
            and group.role not in {"hidden", *ATTENTION_ROLES}
        ):
            found.append(group)
    return _of_groups(found)


def _of_groups(found: Iterable[Group]) -> Width:
    kept = [group for group in found if group.frozen is None or not group.frozen.reason.startswith(_INTERFACE)]
    blocked = [group for group in kept if group.frozen is not None]
    return Width(len(kept), len(kept) - len(blocked), _distinct(str(group.frozen) for group in blocked))


def _any_free(groups: Groups, axes: Iterable[Axis]) -> bool:
    prunable = {group.factor for group in groups.prunable}
    return any(factor in prunable for axis in axes for factor in factors_of(axis))


def _reason(groups: Groups, axes: Iterable[Axis], module: str) -> str:
    by_factor: dict[Factor, Group] = groups.by_factor
    held = [by_factor[factor] for axis in axes for factor in factors_of(axis) if factor in by_factor]
    reasons = [str(group.frozen) for group in held if group.frozen]
    return reasons[0] if reasons else f"no weight holds the heads or dims of {module}"


def _distinct(reasons: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(reasons))


def lost(dense: Traced, groups: Groups) -> dict[str, int]:
    """Return reason -> weights on frozen axes that are no interface, most first."""
    found: dict[str, int] = defaultdict(int)
    for group in groups:
        if group.frozen and group.size > 1 and not group.frozen.reason.startswith(_INTERFACE):
            found[group.frozen.reason] += sum(tensor_of(dense, member.tensor).numel() for member in group.members)
    return dict(sorted(found.items(), key=lambda item: -item[1]))
