"""Requests and sessions to backends that speak TLS, and to those with whom it does not come about."""

import json
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio
from cryptography.hazmat.primitives.hashes import SHA256

from sozu_trio.testing import BackendConnection, RunningProxy
from sozu_trio.tls import client_contexts
from sozu_trio.wire.proxy_protocol import encode_proxy_v2
from tests.proxy.parts import GET, Net, access_log, counters_of, is_reset, request
from tests.proxy.secure_backends import DAY, Authority, SecureBackend, SecureConnection, open_secure_backends
from tests.proxy.tcp_sessions import Connect, Start, line_of
from tests.proxy.test_upgrade import ASK
from tests.tls.parts import Issued

BIG = bytes(range(256)) * 8192
"""2 MiB"""
JSON = 'access_logs_format = "json"'
Begin = Callable[..., Awaitable[SecureBackend]]

pytestmark = pytest.mark.virtual_time


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
async def backend(authority: Authority) -> AsyncIterator[Begin]:
    """`await backend(context, script)`: a TLS backend until the test is over."""
    async with open_secure_backends() as start:
        yield lambda context=None, *arguments, **how: start(context or authority.server(), *arguments, **how)


def tls(authority: Authority, *lines: str) -> str:
    """The table of a cluster."""
    return "tls = { " + ", ".join((f'ca = "{authority.file}"', *lines)) + " }"


async def refusal(net: Net, proxy: RunningProxy) -> dict[str, Any]:
    """The line of a request that is answered 502."""
    client = await net.client(proxy)
    assert (await client.get()).status == 502
    line: dict[str, Any] = json.loads((await access_log(proxy, 1))[0])
    return line


async def test_its_address_is_verified_and_no_name_of_a_client_is_sent(
    net: Net, authority: Authority, backend: Begin
) -> None:
    api = await backend()
    proxy = await net.proxy(api, cluster=tls(authority))
    client = await net.client(proxy)
    assert (await client.get()).body == b"ok"
    assert (api.server_names, api.alpn) == ([None], ["http/1.1"])
    assert b"Host: example.com" in api.heads[0]


async def test_its_name_is_verified_and_sent(net: Net, authority: Authority, backend: Begin) -> None:
    api = await backend(authority.server("api.internal"))
    proxy = await net.proxy(api, cluster=tls(authority, 'server_name = "api.internal"'))
    assert (await (await net.client(proxy)).get()).body == b"ok"
    assert api.server_names == ["api.internal"]


@pytest.mark.parametrize("version", ["TLS_V12", "TLS_V13"])
async def test_connections_are_kept_although_tickets_come_after_the_handshake(
    net: Net, authority: Authority, backend: Begin, version: str
) -> None:
    api = await backend()
    proxy = await net.proxy(api, cluster=tls(authority, f'tls_versions = ["{version}"]'))
    client = await net.client(proxy)
    for _ in range(3):
        assert (await client.get()).body == b"ok"
    assert api.resumed == [False]
    assert (await counters_of(proxy))["backend.pool.hit"] == 2


@pytest.mark.parametrize("version", ["TLS_V12", "TLS_V13"])
async def test_the_next_connection_resumes_the_session(
    net: Net, authority: Authority, backend: Begin, version: str
) -> None:
    api = await backend(script=answer_once)
    proxy = await net.proxy(api, cluster=tls(authority, f'tls_versions = ["{version}"]'))
    client = await net.client(proxy)
    for _ in range(3):
        assert (await client.get()).body == b"ok"
    assert api.resumed == [False, True, True]
    counted = await counters_of(proxy)
    assert (counted["backend.tls.handshakes"], counted["backend.tls.resumed"]) == (3, 2)


