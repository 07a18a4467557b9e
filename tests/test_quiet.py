"""What libraries narrate is swallowed, and only inside the block."""

from __future__ import annotations

import logging
import warnings

import pytest

from fxprune.quiet import quiet

pytestmark = pytest.mark.captures


def test_nothing_gets_out(capfd, caplog):
    with quiet():
        print("print")
        logging.getLogger("torch").error("log")
        warnings.warn("warning", stacklevel=1)
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []


def test_errors_get_out_and_logging_is_back():
    before = logging.root.manager.disable
    with pytest.raises(ValueError, match="real"), quiet():
        raise ValueError("real")
    assert logging.root.manager.disable == before
