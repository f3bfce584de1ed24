"""What fields mean, once their syntax is settled: routing, hop-by-hop, forwarding, persistence, expectations."""

import pytest

from sozu_trio.errors import RequestRefused
from sozu_trio.wire.field_lines import line_of
from sozu_trio.wire.field_names import FORWARDING, HOP_BY_HOP, LOWERED, NOT_AN_OPTION, ORDINARY, is_forwarding
from sozu_trio.wire.heads import Field, Framing, RequestHead, ResponseHead
from sozu_trio.wire.meaning import understand_request, understand_response
from sozu_trio.wire.recognise import RequestParts, ResponseParts

HOST = (b"Host", b"a.example")


def request(*fields: Field, method: bytes = b"GET", target: bytes = b"/", minor: int = 1) -> RequestHead:
    return understand_request(RequestParts(method, target, minor, list(map(line_of, fields)), 0))


def response(*fields: Field, status: int = 200, minor: int = 1, method: bytes = b"GET") -> ResponseHead:
    return understand_response(ResponseParts(minor, status, b"OK", list(map(line_of, fields)), 0), method)


# Whom it is for


def test_absolute_form_wins_over_host_and_becomes_origin_form() -> None:
    head = request(HOST, target=b"http://B.example:81/x?y")
    assert (head.authority, head.host, head.target, head.path) == (b"B.example:81", b"b.example", b"/x?y", b"/x")


def test_http_1_0_needs_no_host() -> None:
    head = request(minor=0)
    assert (head.authority, head.host) == (b"", b"")
    head = request(target=b"http://b.example/", minor=0)
    assert (head.authority, head.host) == (b"b.example", b"b.example")


@pytest.mark.parametrize("hosts", [[], [HOST, HOST], [(b"Host", b"")]])
def test_http_1_1_needs_exactly_one_host(hosts: list[Field]) -> None:
    for target in (b"/", b"http://b.example/"):
        with pytest.raises(RequestRefused, match=r"[Hh]ost") as refused:
            request(*hosts, target=target)
        assert refused.value.status == 400


def test_options_about_the_server() -> None:
    head = request(HOST, method=b"OPTIONS", target=b"*")
    assert (head.target, head.path) == (b"*", b"*")
    assert request(HOST, method=b"OPTIONS", target=b"http://b.example").target == b"*"
    assert request(HOST, method=b"OPTIONS", target=b"http://b.example?x").target == b"/?x"


# What goes on to the next hop


def test_hop_by_hop_fields_stay_here() -> None:
    head = request(
        HOST,
        (b"Connection", b"close, X-Mine"),
        (b"Keep-Alive", b"timeout=5"),
        (b"Proxy-Connection", b"keep-alive"),
        (b"HTTP2-Settings", b"AAMAAABk"),
        (b"TE", b"gzip"),
        (b"x-mine", b"1"),
        (b"X-Yours", b"2"),
        (b"Trailer", b"Server-Timing"),
        (b"Proxy-Authorization", b"Basic x"),
    )
    assert head.lines == [b"X-Yours: 2", b"Trailer: Server-Timing", b"Proxy-Authorization: Basic x"]


def test_connection_removes_what_it_names_in_any_spelling() -> None:
    assert request(HOST, (b"Connection", b"COOKIE,x"), (b"Cookie", b"a"), (b"X", b"1")).lines == []


def test_connection_cannot_remove_what_backends_rely_on() -> None:
    head = request(
        HOST,
        (b"Connection", b"Host, Content-Length, X-Forwarded-For, X-Real-IP, Via"),
        (b"Content-Length", b"5"),
        (b"X-Forwarded-For", b"1.2.3.4"),
        (b"X-Real-IP", b"1.2.3.4"),
        (b"Via", b"1.1 a"),
    )
    assert (head.host, head.framing, head.length) == (b"a.example", Framing.LENGTH, 5)
    assert head.lines == [b"Via: 1.1 a"]
    assert head.forwarding == [(b"x-forwarded-for", b"1.2.3.4"), (b"x-real-ip", b"1.2.3.4")]


