"""Responses as backends send them: what is read, what is bad, and that cuts never matter."""

import contextlib
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sozu_trio.config.limits import HeadLimits
from sozu_trio.errors import BadResponse
from sozu_trio.wire.heads import Framing, ResponseHead
from sozu_trio.wire.response import ResponseParser

LIMITS = HeadLimits()
TIGHT = HeadLimits(head=60, fields=2)

Outcome = ResponseHead | str | None
Parse = Callable[[ResponseParser, bytes], ResponseHead | None]


def outcome_of(
    buffers: list[bytes],
    limits: HeadLimits = LIMITS,
    parse: Parse = ResponseParser.parse,
    method: bytes = b"GET",
) -> Outcome:
    """The first verdict while the buffer grows: a head, "bad", or None when it never came to one."""
    parser = ResponseParser(limits, method)
    try:
        for buffer in buffers:
            if head := parse(parser, buffer):
                return head
    except BadResponse:
        return "bad"
    return None


def foreseeing(parser: ResponseParser, buffer: bytes) -> ResponseHead | None:
    with contextlib.suppress(BadResponse):
        parser.foresee(buffer)
    return parser.parse(buffer)


def read(buffer: bytes, method: bytes = b"GET") -> ResponseHead:
    head = ResponseParser(LIMITS, method).parse(buffer)
    assert head is not None
    return head


def prefixes(data: bytes) -> list[bytes]:
    return [data[:end] for end in range(1, len(data) + 1)]


GOOD = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nServer: x\r\n\r\nabc",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"HTTP/1.1 200\r\n\r\n",
    b"HTTP/1.1 200 \r\n\r\n",
    b"HTTP/1.0 200 OK\r\n\r\nuntil the end",
    b"HTTP/1.7 999 \xe4\tb \r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX : 1\r\nContent-Length\t: 2\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX: 1 \r\nY:\r\nZ: \r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n\x81\x00",
    b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n",
]
BAD = [
    b"\r\nHTTP/1.1 200 OK\r\n\r\n",
    b"SSH-2.0-OpenSSH\r\n",
    b"\x15\x03\x01",
    b"HTTP/2.0 200 OK\r\n\r\n",
    b"HTTP/0.9 200 OK\r\n\r\n",
    b"HTTP/1.10 200 OK\r\n\r\n",
    b"http/1.1 200 OK\r\n\r\n",
    b"HTTP/1.1  200 OK\r\n\r\n",
    b"HTTP/1.1 20 OK\r\n\r\n",
    b"HTTP/1.1 2000 OK\r\n\r\n",
    b"HTTP/1.1 099 OK\r\n\r\n",
    b"HTTP/1.1 +20 OK\r\n\r\n",
    b"HTTP/1.1 200 OK\nX: 1\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX: 1\n\r\n",
    b"HTTP/1.1 200 O\x00K\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n X: 1\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX: 1\r\n 2\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX: a\x00b\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX: a\rb\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n : 1\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX Y: 1\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding : identity\r\n\r\n",
    b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n" + b"X: 1\r\n" * 101 + b"\r\n",
    b"HTTP/1.1 200 " + b"a" * 70000,
]


@pytest.mark.parametrize("buffer", BAD)
def test_bad(buffer: bytes) -> None:
    assert outcome_of([buffer]) == "bad"


@pytest.mark.parametrize("buffer", GOOD)
def test_good_by_both_ways_alike(buffer: bytes) -> None:
    assert read(buffer) == outcome_of([buffer], parse=ResponseParser.parse_strictly)


@pytest.mark.parametrize("buffer", [buffer for buffer in GOOD + BAD if len(buffer) < 300])
def test_every_cut_gives_the_same(buffer: bytes) -> None:
    whole = outcome_of([buffer])
    assert outcome_of(prefixes(buffer)) == whole
    for at in range(1, len(buffer)):
        assert outcome_of([buffer[:at], buffer]) == whole


def test_an_ordinary_response() -> None:
    head = read(b"HTTP/1.1 404 Not Found\r\nServer: x\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc")
    assert head == ResponseHead(
        status=404,
        reason=b"Not Found",
        minor=1,
        lines=[b"Server: x"],
        framing=Framing.LENGTH,
        length=3,
        keep_alive=False,
        upgrade=b"",
        size=75,
        unusual=False,
    )


def test_white_space_before_the_colon_is_removed() -> None:
    head = read(b"HTTP/1.1 200 OK\r\nX \t: 1\r\nContent-Length : 2\r\n\r\n")
    assert (head.lines, head.framing, head.length) == ([b"X: 1"], Framing.LENGTH, 2)


