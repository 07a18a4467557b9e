"""The dependency graph as SVG: groups in the middle, the modules they couple around them, equal layers folded."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from colorsys import hls_to_rgb
from html import escape

from fxprune.cli.render import folded
from fxprune.groups import Group, Groups

ROW, WIDTH, PAD = 22, 460, 24


def to_svg(groups: Groups) -> str:
    """Draw which modules each group couples; layers that differ only in their number are one line.

    Left are the groups with their sizes (frozen ones grey), right the parameter axes they hold.
    """
    families: dict[tuple[str, int, bool], list[Group]] = defaultdict(list)
    for group in groups:
        families[folded(group.name), group.size, group.frozen is not None].append(group)
    axes = list(dict.fromkeys(folded(str(m)) for family in families.values() for g in family for m in g.members))
    left = {key: PAD + 40 + i * (len(axes) * ROW / max(len(families), 1)) for i, key in enumerate(families)}
    right = {axis: PAD + 40 + i * ROW for i, axis in enumerate(axes)}
    height = PAD * 2 + 60 + max(len(axes), len(families)) * ROW
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH * 2 + 280}" height="{height:.0f}" '
        'font-family="monospace" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="{PAD}" y="{PAD}" font-weight="bold">group (units)</text>',
        f'<text x="{WIDTH + 220}" y="{PAD}" font-weight="bold">parameter axes it holds</text>',
    ]
    for i, (key, family) in enumerate(families.items()):
        parts += _family(i, key, family, left[key], right)
    parts += [f'<text x="{WIDTH + 220}" y="{y + 4:.0f}">{escape(axis)}</text>' for axis, y in right.items()]
    return "\n".join([*parts, "</svg>", ""])


def _colour(place: int) -> str:
    """Return a dark colour, far from those of its neighbours; as hex, which every viewer knows."""
    red, green, blue = hls_to_rgb(place * 47 % 360 / 360, 0.38, 0.65)
    return f"#{round(red * 255):02x}{round(green * 255):02x}{round(blue * 255):02x}"


def _family(
    place: int, key: tuple[str, int, bool], family: list[Group], y: float, right: Mapping[str, float]
) -> list[str]:
    name, size, frozen = key
    colour = "#999999" if frozen else _colour(place)
    times = f" x {len(family)}" if len(family) > 1 else ""
    label = f'<text x="{PAD}" y="{y + 4:.0f}" fill="{colour}">{escape(name)} ({size}){times}</text>'
    ends = sorted({right[folded(str(member))] for group in family for member in group.members})
    curves = [
        f'<path d="M {WIDTH} {y:.0f} C {WIDTH + 110} {y:.0f}, {WIDTH + 110} {end:.0f}, {WIDTH + 215} {end:.0f}" '
        f'fill="none" stroke="{colour}" stroke-opacity="0.7"/>'
        for end in ends
    ]
    why = family[0].frozen
    title = f"<title>{escape(str(why))}</title>" if why else ""
    return [f"<g>{title}{label}{''.join(curves)}</g>"]
