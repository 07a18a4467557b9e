"""One forking process, and one undisturbed run of each kind, for all tests of faults."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from faults.harness import Nursery, Trial, nursery


@pytest.fixture(scope="session")
def forked() -> Iterator[Nursery]:
    with nursery() as found:
        yield found


@pytest.fixture(scope="session")
def in_python(forked: Nursery, tmp_path_factory: pytest.TempPathFactory) -> Trial:
    return Trial.in_python(forked, tmp_path_factory.mktemp("in_python"))


@pytest.fixture(scope="session")
def at_the_command_line(forked: Nursery, tmp_path_factory: pytest.TempPathFactory) -> Trial:
    return Trial.of_a_command(forked, tmp_path_factory.mktemp("command"))