def test_forwarding_fields_are_set_apart() -> None:
    names = [b"X-Forwarded-For", b"X-Forwarded-Anything", b"Forwarded", b"X-Real-Ip", b"x-request-id"]
    head = request(HOST, *[(name, b"1") for name in names])
    assert head.forwarding == [(name.lower(), b"1") for name in names]
    assert head.lines == []


@pytest.mark.parametrize(
    "name",
    [b"X_Forwarded_For", b"x-real_ip", b"Content_Length", b"TRANSFER_ENCODING", b"proxy_connection", b"X.Real.IP"],
)
def test_lookalikes_are_dropped(name: bytes) -> None:
    assert request(HOST, (name, b"1"), (b"my_field", b"2")).lines == [b"my_field: 2"]


def test_ordinary_names_have_no_meaning_of_their_own() -> None:
    names = {name.lower() for name in ORDINARY}
    assert not names & (HOP_BY_HOP | FORWARDING | NOT_AN_OPTION | {b"expect", b"user-agent"})
    assert not any(is_forwarding(name) or b"_" in name for name in names)


def test_ready_made_names_are_the_names_in_lower_case() -> None:
    assert all(name == spelling.lower() for spelling, name in LOWERED.items())
    assert not LOWERED.keys() & ORDINARY


def test_a_colon_and_a_space_in_a_value_end_no_name() -> None:
    head = request(
        HOST,
        (b"X-Forwarded-For", b"1: 2"),
        (b"Connection", b"a: b, close"),
        (b"User-Agent", b"a: b"),
        (b"Cookie", b"a: b"),
        (b"X-Real-IP", b": 1"),
    )
    assert (head.user_agent, head.keep_alive) == (b"a: b", False)
    assert head.lines == [b"User-Agent: a: b", b"Cookie: a: b"]
    assert head.forwarding == [(b"x-forwarded-for", b"1: 2"), (b"x-real-ip", b": 1")]
    answer = response((b"Server", b"a: b"), (b"Connection", b"a: b, close"), (b"Content-Length", b"0"))
    assert (answer.lines, answer.keep_alive) == ([b"Server: a: b"], False)


def test_user_agent_is_noted_and_kept() -> None:
    head = request(HOST, (b"user-AGENT", b"curl/8"))
    assert (head.user_agent, head.lines) == (b"curl/8", [b"user-AGENT: curl/8"])


# Persistence


@pytest.mark.parametrize(
    ("connection", "minor", "keep_alive"),
    [
        (b"", 1, True),
        (b"keep-alive", 1, True),
        (b"Close", 1, False),
        (b"keep-alive, close", 1, False),
        (b"", 0, False),
        (b"Keep-Alive", 0, True),
        (b"close, keep-alive", 0, False),
        (b"x, ,keep-alive", 0, True),
    ],
)
def test_keep_alive(connection: bytes, minor: int, keep_alive: bool) -> None:
    assert request(HOST, (b"Connection", connection), minor=minor).keep_alive is keep_alive
    length = (b"Content-Length", b"0")
    assert response((b"Connection", connection), length, minor=minor).keep_alive is keep_alive


def test_options_may_come_on_several_lines() -> None:
    head = request(HOST, (b"Connection", b"upgrade"), (b"Connection", b"close"), (b"Upgrade", b"a"), (b"Upgrade", b"b"))
    assert (head.keep_alive, head.upgrade) == (False, b"a, b")


# Upgrade, TE, Expect, Max-Forwards


def test_upgrade_needs_its_connection_option_and_1_1() -> None:
    upgrade, option = (b"Upgrade", b"websocket"), (b"Connection", b"Upgrade")
    assert request(HOST, upgrade, option).upgrade == b"websocket"
    assert request(HOST, upgrade).upgrade == b""
    assert request(HOST, option).upgrade == b""
    assert request(HOST, upgrade, option, minor=0).upgrade == b""


