"""A client of an https listener, from its first byte on: what it agrees on, and what is told of it."""

import contextlib
import dataclasses
import json
import ssl

import pytest
import trio

from sozu_trio.config.limits import HANDSHAKE
from sozu_trio.config.listeners import HttpsListener
from sozu_trio.config.tls_settings import TlsSettings
from sozu_trio.errors import HandshakeFailed
from sozu_trio.wire.proxy_protocol import V2_SIGNATURE
from tests.proxy.https_house import House
from tests.proxy.parts import GET, access_log, request, values
from tests.proxy.secure import NAME, connect_raw, open_client, tls_of
from tests.tls.peers import client_context

pytestmark = [pytest.mark.virtual_time, pytest.mark.usefixtures("leaving")]
V1 = b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\n"


async def test_the_backend_is_told_that_it_came_over_tls(house: House) -> None:
    await house.start()
    client = await house.client()
    assert (tls_of(client).facts().version, tls_of(client).facts().alpn) == ("TLSv1.3", None)
    for _ in range(3):
        assert (await client.get()).body == b"ok"
    head = house.backend.heads[-1]
    assert values(head, b"x-forwarded-proto") == [b"https"]
    assert values(head, b"x-forwarded-port") == [b"%d" % house.address.port]
    assert values(head, b"forwarded")[0].startswith(b"proto=https;for=")


async def test_what_is_spoken_within_is_agreed_on(house: House) -> None:
    await house.start()
    context = client_context()
    context.set_alpn_protocols(["h2", "http/1.1"])
    assert tls_of(await house.client(context=context)).facts().alpn == "http/1.1"


async def test_a_proxy_header_comes_before_tls(house: House) -> None:
    await house.start(listener="expect_proxy = true")
    client = await house.client(begin=V1)
    assert (await client.get()).body == b"ok"
    assert values(house.backend.heads[0], b"x-forwarded-for") == [b"192.0.2.7"]
    assert values(house.backend.heads[0], b"x-forwarded-port") == [b"443"]
    with pytest.raises(HandshakeFailed):
        await house.client()
    assert any("no PROXY protocol header" in line for line in house.sessions)


@pytest.mark.parametrize("header", [V1, V2_SIGNATURE + b"\x20\x00\x00\x00"], ids=["v1", "local"])
async def test_who_closes_after_the_proxy_header_leaves_no_line(house: House, header: bytes) -> None:
    await house.start(listener="expect_proxy = true")
    with connect_raw(house.address) as sock:
        sock.send(header)
        await trio.sleep(1)
    await trio.sleep(1)
    assert house.sessions == []


async def test_who_says_nothing_after_the_proxy_header_was_too_slow(house: House) -> None:
    await house.start(listener="expect_proxy = true\nrequest_timeout = 5")
    with connect_raw(house.address) as sock:
        sock.send(V1)
        await trio.sleep(6)
        assert sock.recv(1) == b""
    assert any("it took too long" in line for line in house.sessions)


@pytest.mark.parametrize("begin", [b"", V1[:9]], ids=["silent", "in the middle"])
async def test_a_proxy_header_that_never_comes_ends_it(house: House, begin: bytes) -> None:
    await house.start(listener="expect_proxy = true\nrequest_timeout = 5")
    with connect_raw(house.address) as sock:
        sock.send(begin)
        await trio.sleep(4)
        with pytest.raises(BlockingIOError):
            sock.recv(1)
        await trio.sleep(2)
        assert sock.recv(1) == b""


@pytest.mark.parametrize(
    ("host", "strict", "status"),
    [
        ("example.com", True, 200),
        ("Example.com:8443", True, 200),
        ("also.example", True, 200),
        ("other.example", True, 421),
        ("other.example", False, 200),
        ("[::1]", True, 421),
    ],
)
async def test_a_host_the_certificate_is_not_for_is_misdirected(
    house: House, host: str, strict: bool, status: int
) -> None:
    await house.start(names=(NAME, "also.example"), listener=f"strict_sni_binding = {str(strict).lower()}")
    client = await house.client()
    for _ in range(2):
        assert (await client.get(host=host)).status == status
        assert (await client.get()).status == 200
    assert len(house.backend.heads) == (4 if status == 200 else 2)


async def test_under_the_default_certificate_it_is_the_name_asked_for(house: House) -> None:
    await house.start()
    client = await house.client("unknown.example")
    assert (await client.get(host="unknown.example")).status == 200
    assert (await client.get(host="another.example")).status == 421
    nameless = await house.client(None)
    assert (await nameless.get(host="unknown.example")).status == 421
    assert (await nameless.get()).status == 200
    await nameless.send(b"GET / HTTP/1.0\r\n\r\n")
    assert (await nameless.response()).status == 421


HSTS = "[listeners.hsts]\nenabled = true\nmax_age = 7"


@pytest.mark.parametrize("host", [NAME, "other.example"], ids=["404", "421"])
async def test_our_own_answers_carry_hsts(house: House, host: str) -> None:
    await house.start(listener=HSTS, frontend=', path = "/there"')
    client = await house.client()
    for _ in range(2):
        assert (await client.get(host=host)).fields[b"strict-transport-security"] == b"max-age=7"
    await client.send(request("TRACE /", "Max-Forwards: 0"))
    assert (await client.response("TRACE")).fields[b"strict-transport-security"] == b"max-age=7"
    await client.send(request("OPTIONS *", "Max-Forwards: 0"))
    assert (await client.response("OPTIONS")).fields[b"strict-transport-security"] == b"max-age=7"
    await client.send(b"nonsense\r\n\r\n")
    response = await client.response()
    assert (response.status, response.fields[b"strict-transport-security"]) == (400, b"max-age=7")


