"""The dependency graph as SVG: groups in the middle, the modules they couple around them, equal layers folded."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from colorsys import hls_to_rgb
from html import escape

from fxprune.cli.render import folded
from fxprune.groups import Group, Groups

ROW, PAD, GAP, LETTER = 22, 24, 215, 7.3  # pixels: a line, the margin, between the columns, a letter


def to_svg(groups: Groups) -> str:
    """Draw which modules each group couples; layers that differ only in their number are one line.

    Left are the groups with their sizes (frozen ones grey, with the reason), right the parameter axes they hold.
    """
    families: dict[tuple[str, int, bool], list[Group]] = defaultdict(list)
    for group in groups:
        families[folded(group.name), group.size, group.frozen is not None].append(group)
    axes = list(dict.fromkeys(folded(str(m)) for family in families.values() for g in family for m in g.members))
    rows = max(len(axes), 2 * len(families))
    left = {key: PAD + 40 + i * (rows * ROW / max(len(families), 1)) for i, key in enumerate(families)}
    right = {axis: PAD + 40 + i * ROW for i, axis in enumerate(axes)}
    start = PAD * 1.5 + LETTER * max((len(line) for key in families for line in _label(key, families[key])), default=0)
    width = start + GAP + PAD + LETTER * max(map(len, axes), default=0)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{PAD * 2 + 60 + rows * ROW:.0f}" '
        'font-family="monospace" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="{PAD}" y="{PAD}" font-weight="bold">group (units)</text>',
        f'<text x="{start + GAP + 5:.0f}" y="{PAD}" font-weight="bold">parameter axes it holds</text>',
    ]
    for i, (key, family) in enumerate(families.items()):
        parts += _family(i, key, family, (start, left[key]), right)
    parts += [f'<text x="{start + GAP + 5:.0f}" y="{y + 4:.0f}">{escape(axis)}</text>' for axis, y in right.items()]
    return "\n".join([*parts, "</svg>", ""])


def _label(key: tuple[str, int, bool], family: list[Group]) -> list[str]:
    """Return the name of a family of groups, and why it is frozen."""
    times = f" x {len(family)}" if len(family) > 1 else ""
    why = family[0].frozen
    return [f"{key[0]} ({key[1]}){times}", *([why.reason] if why else [])]


def _colour(place: int) -> str:
    """Return a dark colour, far from those of its neighbours; as hex, which every viewer knows."""
    red, green, blue = hls_to_rgb(place * 47 % 360 / 360, 0.38, 0.65)
    return f"#{round(red * 255):02x}{round(green * 255):02x}{round(blue * 255):02x}"


def _family(
    place: int,
    key: tuple[str, int, bool],
    family: list[Group],
    at: tuple[float, float],
    right: Mapping[str, float],
) -> list[str]:
    colour = "#999999" if key[2] else _colour(place)
    x, y = at
    labels = [
        f'<text x="{PAD}" y="{y + 4 + 14 * line:.0f}" fill="{colour}">{escape(text)}</text>'
        for line, text in enumerate(_label(key, family))
    ]
    ends = sorted({right[folded(str(member))] for group in family for member in group.members})
    middle = x + GAP / 2
    curves = [
        f'<path d="M {x:.0f} {y:.0f} C {middle:.0f} {y:.0f}, {middle:.0f} {end:.0f}, {x + GAP:.0f} {end:.0f}" '
        f'fill="none" stroke="{colour}" stroke-opacity="0.7"/>'
        for end in ends
    ]
    why = family[0].frozen
    title = f"<title>{escape(str(why))}</title>" if why else ""
    return [f"<g>{title}{''.join(labels)}{''.join(curves)}</g>"]
