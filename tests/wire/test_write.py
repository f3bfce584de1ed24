"""Heads as they go out, and that what was read and written again reads the same: nothing can be injected."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from sozu_trio.config.limits import HeadLimits
from sozu_trio.errors import BadResponse, RequestRefused
from sozu_trio.wire.heads import Field, Framing, RequestHead, ResponseHead
from sozu_trio.wire.request import RequestParser
from sozu_trio.wire.response import ResponseParser
from sozu_trio.wire.write import write_request, write_response

LIMITS = HeadLimits()


def read_request(buffer: bytes) -> RequestHead:
    head = RequestParser(LIMITS).parse(buffer)
    assert head is not None
    return head


def read_response(buffer: bytes) -> ResponseHead:
    head = ResponseParser(LIMITS, b"GET").parse(buffer)
    assert head is not None
    return head


def test_a_request() -> None:
    head = read_request(
        b"GET http://b/x HTTP/1.0\r\nAccept: */*\r\nHost: a\r\nX-Forwarded-For: 1\r\nConnection: close\r\n\r\n"
    )
    assert write_request(head, b"X-Forwarded-For: 2") == (
        b"GET /x HTTP/1.1\r\nHost: b\r\nAccept: */*\r\nX-Forwarded-For: 2\r\n\r\n"
    )


def test_bodies_of_requests() -> None:
    head = read_request(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 007\r\n\r\n")
    assert write_request(head) == b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 7\r\nExpect: 100-continue\r\n\r\n"
    head = read_request(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
    assert write_request(head) == b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    head = read_request(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
    assert write_request(head) == b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"


def test_upgrade_and_te() -> None:
    start = b"GET / HTTP/1.1\r\nHost: a\r\n"
    head = read_request(start + b"Connection: upgrade, te\r\nUpgrade: websocket, h2c\r\nTE: trailers, gzip\r\n\r\n")
    assert write_request(head) == start + b"TE: trailers\r\nConnection: TE\r\n\r\n"
    written = start + b"Upgrade: websocket\r\nTE: trailers\r\nConnection: upgrade, TE\r\n\r\n"
    assert write_request(head, upgrade=b"websocket") == written
    written = start + b"Upgrade: websocket\r\nConnection: upgrade\r\n\r\n"
    assert write_request(replace(head, te_trailers=False), upgrade=b"websocket") == written


def test_max_forwards_counts_down() -> None:
    head = read_request(b"TRACE / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 3\r\n\r\n")
    assert write_request(head) == b"TRACE / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 2\r\n\r\n"
    assert b"Max-Forwards: 0\r\n" in write_request(replace(head, max_forwards=0))


def test_a_response() -> None:
    head = read_response(b"HTTP/1.0 200 Fine\r\nServer: x\r\nContent-Length: 3\r\nConnection: close\r\n\r\n")
    written = write_response(head, b"Sozu-Id: 1", framing=Framing.LENGTH, connection=b"keep-alive")
    assert written == (
        b"HTTP/1.1 200 Fine\r\nServer: x\r\nSozu-Id: 1\r\nContent-Length: 3\r\nConnection: keep-alive\r\n\r\n"
    )


def test_framings_of_responses() -> None:
    head = ResponseHead(200, b"OK", 1, [], Framing.LENGTH, 3, True, b"", 0, unusual=False)
    start = b"HTTP/1.1 200 OK\r\n"
    assert write_response(head, framing=Framing.LENGTH) == start + b"Content-Length: 3\r\n\r\n"
    assert write_response(head, framing=Framing.NONE) == start + b"Content-Length: 3\r\n\r\n"
    assert write_response(head, framing=Framing.CLOSE) == start + b"\r\n"
    assert write_response(head, framing=Framing.CHUNKED) == start + b"Transfer-Encoding: chunked\r\n\r\n"
    assert write_response(replace(head, length=-1), framing=Framing.NONE) == start + b"\r\n"


def test_no_length_where_there_can_be_no_body() -> None:
    head = ResponseHead(204, b"", 1, [], Framing.NONE, 0, True, b"", 0, unusual=False)
    assert write_response(head, framing=Framing.NONE) == b"HTTP/1.1 204 \r\n\r\n"
    assert write_response(replace(head, status=103), framing=Framing.NONE) == b"HTTP/1.1 103 \r\n\r\n"
    assert write_response(replace(head, status=304), framing=Framing.NONE).endswith(b"Content-Length: 0\r\n\r\n")


def test_switching_protocols() -> None:
    head = read_response(b"HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-X: 1\r\n\r\n")
    assert write_response(head, framing=Framing.NONE, connection=b"close") == (
        b"HTTP/1.1 101 Go\r\nSec-X: 1\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n"
    )


# Round trips

tokens = st.text("!#$%&'*+-.^_`|~09AZaz", min_size=1, max_size=6).map(str.encode)
clean = st.binary(max_size=12).map(lambda value: bytes(byte for byte in value if byte >= 32 and byte != 127))
values = st.one_of(clean, clean, clean, st.binary(max_size=12))
targets = st.sampled_from([b"/", b"/a?b", b"*", b"http://h:1/x", b"https://h?q", b"//x", b"/%0d%0a"])
meant = st.sampled_from(
    [
        *(
            (b"Content-Length", b"5"),
            (b"Transfer-Encoding", b"chunked"),
            (b"Expect", b"100-continue"),
            (b"TE", b"trailers"),
        ),
        *(
            (b"Connection", b"upgrade"),
            (b"Connection", b"x, close"),
            (b"Upgrade", b"websocket"),
            (b"Max-Forwards", b"9"),
        ),
        *((b"X-Forwarded-For", b"1"), (b"User-Agent", b"a"), (b"X_Real_IP", b"1")),
    ],
)


@given(
    st.sampled_from([b"GET", b"POST", b"OPTIONS", b"BREW"]),
    targets,
    st.lists(meant | st.tuples(tokens, values), max_size=6),
)
@settings(max_examples=600, deadline=None)
def test_what_is_read_and_written_reads_the_same(method: bytes, target: bytes, fields: list[Field]) -> None:
    lines = [b"%b: %b" % field for field in fields]
    try:
        head = read_request(b"\r\n".join([b"%b %b HTTP/1.1" % (method, target), b"Host: A:80", *lines, b"", b""]))
    except RequestRefused:
        return
    written = write_request(head, b"\r\n".join(map(b": ".join, head.forwarding)), upgrade=head.upgrade)
    again = read_request(written)
    assert again.size == len(written)
    expected = replace(
        head, size=again.size, keep_alive=True, max_forwards=max(head.max_forwards - 1, min(head.max_forwards, 0))
    )
    assert again == expected
    assert write_request(again, b"\r\n".join(map(b": ".join, again.forwarding)), upgrade=again.upgrade).count(
        b"\r\n"
    ) == written.count(b"\r\n")


@given(
    st.integers(200, 999).filter(lambda status: status not in (204, 304)),
    values,
    st.lists(st.tuples(tokens, values), max_size=6),
)
@settings(max_examples=300, deadline=None)
def test_responses_read_and_written_read_the_same(status: int, reason: bytes, fields: list[Field]) -> None:
    lines = [b"%b: %b" % field for field in fields]
    buffer = b"\r\n".join([b"HTTP/1.1 %d %b" % (status, reason), b"Content-Length: 4", *lines, b"", b""])
    parser = ResponseParser(LIMITS, b"GET")
    try:
        head = parser.parse(buffer)
    except BadResponse:
        return
    if head is None:
        return
    written = write_response(head, framing=head.framing)
    # A connection that ends with the body is the only one that must not be kept.
    expected = replace(head, size=len(written), keep_alive=head.framing is not Framing.CLOSE)
    assert read_response(written) == expected
