"""The tables of `latency_plan.py`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def to_markdown(found: Mapping[str, Any]) -> str:
    """Return the tables."""
    lines = [found["machine"], ""]
    if found["sizes"]:
        lines += [
            "| parameters | shape | threads | uniform ms | by latency ms | faster | over the stock teacher | FLOPs |"
        ]
        lines += ["|---|---|---|---|---|---|---|---|"]
    for row in found["sizes"]:
        _, even, fast = row["ms"].values()
        low, high = row["faster range"]
        lines.append(
            f"| {row['size']} | {row['at']} | {row['threads']} | {even[1]:.2f} ({even[0]:.2f}-{even[2]:.2f}) "
            f"| {fast[1]:.2f} ({fast[0]:.2f}-{fast[2]:.2f}) | {row['faster']:.2f}x ({low:.2f}-{high:.2f}) "
            f"| {row['speed-up']:.2f}x | 1/{row['flop ratio']:.2f} |"
        )
    for size in dict.fromkeys(row["size"] for row in found["sizes"]):
        row = next(row for row in found["sizes"] if row["size"] == size)
        for name, widths in row["widths"].items():
            lines.append(f"\n{size} {name}: {widths}, {row['params'][name]:,} parameters")
    if found["targets"]:
        lines += [
            "",
            "| target | shape | widths | parameters | predicted | ONNX file | of the target |",
            "|---|---|---|---|---|---|---|",
        ]
    for row in found["targets"]:
        low, median, high = row["again"]
        lines.append(
            f"| {row['target']} | {row['at']} | {row['widths']} | {row['params']:,} | {row['predicted']:.2f} ms "
            f"| {median:.2f} ms ({low:.2f}-{high:.2f}) | {row['of target']:.2f} |"
        )
    return "\n".join(lines)
