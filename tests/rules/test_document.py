"""docs/rules.md is the rule table."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from fxprune.rules import known_ops

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def rules() -> ModuleType:
    spec = importlib.util.spec_from_file_location("rules_page", DOCS / "rules.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_up_to_date(rules: ModuleType) -> None:
    assert (DOCS / "rules.md").read_text() == rules.page(), "run make docs"


def test_every_op_stands_on_the_page(rules: ModuleType) -> None:
    page = rules.page()
    assert [op for op in known_ops() if f"`{rules._name(op)}`" not in page] == []
    assert "| `linear` | `... i, o i, o? -> ... o` |" in page
