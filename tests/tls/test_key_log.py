"""Secrets of TLS sessions, as OpenSSL has them, in a descriptor that somebody else has opened."""

import logging
import os
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from sozu_trio.config.tls_settings import TlsSettings
from sozu_trio.routing.resolver import NO_CERTIFICATES
from sozu_trio.tls.contexts import ServerContexts
from sozu_trio.tls.key_log import KeyLog
from tests.tls.parts import issue
from tests.tls.peers import client_context, connect

RESOLVER = NO_CERTIFICATES.amended(add=[issue("a.example").read(), issue("b.example").read()])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keys"


@pytest.fixture
def descriptor(file: Path) -> Iterator[int]:
    opened = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    yield opened
    os.close(opened)


@pytest.fixture
def key_log(descriptor: int) -> Iterator[KeyLog]:
    made = KeyLog(descriptor)
    yield made
    made.close()


def randoms(text: str) -> set[str]:
    """What tells sessions from one another."""
    return {line.split()[1] for line in text.splitlines() if not line.startswith("#")}


def come(contexts: ServerContexts, name: str, own: Path | None = None) -> None:
    """A client; `own` is its own log."""
    context = client_context()
    if own is not None:
        context.keylog_filename = str(own)
    for end in connect(contexts, name, context=context):
        end.close()


def test_the_client_has_the_same(key_log: KeyLog, file: Path, tmp_path: Path) -> None:
    contexts = ServerContexts(TlsSettings(), RESOLVER, key_log=key_log)
    come(contexts, "a.example", tmp_path / "client")
    assert file.read_text() == ""
    key_log.pass_on()
    theirs = {line for line in (tmp_path / "client").read_text().splitlines() if not line.startswith("#")}
    assert len(theirs) == 5
    assert set(file.read_text().splitlines()) == theirs


def test_each_context_writes_and_nothing_is_written_twice(key_log: KeyLog, file: Path) -> None:
    contexts = ServerContexts(TlsSettings(versions=("TLS_V12",)), RESOLVER, key_log=key_log)
    for number, name in enumerate(("a.example", "b.example", "a.example"), 1):
        come(contexts, name)
        key_log.pass_on()
        key_log.pass_on()
        assert len(file.read_text().splitlines()) == len(randoms(file.read_text())) == number
    contexts.change(TlsSettings(versions=("TLS_V13",)))
    come(contexts, "a.example")
    key_log.pass_on()
    assert len(randoms(file.read_text())) == 4


def test_without_one_nothing_is_written_whatever_the_environment_says(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSLKEYLOGFILE", str(file))
    come(ServerContexts(TlsSettings(), RESOLVER), "a.example")
    assert not file.exists()
    assert ssl.create_default_context().keylog_filename == str(file)


def test_a_target_that_fails_costs_lines_and_one_warning(caplog: pytest.LogCaptureFixture, file: Path) -> None:
    file.touch()
    descriptor = os.open(file, os.O_RDONLY)
    key_log = KeyLog(descriptor)
    contexts = ServerContexts(TlsSettings(), RESOLVER, key_log=key_log)
    for _ in range(2):
        come(contexts, "a.example")
        key_log.pass_on()
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "Bad file descriptor" in caplog.text
    key_log.close()
    os.close(descriptor)


def test_where_a_context_cannot_be_followed_it_serves_all_the_same(
    caplog: pytest.LogCaptureFixture, descriptor: int, file: Path
) -> None:
    key_log = KeyLog(descriptor)
    key_log.close()
    come(ServerContexts(TlsSettings(), RESOLVER, key_log=key_log), "a.example")
    assert "will be missing from the key log" in caplog.text
    assert file.read_text() == ""
