"""Nobody writes to our standard error by asking for a name that is none."""

import gc
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from sozu_trio.config.tls_settings import TlsSettings
from sozu_trio.routing.resolver import NO_CERTIFICATES
from sozu_trio.tls.contexts import ServerContexts
from sozu_trio.tls.garbage_names import drop_lines_about_garbage_names
from tests.tls.parts import issue
from tests.tls.peers import ask_openssl


@pytest.fixture
def reported(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Types of what is reported, in place of standard error."""
    kept: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: kept.append(unraisable.exc_type))
    yield kept
    gc.collect()


def ask_for_garbage() -> str:
    contexts = ServerContexts(TlsSettings(), NO_CERTIFICATES.with_default(issue("a.example").read()))
    text, served = ask_openssl(contexts, "-servername", "b\u00fccher.example")
    assert served is None
    return text


def test_garbage_is_refused_without_a_word(reported: list[Any]) -> None:
    ask_for_garbage()
    assert reported == [UnicodeDecodeError]
    drop_lines_about_garbage_names()
    assert "alert internal error" in ask_for_garbage()
    assert reported == [UnicodeDecodeError]


def test_everything_else_is_reported(reported: list[Any]) -> None:
    class Broken:
        def __del__(self) -> None:
            raise UnicodeDecodeError("ascii", b"", 0, 1, "not about a name")

    drop_lines_about_garbage_names()
    Broken()
    gc.collect()
    assert reported == [UnicodeDecodeError]
