"""Requests as they come over the wire: what is read, what is refused with which status, and that cuts never matter."""

import contextlib
import sys
from collections.abc import Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sozu_trio.config.limits import HeadLimits
from sozu_trio.errors import RequestRefused
from sozu_trio.wire.heads import Framing, RequestHead
from sozu_trio.wire.request import RequestParser

LIMITS = HeadLimits()
TIGHT = HeadLimits(head=400, request_line=60, fields=5)

Outcome = RequestHead | int | None
Parse = Callable[[RequestParser, bytes], RequestHead | None]


def outcome(buffer: bytes, limits: HeadLimits = LIMITS, parse: Parse = RequestParser.parse) -> Outcome:
    return outcome_of([buffer], limits, parse)


def outcome_of(buffers: list[bytes], limits: HeadLimits = LIMITS, parse: Parse = RequestParser.parse) -> Outcome:
    """The first verdict while the buffer grows: a head, a status, or None when it never came to one."""
    parser = RequestParser(limits)
    try:
        for buffer in buffers:
            if head := parse(parser, buffer):
                return head
    except RequestRefused as refused:
        return refused.status
    return None


def foreseeing(parser: RequestParser, buffer: bytes) -> RequestHead | None:
    with contextlib.suppress(RequestRefused):
        parser.foresee(buffer)
    return parser.parse(buffer)


def read(buffer: bytes) -> RequestHead:
    head = RequestParser(LIMITS).parse(buffer)
    assert head is not None
    return head


def get(*lines: bytes, start: bytes = b"GET / HTTP/1.1", host: bytes = b"Host: a.example") -> bytes:
    """A request of these field lines, with a Host unless told otherwise."""
    return b"\r\n".join([start, *([host] if host else []), *lines, b"", b""])


ACCEPTED = {
    "only Host": get(),
    "HTTP/1.0 without Host": b"GET / HTTP/1.0\r\n\r\n",
    "HTTP/1.2": get(start=b"GET / HTTP/1.2"),
    "leading empty line": b"\r\n" + get(),
    "absolute-form": get(start=b"GET http://b.example:81/x?y HTTP/1.1"),
    "OPTIONS *": get(start=b"OPTIONS * HTTP/1.1"),
    "colon and space in a value": get(b"X: a: b", b"Connection: close: x"),
    "unknown method": get(start=b"BREW /pot HTTP/1.1"),
    "length": get(b"Content-Length: 3", start=b"POST / HTTP/1.1") + b"abc",
    "equal lengths": get(b"Content-Length: 3", b"Content-Length: 3"),
    "equal lengths in a list": get(b"Content-Length: 3, 3"),
    "chunked": get(b"Transfer-Encoding: Chunked", start=b"POST / HTTP/1.1") + b"0\r\n\r\n",
    "expects": get(b"Content-Length: 3", b"Expect: 100-Continue"),
    "upgrade": get(b"Connection: keep-alive, Upgrade", b"Upgrade: websocket"),
    "value with white space around": get(b"X:  \t a b \t "),
    "empty value": get(b"X:", b"Y: "),
    "obs-text": get(b"X: \xe4\xff"),
    "pipelined": get() + get(start=b"GET /2 HTTP/1.1"),
}

