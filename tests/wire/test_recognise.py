"""The recogniser: what it takes in one go, and what it leaves to the judge. That both agree is in test_request.py."""

import pytest

from sozu_trio.config.limits import HeadLimits
from sozu_trio.wire.recognise import RequestParts, ResponseParts, recognise_request, recognise_response

LIMITS = HeadLimits(head=100, request_line=30, fields=2)


def test_an_ordinary_request() -> None:
    buffer = b"GET /?a HTTP/1.0\r\nHost: a\r\nx: b \tc\r\n\r\nrest"
    parts = RequestParts(b"GET", b"/?a", 0, [b"Host: a", b"x: b \tc"], len(buffer) - 4)
    assert recognise_request(buffer, LIMITS) == parts


def test_no_fields() -> None:
    assert recognise_request(b"GET / HTTP/1.1\r\n\r\n", LIMITS) == RequestParts(b"GET", b"/", 1, [], 18)


@pytest.mark.parametrize(
    "buffer",
    [
        b"",
        b"GET / HTTP/1.1\r\nA: b\r\n",
        b"GET / HTTP/1.1\r\nA: b \r\n\r\n",
        b"GET / HTTP/1.1\r\nA: \r\n\r\n",
        b"GET / HTTP/1.1\r\nA : b\r\n\r\n",
        b"GET / HTTP/1.1\r\nA:b\r\n\r\n",
        b"GET / HTTP/1.1\r\nA:\tb\r\n\r\n",
        b"GET / HTTP/1.1\r\nA:  b\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: \tb\r\n\r\n",
        b"GET / HTTP/1.1\r\nA:\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: b\n\r\n\r\n",
        b"GET / HTTP/1.1\nA: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: b\rc\r\n\r\n",
        b"GET / HTTP/1.2\r\n\r\n",
        b"\r\nGET / HTTP/1.1\r\n\r\n",
        b"GET /" + b"a" * 20 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: b\r\nA: b\r\nA: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: " + b"b" * 100 + b"\r\n\r\n",
    ],
)
def test_requests_left_to_the_judge(buffer: bytes) -> None:
    assert recognise_request(buffer, LIMITS) is None


def test_the_head_s_limit_holds_below_the_request_line_s() -> None:
    assert recognise_request(b"GET /aaa HTTP/1.1\r\n\r\n", HeadLimits(head=20, request_line=30)) is None


def test_an_ordinary_response() -> None:
    buffer = b"HTTP/1.1 404 Not Found\r\nA: b\r\n\r\nrest"
    parts = ResponseParts(1, 404, b"Not Found", [b"A: b"], len(buffer) - 4)
    assert recognise_response(buffer, LIMITS) == parts


@pytest.mark.parametrize(
    "buffer",
    [
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200\r\n\r\n",
        b"HTTP/1.1 099 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\r\nA: b\r\nA: b\r\n\r\n",
        b"HTTP/1.1 200 " + b"a" * 100 + b"\r\n\r\n",
    ],
)
def test_responses_left_to_the_judge(buffer: bytes) -> None:
    assert recognise_response(buffer, LIMITS) is None