def test_a_missing_reason_is_empty() -> None:
    assert (read(b"HTTP/1.1 200\r\n\r\n").reason, read(b"HTTP/1.1 200 \r\n\r\n").reason) == (b"", b"")


def test_interim_responses_come_before_the_final_one() -> None:
    parser = ResponseParser(LIMITS, b"GET")
    buffer = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    interim = parser.parse(buffer)
    assert interim is not None
    assert (interim.status, interim.framing) == (103, Framing.NONE)
    final = parser.parse(buffer[interim.size :])
    assert final is not None
    assert (final.status, final.framing, final.length) == (200, Framing.LENGTH, 0)


def test_an_answer_to_head_has_no_body() -> None:
    head = read(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", b"HEAD")
    assert (head.framing, head.length) == (Framing.NONE, 9)


def test_a_bad_line_is_refused_before_the_head_ends() -> None:
    assert outcome_of([b"HTTP/1.1 200 OK\r\nX Y: 1\r\n"]) == "bad"


@pytest.mark.parametrize("parse", [ResponseParser.parse, ResponseParser.parse_strictly])
def test_limits_are_exact(parse: Parse) -> None:
    fits = b"HTTP/1.1 200 OK\r\nX: " + b"a" * 36 + b"\r\n\r\n"
    assert len(fits) == 60
    assert isinstance(outcome_of([fits], TIGHT, parse), ResponseHead)
    assert outcome_of([fits.replace(b"X", b"XY")], TIGHT, parse) == "bad"
    assert isinstance(outcome_of([b"HTTP/1.1 200 OK\r\nA:\r\nB:\r\n\r\n"], TIGHT, parse), ResponseHead)
    assert outcome_of([b"HTTP/1.1 200 OK\r\nA:\r\nB:\r\nC:\r\n\r\n"], TIGHT, parse) == "bad"


def test_h11_has_the_last_word_on_unusual_heads_only(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(head: bytes, parts: object, method: bytes) -> None:
        raise BadResponse("h11 does not like it")

    monkeypatch.setattr("sozu_trio.wire.response.confirm_response", refuse)
    ordinary, unusual = b"HTTP/1.1 200 OK\r\nX: 1\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: \r\n\r\n"
    for at in range(1, len(ordinary)):
        assert isinstance(outcome_of([ordinary[:at], ordinary]), ResponseHead)
    assert outcome_of([unusual]) == "bad"


lines = st.sampled_from(
    [
        *(b"Content-Length: 5", b"content-length:5 ", b"Content-Length: 6, 6", b"Transfer-Encoding: chunked", b"TE: x"),
        *(
            b"Connection: close",
            b"Connection : keep-alive, X",
            b"X: 1",
            b"Keep-Alive: 5",
            b"Upgrade: a",
            b"Y:",
            b"X\t: 2",
        ),
        *(b"Connection: upgrade", b"Transfer-Encoding: gzip", b" folded", b"X: \x01", b"Set-Cookie: a=\xe4 "),
    ],
)
starts = st.sampled_from(
    [
        *(
            b"HTTP/1.1 200 OK",
            b"HTTP/1.0 200 OK",
            b"HTTP/1.1 204",
            b"HTTP/1.1 304 \xe4",
            b"HTTP/1.9 101 Go",
            b"HTTP/1.1 100 ",
        ),
        *(b"HTTP/2.0 200 OK", b"HTTP/1.1 600 X", b"HTTP/1.1 20 X"),
    ],
)


@st.composite
def heads(draw: st.DrawFn) -> bytes:
    data = b"\r\n".join([draw(starts), *draw(st.lists(lines, max_size=5)), b"", b"rest"])
    if draw(st.booleans()):
        at = draw(st.integers(0, len(data) - 1))
        byte = draw(st.sampled_from([b"", b"\r", b"\n", b"\0", b" ", b"\t", b":", b"\x80"]) | st.binary(max_size=1))
        data = data[:at] + byte + data[at + draw(st.integers(0, 1)) :]
    return data


@given(heads(), st.sampled_from([LIMITS, TIGHT]), st.sampled_from([b"GET", b"HEAD", b"POST"]))
@settings(max_examples=500, deadline=None)
def test_recogniser_judge_and_cuts_agree(buffer: bytes, limits: HeadLimits, method: bytes) -> None:
    whole = outcome_of([buffer], limits, method=method)
    assert outcome_of([buffer], limits, ResponseParser.parse_strictly, method) == whole
    assert outcome_of(prefixes(buffer), limits, method=method) == whole
    assert outcome_of([buffer], limits, foreseeing, method) == whole
    assert outcome_of(prefixes(buffer), limits, foreseeing, method) == whole
