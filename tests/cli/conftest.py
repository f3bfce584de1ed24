"""A directory for each test, and a proxy that answers as a script says, for tests of ctl."""

import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from sozu_trio.config.addresses import Address
from tests.addresses import free_address
from tests.cli.scripted import ScriptedProxy


@pytest.fixture(autouse=True)
def in_its_own_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a word about it, the control socket and what belongs to it are in the current directory."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def demonstrated(monkeypatch: pytest.MonkeyPatch) -> tuple[Address, Address]:
    """Where the demonstration listens, in place of ports that may be taken: by HTTP and by HTTPS."""
    address, secure = free_address(), free_address()
    monkeypatch.setattr("sozu_trio.cli.demo.ADDRESS", str(address))
    monkeypatch.setattr("sozu_trio.cli.demo.SECURE_ADDRESS", str(secure))
    return address, secure


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[ScriptedProxy]:
    with ScriptedProxy(tmp_path / "sozu.sock") as scripted:
        yield scripted


@pytest.fixture(autouse=True)
def rights_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `serve` gives up for good in a process of its own, the process of the tests still needs."""
    monkeypatch.setattr(importlib.import_module("sozu_trio.cli.serve"), "give_up_rights", lambda: None)