def test_te_trailers() -> None:
    assert request(HOST, (b"TE", b"deflate;q=0.5, Trailers")).te_trailers
    assert not request(HOST, (b"TE", b"gzip")).te_trailers
    assert not request((b"TE", b"trailers"), minor=0).te_trailers


def test_expect_needs_a_body_to_wait_for() -> None:
    expect = (b"Expect", b"100-Continue")
    assert request(HOST, expect, (b"Content-Length", b"1")).expects_continue
    assert request(HOST, expect, (b"Transfer-Encoding", b"chunked")).expects_continue
    assert not request(HOST, expect, (b"Content-Length", b"0")).expects_continue
    assert not request(HOST, expect).expects_continue


def test_expect_is_ignored_on_1_0() -> None:
    head = request((b"Expect", b"anything"), (b"Content-Length", b"1"), minor=0)
    assert (head.expects_continue, head.lines) == (False, [])


def test_an_unknown_expectation_is_refused() -> None:
    with pytest.raises(RequestRefused, match="expectation") as refused:
        request(HOST, (b"Expect", b""))
    assert refused.value.status == 417


def test_max_forwards_counts_for_trace_and_options_only() -> None:
    field = (b"Max-Forwards", b"7")
    head = request(HOST, field, method=b"TRACE")
    assert (head.max_forwards, head.lines) == (7, [])
    head = request(HOST, field)
    assert (head.max_forwards, head.lines) == (-1, [line_of(field)])


@pytest.mark.parametrize("values", [[b"x"], [b"+1"], [b"1", b"1"], [b"1" * 10], [b""]])
def test_a_max_forwards_that_is_no_number_is_left_alone(values: list[bytes]) -> None:
    fields = [(b"Max-Forwards", value) for value in values]
    head = request(HOST, *fields, method=b"OPTIONS")
    assert (head.max_forwards, head.lines) == (-1, list(map(line_of, fields)))


# Responses


def test_a_response_s_fields() -> None:
    head = response(
        (b"Server", b"x"),
        (b"Connection", b"keep-alive, X-Mine"),
        (b"Keep-Alive", b"5"),
        (b"X-Mine", b"1"),
        (b"Content-Length", b"3"),
        (b"X-Request-Id", b"7"),
        (b"Set-Cookie", b"a"),
        (b"Set-Cookie", b"b"),
    )
    kept = [b"Server: x", b"X-Request-Id: 7", b"Set-Cookie: a", b"Set-Cookie: b"]
    assert head == ResponseHead(200, b"OK", 1, kept, Framing.LENGTH, 3, True, b"", 0, unusual=True)


def test_a_response_that_ends_with_its_connection_cannot_keep_it() -> None:
    head = response()
    assert (head.framing, head.length, head.keep_alive) == (Framing.CLOSE, -1, False)


@pytest.mark.parametrize(
    ("status", "method"), [(200, b"HEAD"), (304, b"GET"), (204, b"GET"), (100, b"POST"), (101, b"GET")]
)
def test_responses_without_a_body(status: int, method: bytes) -> None:
    head = response(status=status, method=method)
    assert (head.framing, head.length, head.keep_alive) == (Framing.NONE, -1, True)


def test_a_declared_length_is_told_where_no_body_follows() -> None:
    head = response((b"Content-Length", b"9"), method=b"HEAD")
    assert (head.framing, head.length, head.keep_alive) == (Framing.NONE, 9, True)


@pytest.mark.parametrize("field", [(b"Content-Length", b"9"), (b"Transfer-Encoding", b"chunked")])
def test_a_body_declared_where_none_can_be_costs_the_connection(field: Field) -> None:
    head = response(field, status=204)
    assert (head.framing, head.keep_alive) == (Framing.NONE, False)
    assert response((b"Content-Length", b"0"), status=204).keep_alive


def test_switching_protocols() -> None:
    assert response((b"Upgrade", b"websocket"), (b"Connection", b"upgrade"), status=101).upgrade == b"websocket"
    assert response((b"Upgrade", b"h2c")).upgrade == b""
