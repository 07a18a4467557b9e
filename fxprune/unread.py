"""Parameters of a model that no output of the captured call depends on: the slim model cannot hold their values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    from fxprune.traced import Traced

_NAMED = 4  # parts a note names


def unread_note(model: object, traced: Traced) -> str | None:
    """Say which parameters the graph does not read, as of a tower whose inputs the examples lack; None if it reads all.

    Args:
        model: that was captured; of an exported program nothing is known but what it reads.
        traced: its graph.
    """
    if not isinstance(model, nn.Module):
        return None
    read = {alias for names in traced.provenance.aliases.values() for alias in names}
    read |= {name for name, _ in traced.named_parameters(remove_duplicate=False)}
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    lost = sizes.keys() - read
    if not lost:
        return None
    parts = _parts(lost, set(sizes))
    named = ", ".join(parts[:_NAMED]) + (f" and {len(parts) - _NAMED} more" if len(parts) > _NAMED else "")
    count = sum(sizes[name] for name in lost)
    return f"{count:,} of {sum(sizes.values()):,} parameters take no part in this call and are not kept: {named}"


def _parts(lost: set[str], known: set[str]) -> list[str]:
    """Return the largest modules of which all parameters are lost, and the parameters lost beside them."""
    found = set()
    for name in lost:
        part = name
        while "." in part:
            parent = part.rpartition(".")[0]
            if any(other.startswith(f"{parent}.") for other in known - lost):
                break
            part = parent
        found.add(part)
    return sorted(found)
