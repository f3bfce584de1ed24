"""h11 as the second reader: it can only refuse, and it notices when it reads something else than we do."""

import pytest

from sozu_trio.errors import BadResponse, RequestRefused
from sozu_trio.wire.recognise import RequestParts, ResponseParts
from sozu_trio.wire.second_opinion import confirm_request, confirm_response

LINES = [b"Host: a", b"X: 1"]
REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n\r\n"
RESPONSE = b"HTTP/1.1 200 OK\r\nX: 1\r\n\r\n"


def test_both_read_the_same() -> None:
    confirm_request(REQUEST, RequestParts(b"GET", b"/", 1, LINES, 0))
    confirm_response(RESPONSE, ResponseParts(1, 200, b"OK", [b"X: 1"], 0), b"GET")


def test_lengths_and_codings_are_settled_before() -> None:
    head = b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n"
    lines = [b"Host: a", b"Content-Length: 1", b"Content-Length: 1"]
    confirm_request(head, RequestParts(b"GET", b"/", 1, lines, 0))
    head = b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n"
    confirm_request(head, RequestParts(b"GET", b"/", 1, [b"Host: a", b"Transfer-Encoding: Chunked"], 0))


def test_a_switch_of_protocols_is_a_response() -> None:
    head = b"HTTP/1.1 101 Go\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"
    confirm_response(head, ResponseParts(1, 101, b"Go", [b"Upgrade: x", b"Connection: upgrade"], 0), b"GET")


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: x\r\n\r\n", 501),
        (b"GET / HTTP/1.1\r\nHost: a\r\n", 400),
    ],
)
def test_what_h11_refuses_is_refused(head: bytes, status: int) -> None:
    with pytest.raises(RequestRefused) as refused:
        confirm_request(head, RequestParts(b"GET", b"/", 1, [], 0))
    assert refused.value.status == status


@pytest.mark.parametrize(
    "parts",
    [
        RequestParts(b"PUT", b"/", 1, LINES, 0),
        RequestParts(b"GET", b"/x", 1, LINES, 0),
        RequestParts(b"GET", b"/", 1, LINES[:1], 0),
        RequestParts(b"GET", b"/", 1, [b"Host: a", b"X: 2"], 0),
    ],
)
def test_a_request_read_in_two_ways_is_refused(parts: RequestParts) -> None:
    with pytest.raises(RequestRefused, match="another way"):
        confirm_request(REQUEST, parts)


@pytest.mark.parametrize(
    "parts",
    [
        ResponseParts(1, 201, b"OK", [b"X: 1"], 0),
        ResponseParts(1, 200, b"", [b"X: 1"], 0),
        ResponseParts(1, 200, b"OK", [], 0),
    ],
)
def test_a_response_read_in_two_ways_is_bad(parts: ResponseParts) -> None:
    with pytest.raises(BadResponse, match="another way"):
        confirm_response(RESPONSE, parts, b"GET")


@pytest.mark.parametrize("head", [b"HTTP/2.0.0 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\n"])
def test_what_h11_does_not_read_is_bad(head: bytes) -> None:
    with pytest.raises(BadResponse):
        confirm_response(head, ResponseParts(1, 200, b"OK", [], 0), b"GET")