REFUSED = {
    # rejects.md §1, in its order
    "no Host": (get(host=b""), 400),
    "two Hosts": (get(b"Host: a.example"), 400),
    "two Hosts on 1.0": (get(b"Host: b.example", start=b"GET / HTTP/1.0"), 400),
    "empty Host": (get(host=b"Host:"), 400),
    "Host with user": (get(host=b"Host: me@a.example"), 400),
    "Host with port 0": (get(host=b"Host: a.example:0"), 400),
    "Host with port overflow": (get(host=b"Host: a.example:65536"), 400),
    "Host with path": (get(host=b"Host: a.example/x"), 400),
    "absolute-form without Host": (get(start=b"GET http://a.example/ HTTP/1.1", host=b""), 400),
    "absolute-form with bad Host": (get(start=b"GET http://a.example/ HTTP/1.1", host=b"Host: @"), 400),
    "space before colon": (get(b"X : 1"), 400),
    "tab before colon": (get(b"Content-Length\t: 1"), 400),
    "obs-fold": (get(b"X: 1", b" 2"), 400),
    "obs-fold with tab": (get(b"X: 1", b"\t2"), 400),
    "white space before the first field": (get(host=b" Host: a.example"), 400),
    "NUL in value": (get(b"X: a\x00b"), 400),
    "bare CR in value": (get(b"X: a\rb"), 400),
    "DEL in value": (get(b"X: a\x7fb"), 400),
    "bare LF ends the request line": (b"GET / HTTP/1.1\nHost: a.example\r\n\r\n", 400),
    "bare LF ends a field": (b"GET / HTTP/1.1\r\nHost: a.example\n\r\n", 400),
    "bare LF ends the head": (b"GET / HTTP/1.1\r\nHost: a.example\r\n\n", 400),
    "two empty lines first": (b"\r\n\r\n" + get(), 400),
    "bare LF first": (b"\n" + get(), 400),
    "field without colon": (get(b"X"), 400),
    "empty field name": (get(b": 1"), 400),
    "field name with a space": (get(b"X Y: 1"), 400),
    "field name with obs-text": (get(b"X\xe4: 1"), 400),
    "field name with a parenthesis": (get(b"X(: 1"), 400),
    "length and chunked": (get(b"Content-Length: 3", b"Transfer-Encoding: chunked"), 400),
    "chunked and length": (get(b"Transfer-Encoding: chunked", b"Content-Length: 3"), 400),
    "chunked is not the last": (get(b"Transfer-Encoding: chunked, gzip"), 400),
    "no chunked": (get(b"Transfer-Encoding: gzip"), 400),
    "identity": (get(b"Transfer-Encoding: identity"), 400),
    "chunked, identity": (get(b"Transfer-Encoding: chunked, identity"), 400),
    "chunked twice": (get(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"), 400),
    "chunked twice in a list": (get(b"Transfer-Encoding: chunked, chunked"), 400),
    "chunked with parameter": (get(b"Transfer-Encoding: chunked;q=1"), 400),
    "chunked after nothing": (get(b"Transfer-Encoding: , chunked"), 400),
    "chunked, vertical tab": (get(b"Transfer-Encoding: chunked\x0b"), 400),
    "empty coding": (get(b"Transfer-Encoding:"), 400),
    "unknown coding": (get(b"Transfer-Encoding: xchunked"), 501),
    "quoted coding": (get(b'Transfer-Encoding: "chunked"'), 501),
    "coding we do not undo": (get(b"Transfer-Encoding: gzip, chunked"), 501),
    "unknown coding on its own line": (get(b"Transfer-Encoding: x", b"Transfer-Encoding: chunked"), 501),
    "chunked on 1.0": (get(b"Transfer-Encoding: chunked", start=b"POST / HTTP/1.0"), 400),
    "differing lengths": (get(b"Content-Length: 3", b"Content-Length: 4"), 400),
    "differing lengths in a list": (get(b"Content-Length: 3, 4"), 400),
    "equal numbers, differing digits": (get(b"Content-Length: 3", b"Content-Length: 03"), 400),
    "length and nothing": (get(b"Content-Length: 3,"), 400),
    "empty length": (get(b"Content-Length:"), 400),
    "signed length": (get(b"Content-Length: +5"), 400),
    "negative length": (get(b"Content-Length: -5"), 400),
    "underscored length": (get(b"Content-Length: 1_0"), 400),
    "hexadecimal length": (get(b"Content-Length: 0x10"), 400),
    "length with a space": (get(b"Content-Length: 1 0"), 400),
    "length in another script": (get(b"Content-Length: \xd9\xa5"), 400),
    "length overflow": (get(b"Content-Length: " + b"9" * 19), 400),
    "HTTP/0.9": (b"GET /\r\n", 400),
    "two spaces": (get(start=b"GET  / HTTP/1.1"), 400),
    "tab in the request line": (get(start=b"GET\t/ HTTP/1.1"), 400),
    "space in the target": (get(start=b"GET /a b HTTP/1.1"), 400),
    "space at the end": (get(start=b"GET / HTTP/1.1 "), 400),
    "obs-text in the target": (get(start=b"GET /\xe4 HTTP/1.1"), 400),
    "method that is no token": (get(start=b"GE(T / HTTP/1.1"), 400),
    "lower-case version": (get(start=b"GET / http/1.1"), 400),
    "long version": (get(start=b"GET / HTTP/1.10"), 400),
    "version without minor": (get(start=b"GET / HTTP/1"), 400),
    "HTTP/2.0": (get(start=b"GET / HTTP/2.0"), 505),
    "HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "HTTP/0.9 spelled out": (get(start=b"GET / HTTP/0.9"), 505),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00", 400),
    "request line too long": (get(start=b"GET /" + b"a" * 8192 + b" HTTP/1.1"), 414),
    "head too large": (get(*[b"X: " + b"a" * 8000] * 9), 431),
    "one field too large": (get(b"X: " + b"a" * 70000), 431),
    "too many fields": (get(*[b"X: 1"] * 100), 431),
    "CONNECT": (get(start=b"CONNECT a.example:443 HTTP/1.1"), 405),
    "expectation": (get(b"Expect: 200-ok"), 417),
    "obfuscated expectation": (get(b"Expect: y 100-continue"), 417),
    "two expectations": (get(b"Expect: 100-continue, x"), 417),
    "* for GET": (get(start=b"GET * HTTP/1.1"), 400),
    "fragment": (get(start=b"GET /a#b HTTP/1.1"), 400),
    "relative target": (get(start=b"GET a HTTP/1.1"), 400),
    "other scheme": (get(start=b"GET ftp://a.example/ HTTP/1.1"), 400),
    "no host in the target": (get(start=b"GET http:///x HTTP/1.1"), 400),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    buffer, status = REFUSED[name]
    assert outcome(buffer) == status


@pytest.mark.parametrize("name", ACCEPTED)
def test_accepted_by_both_ways_alike(name: str) -> None:
    head = read(ACCEPTED[name])
    assert head == outcome(ACCEPTED[name], parse=RequestParser.parse_strictly)


# What is read


def test_a_browser_s_request() -> None:
    head = read(
        b"GET /shop/?item=1 HTTP/1.1\r\nHost: Shop.Example:8080\r\nConnection: keep-alive\r\nUser-Agent: Firefox\r\n"
        b"Accept: */*\r\nCookie: a=b; c=d\r\nX-Forwarded-For: 10.0.0.1\r\n\r\n",
    )
    assert head == RequestHead(
        method=b"GET",
        target=b"/shop/?item=1",
        authority=b"Shop.Example:8080",
        host=b"shop.example",
        path=b"/shop/",
        minor=1,
        lines=[b"User-Agent: Firefox", b"Accept: */*", b"Cookie: a=b; c=d"],
        forwarding=[(b"x-forwarded-for", b"10.0.0.1")],
        framing=Framing.NONE,
        length=-1,
        keep_alive=True,
        expects_continue=False,
        upgrade=b"",
        te_trailers=False,
        user_agent=b"Firefox",
        max_forwards=-1,
        size=158,
        unusual=False,
    )


def test_size_leaves_the_body_and_the_next_request() -> None:
    first = get(b"Content-Length: 3") + b"abc"
    parser = RequestParser(LIMITS)
    head = parser.parse(first + get(start=b"GET /2 HTTP/1.1"))
    assert head is not None
    assert (head.framing, head.length, head.size) == (Framing.LENGTH, 3, len(first) - 3)
    following = parser.parse(get(start=b"GET /2 HTTP/1.1"))
    assert following is not None
    assert following.target == b"/2"


def test_size_counts_the_empty_line() -> None:
    assert read(b"\r\n" + get()).size == len(get()) + 2


def test_values_are_trimmed_of_space_and_tab_only() -> None:
    assert read(get(b"X:  \t a b \t ", b"Y:\xa0")).lines == [b"X: a b", b"Y: \xa0"]


def test_a_parser_that_was_cut_short_is_ready_for_the_next_head() -> None:
    parser = RequestParser(LIMITS)
    odd = get(b"X: 1 ")
    assert parser.parse(odd[:20]) is None
    assert parser.parse(odd) is not None
    assert parser.parse(get()[:20]) is None
    assert parser.parse(get()) is not None


# When it is refused


def test_a_bad_line_is_refused_before_the_head_ends() -> None:
    assert outcome(b"GET / HTTP/1.1\r\nX : 1\r\n") == 400


def test_the_first_byte_can_be_enough() -> None:
    assert outcome(b"\x16") == 400
    assert outcome(b"\r\n\x16") == 400


def test_an_endless_line_is_refused_at_its_limit() -> None:
    assert outcome(b"GET /" + b"a" * 57, TIGHT) == 414
    assert outcome(b"GET /" + b"a" * 56, TIGHT) is None
    assert outcome(b"GET / HTTP/1.1\r\n" + b"a" * 384, TIGHT) == 431
    assert outcome(b"GET / HTTP/1.1\r\n" + b"a" * 383, TIGHT) is None


@pytest.mark.parametrize("over", [0, 1])
@pytest.mark.parametrize("parse", [RequestParser.parse, RequestParser.parse_strictly])
def test_limits_are_exact(over: int, parse: Parse) -> None:
    line = b"GET /" + b"a" * (60 - 14 + over) + b" HTTP/1.1"
    assert isinstance(outcome(get(start=line), TIGHT, parse), RequestHead if not over else int)
    fields = [b"X: 1"] * (4 + over)
    assert isinstance(outcome(get(*fields), TIGHT, parse), RequestHead if not over else int)
    long = get(b"X: " + b"a" * (400 - len(get()) - 5 + over))
    assert len(long) == 400 + over
    assert isinstance(outcome(long, TIGHT, parse), RequestHead if not over else int)


# Cuts


def prefixes(data: bytes) -> list[bytes]:
    return [data[:end] for end in range(1, len(data) + 1)]


SHORT = ACCEPTED | {name: buffer for name, (buffer, _) in REFUSED.items()}


@pytest.mark.parametrize("name", [name for name, buffer in SHORT.items() if len(buffer) < 300])
def test_every_cut_gives_the_same(name: str) -> None:
    buffer = SHORT[name]
    whole = outcome(buffer)
    assert outcome_of(prefixes(buffer)) == whole
    for at in range(1, len(buffer)):
        assert outcome_of([buffer[:at], buffer]) == whole


def test_a_head_that_trickles_in_costs_no_more_per_byte() -> None:
    def work(length: int) -> int:
        """Calls made to read a head of so many bytes one byte at a time."""
        buffers = prefixes(get(*[b"X: 1"] * (length // 6)))
        calls = 0

        def count(*_: object) -> None:
            nonlocal calls
            calls += 1

        sys.setprofile(count)
        try:
            assert isinstance(outcome_of(buffers), RequestHead)
        finally:
            sys.setprofile(None)
        return calls

    assert work(400) < 3 * work(200)


# The two ways against each other


def test_h11_has_the_last_word_on_unusual_heads_only(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(head: bytes, parts: object) -> None:
        raise RequestRefused(499, "h11 does not like it")

    monkeypatch.setattr("sozu_trio.wire.request.confirm_request", refuse)
    ordinary, unusual = get(), get(b"X: ")
    for at in range(1, len(ordinary)):
        assert isinstance(outcome_of([ordinary[:at], ordinary]), RequestHead)
    assert outcome(unusual) == 499


tokens = st.text("!#$%&'*+-.^_`|~09AZaz", min_size=1, max_size=8).map(str.encode)
values = st.binary(max_size=12).map(lambda value: bytes(byte for byte in value if byte >= 32 and byte != 127))
telling = st.sampled_from(
    [
        *(
            b"Content-Length: 5",
            b"Content-Length: 5, 5",
            b"content-length:6",
            b"Content-Length: +5",
            b"Content_Length: 1",
        ),
        *(b"Transfer-Encoding: chunked", b"transfer-encoding:\tCHUNKED ", b"Transfer-Encoding: x, chunked"),
        *(b"Connection: close: x", b"X-Real-IP: : 1"),
        *(b"Connection: close", b"Connection: Keep-Alive, x,upgrade", b"connection: X-Forwarded-For, via, te"),
        *(b"Upgrade: websocket", b"HTTP2-Settings: a", b"TE: trailers, deflate;q=0.5", b"Keep-Alive: 5", b"Via: 1.1 a"),
        *(b"Expect: 100-continue", b"Expect: x", b"Max-Forwards: 7", b"Max-Forwards: x", b"User-Agent: a b"),
        *(
            b"X-Forwarded-For: 1",
            b"x-forwarded-anything: 1",
            b"X_Forwarded_For: 1",
            b"Forwarded: for=1",
            b"X-Real-IP: 1",
        ),
        *(b"Host: b.example", b"Host: [::1]:80", b"X : 1", b" folded", b"X: a\x01", b"X", b"X: a\x00b", b"x: "),
    ],
)
plain = st.builds(b"%b: %b".__mod__, st.tuples(tokens, values))
starts = st.sampled_from(
    [
        *(b"GET / HTTP/1.1", b"POST /a?b HTTP/1.1", b"OPTIONS * HTTP/1.1", b"TRACE /x HTTP/1.1", b"HEAD /? HTTP/1.0"),
        *(b"GET http://h/ HTTP/1.1", b"OPTIONS https://h:443 HTTP/1.1", b"GET HTTP://h?q HTTP/1.0", b"GET / HTTP/1.3"),
        *(
            b"GET / HTTP/2.0",
            b"GET /",
            b"get / HTTP/1.1",
            b"GET /a#b HTTP/1.1",
            b"CONNECT h:1 HTTP/1.1",
            b"G@T / HTTP/1.1",
        ),
    ],
)
hosts = st.sampled_from(
    [b"Host: a.example", b"host:A.Example.:80", b"Host: [::1]", b"HOST: 127.0.0.1:81", b"Host: a:0"]
)


@st.composite
def heads(draw: st.DrawFn) -> bytes:
    """A request head, mostly a valid one, at times with one byte changed, put in or taken out."""
    lines = [draw(hosts), *draw(st.lists(telling | plain, max_size=6))]
    data = b"\r\n".join([draw(starts), *draw(st.permutations(lines)), b"", b""])
    data = draw(st.sampled_from([b"", b"", b"\r\n"])) + data + draw(st.sampled_from([b"", b"body"]))
    if draw(st.booleans()):
        at = draw(st.integers(0, len(data) - 1))
        byte = draw(st.sampled_from([b"", b"\r", b"\n", b"\0", b" ", b"\t", b":", b"\x80"]) | st.binary(max_size=1))
        data = data[:at] + byte + data[at + draw(st.integers(0, 1)) :]
    return data


@given(heads() | st.binary(max_size=60), st.sampled_from([LIMITS, TIGHT]))
@example(get(b"Content-Length: 5", b"Content-Length: 5"), LIMITS)
@settings(max_examples=1000, deadline=None)
def test_recogniser_and_judge_agree(buffer: bytes, limits: HeadLimits) -> None:
    judged = outcome(buffer, limits, RequestParser.parse_strictly)
    assert outcome(buffer, limits) == outcome(buffer, limits, foreseeing) == judged


@given(heads(), st.data(), st.sampled_from([LIMITS, TIGHT]))
@settings(max_examples=300, deadline=None)
def test_any_cuts_give_the_same(buffer: bytes, data: st.DataObject, limits: HeadLimits) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(1, len(buffer)), max_size=8)) | {len(buffer)})
    pieces = [buffer[:cut] for cut in cuts]
    assert outcome_of(pieces, limits) == outcome_of(pieces, limits, foreseeing) == outcome(buffer, limits)
    assert outcome_of(prefixes(buffer), limits) == outcome(buffer, limits)