@pytest.mark.parametrize(
    ("theirs", "replaces", "expected"),
    [
        ("", "false", [b"max-age=7"]),
        ("STRICT-transport-security: max-age=1\r\n", "false", [b"max-age=1"]),
        ("STRICT-transport-security: max-age=1\r\n", "true", [b"max-age=7"]),
    ],
)
async def test_answers_of_backends_carry_hsts(house: House, theirs: str, replaces: str, expected: list[bytes]) -> None:
    answer = f"HTTP/1.1 200 OK\r\n{theirs}Content-Length: 2\r\n\r\nok".encode()
    await house.start(answer, listener=f"{HSTS}\nforce_replace_backend = {replaces}")
    client = await house.client()
    await client.send(GET)
    head = await client.receive_until(b"\r\n\r\n")
    assert values(head, b"strict-transport-security") == expected


async def test_what_was_agreed_on_is_in_the_access_log_and_counted(house: House) -> None:
    await house.start(top='access_logs_format = "json"')
    context = client_context()
    context.set_alpn_protocols(["http/1.1"])
    client = await house.client("unknown.example", context=context)
    await client.get(host="unknown.example")
    await client.send(b"nonsense\r\n\r\n")
    await client.response()
    for line in await access_log(house.proxy, 2):
        shown = json.loads(line)
        assert (shown["protocol"], shown["tls_version"], shown["tls_alpn"]) == ("HTTPS", "TLSv1.3", "http/1.1")
        assert (shown["tls_sni"], shown["tls_resumed"]) == ("unknown.example", False)
        assert shown["tls_cipher"].startswith("TLS_")


async def test_what_is_no_tls_is_closed_and_told_of(house: House) -> None:
    await house.start()
    with connect_raw(house.address) as sock:
        sock.send(GET)
        await trio.sleep(1)
        with contextlib.suppress(ConnectionResetError):  # Not all of what was sent has been read.
            assert b"HTTP" not in sock.recv(100)
    assert any("what came is not TLS" in line for line in house.sessions)


@pytest.mark.parametrize("begin", [b"", b"\x16\x03\x01\x02\x00\x01"], ids=["silent", "in mid-handshake"])
async def test_who_never_finishes_the_handshake_delays_nobody_and_is_gone_in_time(house: House, begin: bytes) -> None:
    await house.start(listener="request_timeout = 10")
    socks = [connect_raw(house.address) for _ in range(50)]
    for sock in socks:
        sock.send(begin)
    before = trio.current_time()
    assert (await (await house.client()).get()).status == 200
    assert trio.current_time() - before < 1
    await trio.sleep(11)
    for sock in socks:
        assert sock.recv(1) == b""
        sock.close()
    assert len([line for line in house.sessions if "it took too long" in line]) == (50 if begin else 0)


@pytest.mark.parametrize(
    ("timeouts", "begin", "longest"),
    [
        ("request_timeout = 0\nfront_timeout = 20", b"", 20),
        ("request_timeout = 0\nfront_timeout = 20", b"\x16", 20),
        ("request_timeout = 30\nfront_timeout = 20", b"\x16", 20),
        ("request_timeout = 0\nfront_timeout = 0", b"\x16", HANDSHAKE),
        ("request_timeout = 600\nfront_timeout = 0", b"\x16", HANDSHAKE),
    ],
)
async def test_nobody_takes_for_ever(house: House, timeouts: str, begin: bytes, longest: float) -> None:
    await house.start(listener=timeouts)
    with connect_raw(house.address) as sock:
        sock.send(begin)
        await trio.sleep(longest - 1)
        with pytest.raises(BlockingIOError):
            sock.recv(1)
        await trio.sleep(2)
        assert sock.recv(1) == b""


async def test_who_closes_without_a_word_leaves_no_line(house: House) -> None:
    await house.start()
    connect_raw(house.address).close()
    await trio.sleep(1)
    assert house.sessions == []


async def test_one_more_than_the_limit_gets_no_plain_answer(house: House) -> None:
    await house.start(top="max_connections = 1")
    await house.client()
    with connect_raw(house.address) as sock:
        await trio.sleep(1)
        assert sock.recv(100) == b""


async def test_versions_are_the_listener_s(house: House) -> None:
    await house.start(listener='tls_versions = ["TLS_V13"]')
    context = client_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(HandshakeFailed):
        await house.client(context=context)
    assert any("no version of TLS in common" in line for line in house.sessions)
    assert (await (await house.client()).get()).status == 200


async def test_what_changes_before_the_first_word_holds_for_it(house: House) -> None:
    await house.start()
    sock = connect_raw(house.address)
    await trio.sleep(1)
    state = house.proxy.supervisor.state
    ((key, listener),) = state.listeners.items()
    assert isinstance(listener, HttpsListener)
    only = dataclasses.replace(listener, tls=TlsSettings(versions=("TLS_V12",)))
    await house.proxy.supervisor.change(dataclasses.replace(state, listeners={key: only}), 2)
    house.clients.append(await open_client(house.address, sock=sock))
    assert tls_of(house.clients[0]).facts().version == "TLSv1.2"
