"""What a backend is asked to switch to, and what it may switch to."""

import pytest

from sozu_trio.config.limits import HeadLimits
from sozu_trio.proxy.upgrades import wanted_upgrade, was_asked_for
from sozu_trio.wire.request import RequestParser
from tests.proxy.parts import request

PROTOCOLS = frozenset({b"websocket", b"chat"})


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        ("websocket", b"websocket"),
        ("WebSocket , h2c,\tCHAT", b"WebSocket, CHAT"),
        ("h2c", b""),
        ("", b""),
        (",,", b""),
    ],
)
def test_only_what_is_let_through_is_asked_for(asked: str, wanted: bytes) -> None:
    head = RequestParser(HeadLimits()).parse(request("GET /", "Connection: upgrade", f"Upgrade: {asked}"))
    assert head is not None
    assert wanted_upgrade(head, PROTOCOLS) == wanted


def test_nothing_is_asked_for_with_a_body() -> None:
    fields = ("Connection: upgrade", "Upgrade: websocket", "Content-Length: 1")
    head = RequestParser(HeadLimits()).parse(request("POST /", *fields))
    assert head is not None
    assert wanted_upgrade(head, PROTOCOLS) == b""


@pytest.mark.parametrize(
    ("chosen", "asked", "good"),
    [
        (b"websocket", b"WebSocket, chat", True),
        (b" CHAT\t", b"WebSocket, chat", True),
        (b"h2c", b"WebSocket, chat", False),
        (b"", b"websocket", False),
        (b"", b"", False),
        (b"websocket", b"", False),
        (b"websocket, chat", b"websocket, chat", False),
    ],
)
def test_a_backend_may_choose_what_it_was_asked_for(chosen: bytes, asked: bytes, good: bool) -> None:
    assert was_asked_for(chosen, asked) is good