@pytest.mark.parametrize("version", ["TLS_V12", "TLS_V13"])
async def test_no_session_is_resumed_once_the_certificate_has_expired(
    net: Net, authority: Authority, backend: Begin, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = await backend(script=answer_once)
    proxy = await net.proxy(api, cluster=tls(authority, f'tls_versions = ["{version}"]'))
    client = await net.client(proxy)
    for days in (0, 0.9, 1.1, 1.2):
        now = time.time() + days * DAY
        monkeypatch.setattr(client_contexts, "time", SimpleNamespace(time=lambda now=now: now))
        assert (await client.get()).body == b"ok"
    assert api.resumed == [False, True, False, False]


@pytest.mark.parametrize("asked", ["verify = false", "fingerprint"])
async def test_where_no_expiry_is_looked_at_sessions_are_resumed_after_it(
    net: Net, authority: Authority, backend: Begin, asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = authority.issue("127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.write("pinned", shown))
    api = await backend(context, answer_once)
    if asked == "fingerprint":
        asked = f'fingerprint = "{shown.certificate.fingerprint(SHA256()).hex()}"'
    proxy = await net.proxy(api, cluster=f"tls = {{ {asked} }}")
    client = await net.client(proxy)
    for days in (0, 1.1):
        now = time.time() + days * DAY
        monkeypatch.setattr(client_contexts, "time", SimpleNamespace(time=lambda now=now: now))
        assert (await client.get()).body == b"ok"
    assert api.resumed == [False, True]


async def answer_once(connection: SecureConnection) -> None:
    await connection.read_head()
    await connection.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
    await connection.stream.aclose()


@pytest.mark.parametrize(
    ("names", "times", "words"),
    [
        (("127.0.0.1",), {"end": -60.0}, "the backend's certificate has expired (certificate has expired)"),
        (("127.0.0.1",), {"begin": 60.0}, "the backend's certificate is not valid yet (certificate is not yet valid)"),
        (("a.example",), {}, "the backend's certificate is for another name (IP address mismatch"),
    ],
)
async def test_a_certificate_that_is_not_good(
    net: Net, authority: Authority, backend: Begin, names: tuple[str, ...], times: dict[str, float], words: str
) -> None:
    api = await backend(authority.server(*names, **times))
    proxy = await net.proxy(api, cluster=tls(authority), top=JSON)
    line = await refusal(net, proxy)
    assert line["message"].startswith(words)
    assert any("backend b0 of cluster api" in each and words in each for each in proxy.log)
    assert (await counters_of(proxy))["backend.tls.failed.certificate"] == 1


async def test_an_authority_that_nobody_knows(net: Net, authority: Authority, backend: Begin, tmp_path: Path) -> None:
    api = await backend()
    tmp_path.joinpath("other").mkdir()
    other = Authority(tmp_path / "other", "other")
    line = await refusal(net, await net.proxy(api, cluster=tls(other), top=JSON))
    assert line["message"].startswith("the backend's certificate is from an unknown authority")


async def test_the_systems_authorities_are_asked_where_none_are_named(net: Net, backend: Begin) -> None:
    api = await backend()
    line = await refusal(net, await net.proxy(api, cluster="tls = {}", top=JSON))
    assert line["message"].startswith("the backend's certificate is from an unknown authority")


async def test_another_name_than_the_one_wanted(net: Net, authority: Authority, backend: Begin) -> None:
    api = await backend(authority.server("127.0.0.1", "b.example"))
    cluster = tls(authority, 'server_name = "a.example"')
    line = await refusal(net, await net.proxy(api, cluster=cluster, top=JSON))
    assert line["message"].startswith("the backend's certificate is for another name (Hostname mismatch")


async def test_a_fingerprint_alone_asks_no_authority(net: Net, authority: Authority, backend: Begin) -> None:
    issued = authority.issue("elsewhere.example", end=-60)
    api = await backend(server_with(authority, issued))
    cluster = f'tls = {{ fingerprint = "{fingerprint_of(issued)}" }}'
    proxy = await net.proxy(api, cluster=cluster)
    assert (await (await net.client(proxy)).get()).body == b"ok"


async def test_another_fingerprint(net: Net, authority: Authority, backend: Begin) -> None:
    issued = authority.issue("127.0.0.1")
    api = await backend(server_with(authority, issued))
    cluster = tls(authority, f'fingerprint = "{"ab" * 32}"')
    line = await refusal(net, await net.proxy(api, cluster=cluster, top=JSON))
    assert line["message"] == f"the backend's certificate has another fingerprint: {fingerprint_of(issued)}"
    assert api.heads == []


async def test_a_fingerprint_beside_authorities(net: Net, authority: Authority, backend: Begin) -> None:
    issued = authority.issue("127.0.0.1", end=-60)
    api = await backend(server_with(authority, issued))
    cluster = tls(authority, f'fingerprint = "{fingerprint_of(issued)}"')
    line = await refusal(net, await net.proxy(api, cluster=cluster, top=JSON))
    assert line["message"].startswith("the backend's certificate has expired")


def server_with(authority: Authority, issued: Issued) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.write("pinned", issued))
    return context


def fingerprint_of(issued: Issued) -> str:
    return issued.certificate.fingerprint(SHA256()).hex()


async def test_verification_may_be_switched_off(net: Net, authority: Authority, backend: Begin) -> None:
    api = await backend(authority.server("a.example", end=-60))
    proxy = await net.proxy(api, cluster="tls = { verify = false }")
    assert (await (await net.client(proxy)).get()).body == b"ok"
    assert any("whoever answers at a backend's address is believed" in line for line in proxy.log)


async def test_a_backend_that_does_not_speak_tls(net: Net, authority: Authority) -> None:
    async def complain(connection: BackendConnection) -> None:
        await connection.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        await connection.receive_all()

    plain = await net.backend(complain)
    proxy = await net.proxy(plain, cluster=tls(authority), top=JSON)
    line = await refusal(net, proxy)
    assert line["message"].startswith("the backend does not speak TLS")
    assert (await counters_of(proxy))["backend.tls.failed.not_tls"] == 1


async def test_a_backend_that_never_says_a_word(net: Net, authority: Authority) -> None:
    async def listen(connection: BackendConnection) -> None:
        await connection.receive_all()

    silent = await net.backend(listen)
    proxy = await net.proxy(silent, cluster=tls(authority), top=f"{JSON}\nconnect_timeout = 2")
    began = trio.current_time()
    line = await refusal(net, proxy)
    assert trio.current_time() - began == pytest.approx(2, abs=0.5)
    assert line["message"] == "the TLS handshake with the backend took too long"
    assert (await counters_of(proxy))["backend.tls.failed.timeout"] == 1
    await trio.sleep(1)
    assert silent.open == 0


async def test_a_backend_that_hangs_up(net: Net, authority: Authority) -> None:
    async def hang_up(connection: BackendConnection) -> None:
        await connection.receive_exactly(5)

    gone = await net.backend(hang_up)
    line = await refusal(net, await net.proxy(gone, cluster=tls(authority), top=JSON))
    assert line["message"].startswith("the backend ended the connection in the TLS handshake")


@pytest.mark.parametrize("version", ["TLS_V12", "TLS_V13"])
async def test_a_backend_that_wants_a_certificate(net: Net, authority: Authority, backend: Begin, version: str) -> None:
    """In TLS 1.3 it says so only after our side of the handshake is done."""
    context = authority.server()
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(authority.file)
    api = await backend(context)
    versions = f'tls_versions = ["{version}"]'
    certificate, key = authority.write("client", authority.issue("proxy.example"))
    shown = await net.proxy(api, cluster=tls(authority, versions, f'certificate = "{certificate}"', f'key = "{key}"'))
    assert (await (await net.client(shown)).get()).body == b"ok"
    silent = await net.proxy(api, cluster=tls(authority, versions), top=JSON)
    words, counted = {
        "TLS_V12": ("or it wants a certificate of ours (SSLV3_ALERT_HANDSHAKE_FAILURE)", "other"),
        "TLS_V13": ("or wants one (TLSV13_ALERT_CERTIFICATE_REQUIRED)", "client_certificate"),
    }[version]
    assert words in (await refusal(net, silent))["message"]
    assert (await counters_of(silent))[f"backend.tls.failed.{counted}"] >= 1


async def test_another_backend_is_tried_and_the_first_left_alone(
    net: Net, authority: Authority, backend: Begin
) -> None:
    bad, good = await backend(authority.server("a.example")), await backend()
    proxy = await net.proxy(bad, good, cluster=tls(authority))
    client = await net.client(proxy)
    for _ in range(4):
        assert (await client.get()).status == 200
    assert len(good.heads) == 4
    assert (await counters_of(proxy))["backend.tls.failed.certificate"] == 1


async def test_while_it_is_left_alone_the_reason_is_known(net: Net, authority: Authority, backend: Begin) -> None:
    api = await backend(authority.server("a.example"))
    proxy = await net.proxy(api, cluster=tls(authority), top=JSON)
    client = await net.client(proxy)
    for _ in range(2):
        assert (await client.get()).status == 502
    first, second = [json.loads(line)["message"] for line in await access_log(proxy, 2)]
    assert first == second
    assert (await counters_of(proxy))["backend.tls.failed.certificate"] == 1


async def test_long_bodies_both_ways(net: Net, authority: Authority, backend: Begin) -> None:
    got: list[bytes] = []

    async def swap(connection: SecureConnection) -> None:
        await connection.read_head()
        got.append(await connection.read_exactly(len(BIG)))
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BIG) + BIG)
        await connection.read_head()

    api = await backend(script=swap)
    client = await net.client(await net.proxy(api, cluster=tls(authority)))
    await client.send(request("PUT /", f"Content-Length: {len(BIG)}") + BIG)
    response = await client.response()
    assert (response.status, response.body == BIG, got == [BIG]) == (200, True, True)


