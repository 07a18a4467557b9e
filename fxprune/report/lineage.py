"""What is known of teacher and data beyond their content: names on the hub, and the license a card states."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from fxprune.hub import is_hub_name, offline
from fxprune.sources import DEMO

CARD = "README.md"
_FENCE = "---"


def teacher_facts(name: str) -> dict[str, Any]:
    """Return where the teacher can be had, and its license, for JSON; what its card does not say is None.

    Args:
        name: of the model, as the user gave it.
    """
    folder = Path(name).expanduser()
    local = name == DEMO or folder.exists() or not is_hub_name(name)
    stated = front_matter(_card(name, folder, local))
    bases = stated.get("base_model")
    base = bases[0] if isinstance(bases, list) and len(bases) == 1 else bases
    return {
        "hub_name": None if local else name,
        "base_model": base if isinstance(base, str) and is_hub_name(base) else None,
        "license": _text(stated, "license"),
        "license_name": _text(stated, "license_name"),
        "license_link": _text(stated, "license_link"),
    }


def data_facts(name: str | None) -> dict[str, Any]:
    """Return where the data can be had, for JSON.

    Args:
        name: of the data set, as the user gave it: ``owner/name:part``, files, or "demo".
    """
    owned = (name or "").partition(":")[0]
    public = owned.count("/") == 1 and is_hub_name(owned) and not Path(owned).expanduser().exists()
    return {"hub_name": owned if public else None}


def front_matter(card: str) -> Mapping[str, Any]:
    """Return the YAML between the two fences a model card opens with; empty if there is none that can be read.

    >>> front_matter("---\\nlicense: mit\\n---\\n# A model")
    {'license': 'mit'}
    """
    lines = card.lstrip("\ufeff").splitlines()
    if not lines or lines[0].strip() != _FENCE or _FENCE not in lines[1:]:
        return {}
    try:
        found = yaml.safe_load("\n".join(lines[1 : lines.index(_FENCE, 1)]))
    except yaml.YAMLError:
        return {}
    return found if isinstance(found, dict) else {}


def _card(name: str, folder: Path, local: bool) -> str:
    """Return the text of the teacher's card, or nothing: no run fails for want of it."""
    from huggingface_hub import hf_hub_download

    if name == DEMO:
        return ""
    try:
        path = folder / CARD if local else Path(hf_hub_download(name, CARD, local_files_only=offline()))
        return path.read_text(encoding="utf-8")
    except Exception:  # a hub without the file, and a network that fails, raise what their client likes
        return ""


def _text(stated: Mapping[str, Any], key: str) -> str | None:
    return stated[key] if isinstance(stated.get(key), str) else None
