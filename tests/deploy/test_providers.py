"""Providers by short names; one that is not there is told with those that are."""

from __future__ import annotations

import pytest

from fxprune.deploy.ort import open_session
from fxprune.deploy.providers import check_used, find_provider, installed_providers
from fxprune.errors import UsageError


def test_any_spelling_finds_a_provider():
    assert {find_provider(name) for name in ("cpu", "CPU", "CPUExecutionProvider")} == {"CPUExecutionProvider"}
    assert "cpu" in installed_providers()


def test_a_provider_that_is_missing_lists_the_installed_ones(tmp_path):
    with pytest.raises(UsageError, match="this ONNX Runtime has no provider 'abacus'") as refusal:
        open_session(tmp_path / "none.onnx", provider="abacus")
    assert ", ".join(installed_providers()) in str(refusal.value.cause)
    assert "--provider cpu" in str(refusal.value.remedy)


def test_a_provider_that_does_not_start_is_no_silent_fallback():
    with pytest.raises(UsageError, match="the provider 'cuda' is installed and does not start"):
        check_used(["CPUExecutionProvider"], "CUDAExecutionProvider")
