from __future__ import annotations

import socket
import threading
import time

import pytest
from huggingface_hub import constants

from fxprune import hub


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    hub._answers.cache_clear()
    monkeypatch.setattr(hub, "getproxies", dict)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)


def test_names_of_the_hub_are_told_from_paths() -> None:
    assert all(map(hub.is_hub_name, ["gpt2", "owner/name", "a-b/c_d.e"]))
    assert not any(map(hub.is_hub_name, ["/a/b", "./a", "a/b/c", "~/a", "a b", ""]))


def test_a_refused_connection_means_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "create_connection", refuse)
    assert hub.offline()
    assert hub.offline_remedy() == "connect to the network, or give a local folder"


def test_a_hub_that_never_answers_is_given_up_after_three_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()

    def wait(*_: object, **__: object) -> socket.socket:
        release.wait(20)
        return socket.socket()

    monkeypatch.setattr(socket, "create_connection", wait)
    started = time.perf_counter()
    assert hub.offline()
    assert time.perf_counter() - started < 10
    release.set()


def test_an_answer_means_online(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = socket.socketpair()
    monkeypatch.setattr(socket, "create_connection", lambda *_, **__: ours)
    assert not hub.offline()
    theirs.close()


def test_behind_a_proxy_nothing_is_probed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "getproxies", lambda: {"https": "http://proxy:3128"})
    monkeypatch.delattr(socket, "create_connection")
    assert not hub.offline()


def test_the_environment_may_forbid_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.delattr(socket, "create_connection")
    assert hub.offline()
    assert hub.offline_remedy().startswith("unset HF_HUB_OFFLINE")


def test_the_verbosity_comes_back() -> None:
    from transformers.utils import logging

    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    with hub.quiet():
        assert not logging.is_progress_bar_enabled()
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before
