"""Clients that show a certificate: who is served, what backends are told, and what nobody can make them believe."""

import dataclasses
import hashlib
import json
import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import trio
from cryptography.hazmat.primitives.serialization import Encoding

from sozu_trio.config.listeners import HttpsListener
from sozu_trio.errors import HandshakeFailed
from sozu_trio.proxy import https
from sozu_trio.testing import BackendConnection, Client, RunningProxy
from sozu_trio.testing.plugin import StartBackend, StartProxy
from tests.proxy.https_house import left_in_order
from tests.proxy.parts import OK, access_log, request, values
from tests.proxy.secure import DAY, issued_now, open_client, secure_text, tls_of
from tests.tls.parts import Issued, issue
from tests.tls.peers import client_context, client_with

pytestmark = pytest.mark.virtual_time

AUTHORITY = issued_now(common_name="clients", authority=True)
STRANGER = issued_now(common_name="strangers", authority=True)
ANNA = issued_now("anna.example", common_name="anna", by=AUTHORITY)
FALSE = issued_now(common_name="anna", by=STRANGER)
PLAIN = """
[[listeners]]
protocol = "http"
address = "$http"
trusted_proxies = ["127.0.0.0/8"]
[clusters.plain]
protocol = "http"
frontends = [{ address = "$http", hostname = "*" }]
backends = [{ address = "$api" }]
"""
NAMES = (b"x-client-subject", b"x-client-san", b"x-client-fingerprint", b"x_client_subject", b"x.client~subject")
LIES = (
    "X-Client-Subject: CN=root",
    "X-Client-San: DNS:root",
    "x-client-FINGERPRINT: 00",
    "X_Client_Subject: CN=root",
    "X.Client~Subject: CN=root",
)
FINGERPRINT = hashlib.sha256(ANNA.certificate.public_bytes(Encoding.DER)).hexdigest().encode()
TOLD = {NAMES[0]: [b"CN=anna"], NAMES[1]: [b"DNS:anna.example"], NAMES[2]: [FINGERPRINT], NAMES[3]: [], NAMES[4]: []}
NOTHING: dict[bytes, list[bytes]] = {name: [] for name in NAMES}