async def test_an_upgrade(net: Net, authority: Authority, backend: Begin) -> None:
    async def echo(connection: SecureConnection) -> None:
        await connection.read_head()
        await connection.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
        while data := await connection.stream.receive_some():
            await connection.send(bytes(data))
        await connection.stream.aclose()

    api = await backend(script=echo)
    client = await net.client(await net.proxy(api, cluster=tls(authority)))
    await client.send(ASK)
    assert (await client.receive_until(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
    for word in (b"one", b"three"):
        await client.send(word)
        assert await client.receive_exactly(len(word)) == word
    await client.send_eof()
    assert await client.receive_all() == b""


@pytest.mark.parametrize("says_goodbye", [True, False])
async def test_what_was_cut_is_never_taken_for_the_whole(
    net: Net, authority: Authority, backend: Begin, says_goodbye: bool
) -> None:
    async def answer(connection: SecureConnection) -> None:
        await connection.read_head()
        await connection.send(b"HTTP/1.1 200 OK\r\n\r\nall there is")
        if says_goodbye:
            await connection.stream.aclose()
        else:
            await connection.stream.transport_stream.send_eof()

    api = await backend(script=answer)
    proxy = await net.proxy(api, cluster=tls(authority), top=JSON)
    client = await net.client(proxy)
    await client.send(GET)
    if says_goodbye:
        assert b"all there is" in (await client.response()).body
    else:
        assert await is_reset(client)
    line = json.loads((await access_log(proxy, 1))[0])
    assert ("cut short" in line["message"]) is not says_goodbye


async def test_a_session_of_tcp(serve: Start, connect: Connect, authority: Authority, backend: Begin) -> None:
    db = await backend(script=echo_all)
    proxy = await serve(db, cluster=tls(authority))
    client = await connect(proxy)
    await client.send(b"hello")
    assert await client.receive_exactly(5) == b"hello"
    await client.send_eof()
    assert await client.receive_all() == b""
    line = await line_of(proxy)
    assert (line["message"], db.alpn, db.ends) == ("complete", [None], [])


async def test_a_proxy_header_goes_before_tls(
    serve: Start, connect: Connect, authority: Authority, backend: Begin
) -> None:
    db = await backend(script=echo_all, opening=28)
    proxy = await serve(db, cluster=f"send_proxy = true\n{tls(authority)}")
    client = await connect(proxy)
    await client.send(b"hello")
    assert await client.receive_exactly(5) == b"hello"
    (header,) = db.opened
    assert header == encode_proxy_v2(client.address, proxy.addresses["tcp"])


async def test_a_session_of_tcp_with_a_backend_that_cannot_be_believed(
    serve: Start, connect: Connect, authority: Authority, backend: Begin
) -> None:
    db = await backend(authority.server("a.example"))
    proxy = await serve(db, cluster=tls(authority))
    assert await (await connect(proxy)).receive_all() == b""
    line = await line_of(proxy)
    assert str(line["message"]).startswith("the backend's certificate is for another name")


async def echo_all(connection: SecureConnection) -> None:
    while data := await connection.stream.receive_some():
        await connection.send(bytes(data))
    await connection.stream.aclose()