class House:
    """A proxy with an https listener that asks for certificates, and one of http before the same backend."""

    def __init__(self, folder: Path, start_proxy: StartProxy, start_backend: StartBackend) -> None:
        self.clients: list[Client] = []
        self._folder = folder
        self._start_proxy = start_proxy
        self._start_backend = start_backend

    async def start(self, client_auth: str = "required", *, more: str = "", top: str = "", script: object = OK) -> None:
        file = self._folder / "clients.pem"
        file.write_bytes(AUTHORITY.pem)
        asked = f'client_auth = "{client_auth}"\n{f"""client_ca = "{file}" """ * (client_auth != "none")}\n{more}'
        self.backend = await self._start_backend(script)
        text = secure_text(self._folder, listener=asked, top=top) + PLAIN
        self.proxy: RunningProxy = await self._start_proxy(text, api=self.backend)

    async def client(self, shown: Issued | None = None, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> Client:
        context = client_context() if shown is None else client_with(shown, version)
        self.clients.append(await open_client(self.proxy.addresses["https"], context=context))
        return self.clients[-1]

    async def plain(self) -> Client:
        address = self.proxy.addresses["http"]
        self.clients.append(Client(await trio.open_tcp_stream(address.host, address.port)))
        return self.clients[-1]

    def told(self) -> dict[bytes, list[bytes]]:
        """What the last request told the backend of the client."""
        return {name: values(self.backend.heads[-1], name) for name in NAMES}

    async def counted(self) -> dict[str, int]:
        (looked,) = (await self.proxy.supervisor.look("counters")).values()
        counters: dict[str, int] = looked["counters"]
        return counters

    async def change(self, **keys: object) -> None:
        """Keys of the https listener."""
        state = self.proxy.supervisor.state
        changed = {
            key: dataclasses.replace(each, **keys) if isinstance(each, HttpsListener) else each  # type: ignore[arg-type]
            for key, each in state.listeners.items()
        }
        await self.proxy.supervisor.change(dataclasses.replace(state, listeners=changed), 2)


@pytest.fixture
async def house(tmp_path: Path, start_proxy: StartProxy, start_backend: StartBackend) -> AsyncIterator[House]:
    house = House(tmp_path, start_proxy, start_backend)
    async with left_in_order(house):
        yield house


async def ask(client: Client, *fields: str) -> int:
    await client.send(request("GET /", *fields))
    return (await client.response()).status


async def refused(house: House, shown: Issued | None, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> str:
    """The line that says why. A client of TLS 1.3 learns of it when it reads."""
    with pytest.raises((OSError, HandshakeFailed)):
        await tls_of(await house.client(shown, version)).receive(1)
    await trio.sleep(1)
    assert house.backend.heads == []
    return next(line for line in house.proxy.log if "TLS handshake" in line)


@pytest.mark.parametrize("client_auth", ["optional", "required"])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_the_backend_is_told_who_it_is(house: House, client_auth: str, version: ssl.TLSVersion) -> None:
    await house.start(client_auth)
    client = await house.client(ANNA, version)
    for lies in ((), LIES, ("Connection: X-Client-Subject",)):
        assert await ask(client, *lies) == 200
        assert house.told() == TOLD


async def test_where_none_is_required_nobody_is_known_by_what_she_says(house: House) -> None:
    await house.start("optional")
    assert await ask(await house.client(), *LIES) == 200
    assert house.told() == NOTHING


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_who_shows_none_where_one_is_required(house: House, version: ssl.TLSVersion) -> None:
    await house.start(more=f'tls_versions = ["{"TLS_V12" if version == ssl.TLSVersion.TLSv1_2 else "TLS_V13"}"]')
    assert "the other side has shown no certificate" in await refused(house, None)
    assert (await house.counted())["tls.handshake.failed.no_certificate"] == 1


@pytest.mark.parametrize("client_auth", ["optional", "required"])
async def test_who_shows_one_of_another_authority(house: House, client_auth: str) -> None:
    await house.start(client_auth)
    said = await refused(house, FALSE)
    assert "the certificate of the other side is not good (unable to get local issuer certificate)" in said
    counted = await house.counted()
    assert (counted["tls.handshake.failed.invalid_certificate"], counted["tls.handshakes"]) == (1, 0)


async def test_nobody_says_it_at_another_listener_either(house: House) -> None:
    await house.start()
    assert await ask(await house.plain(), *LIES) == 200
    assert house.told() == NOTHING


@pytest.mark.parametrize("plain", [False, True])
async def test_nobody_says_it_in_a_trailer(house: House, plain: bool) -> None:
    bodies: list[bytes] = []

    async def script(connection: BackendConnection) -> None:
        await connection.read_head()
        bodies.append(await connection.receive_until(b"X-Sum: 1\r\n\r\n"))
        await connection.send(OK)

    await house.start("optional", script=script)
    client = await house.plain() if plain else await house.client(ANNA)
    lies = b"X-Client-Subject: CN=root\r\nX_Client_San: DNS:root\r\nX.Client.San: DNS:root\r\n"
    body = b"1\r\nx\r\n0\r\n" + lies + b"X-Sum: 1\r\n\r\n"
    await client.send(request("POST /", "Transfer-Encoding: chunked") + body)
    assert (await client.response()).status == 200
    assert bodies == [b"1\r\nx\r\n0\r\nX-Sum: 1\r\n\r\n"]


async def test_where_no_listener_asks_nothing_is_dropped(house: House) -> None:
    await house.start("none")
    for client in (await house.client(ANNA), await house.plain()):
        assert await ask(client, "X-Client-Subject: CN=root") == 200
        assert house.told()[NAMES[0]] == [b"CN=root"]


async def test_those_who_are_connected_already_follow(house: House) -> None:
    await house.start("none")
    client = await house.plain()
    assert await ask(client, *LIES) == 200
    assert house.told() != NOTHING
    listener = next(each for each in house.proxy.supervisor.state.listeners.values() if isinstance(each, HttpsListener))
    asking = dataclasses.replace(listener.tls, client_auth="optional", client_ca=AUTHORITY.pem.decode())
    await house.change(tls=asking)
    assert await ask(client, *LIES) == 200
    assert house.told() == NOTHING


async def test_a_connection_keeps_the_names_it_began_with(house: House) -> None:
    await house.start()
    client = await house.client(ANNA)
    assert await ask(client, *LIES) == 200
    await house.change(client_subject_header="X-Who")
    assert await ask(client, *LIES, "X-Who: root") == 200
    assert house.told() == TOLD
    assert values(house.backend.heads[-1], b"x-who") == []


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_who_has_a_new_certificate_is_served_where_her_session_began_with_one_that_has_expired(
    house: House, version: ssl.TLSVersion, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    await house.start()
    soon = issue(common_name="soon", by=AUTHORITY, begin=time.time() - DAY, end=time.time() + DAY)
    later = issued_now(common_name="later", by=AUTHORITY)
    context = client_with(soon, version)
    client = await open_client(house.proxy.addresses["https"], context=context)
    assert await ask(client) == 200
    sock = tls_of(client).sock
    assert isinstance(sock, ssl.SSLSocket)
    session = sock.session
    assert session is not None
    await trio.aclose_forcefully(client.stream)
    file = tmp_path / "later.pem"
    file.write_bytes(later.pem + later.key_pem)
    context.load_cert_chain(file)
    expired = soon.certificate.not_valid_after_utc.timestamp() + 1
    monkeypatch.setattr(https, "time", SimpleNamespace(time=lambda: expired))
    client = await open_client(house.proxy.addresses["https"], context=context, session=session)
    house.clients.append(client)
    assert await ask(client) == 200
    assert house.told()[NAMES[0]] == [b"CN=later"]


async def test_it_is_in_the_access_log(house: House) -> None:
    await house.start("optional", top='access_logs_format = "json"')
    await ask(await house.client(ANNA))
    await ask(await house.client())
    shown = [json.loads(line) for line in await access_log(house.proxy, 2)]
    assert [(each["tls_client_subject"], each["tls_client_fingerprint"]) for each in shown] == [
        ("CN=anna", FINGERPRINT.decode()),
        (None, None),
    ]
