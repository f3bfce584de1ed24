"""What backends are told about the client: made anew for strangers, added to for those we trust."""

from typing import Any, cast

import pytest

from sozu_trio.config.addresses import Address
from sozu_trio.config.limits import HeadLimits
from sozu_trio.config.listeners import HttpListener
from sozu_trio.proxy.forwarding import Forwarding, is_trusted
from sozu_trio.wire.heads import RequestHead
from sozu_trio.wire.request import RequestParser
from tests.proxy.parts import Net, request, values

HERE = Address("192.0.2.1", 80)
CLIENT = Address("198.51.100.7", 5000)
CLIENT_6 = Address("2001:db8::7", 5000)

SENT = [
    "X-Forwarded-For: 203.0.113.9, 10.0.0.1",
    "X-Forwarded-For: 10.0.0.2",
    "X-Forwarded-Proto: https",
    "X-Forwarded-Port: 8443",
    "X-Forwarded-Host: www.example.com",
    "Forwarded: for=203.0.113.9;proto=https",
    "X-Real-IP: 203.0.113.9",
    "X-Request-Id: theirs",
]


def head(*fields: str) -> RequestHead:
    found = RequestParser(HeadLimits()).parse(request("GET /", *fields))
    assert found
    return found


def told(sent: list[str], client: Address = CLIENT, destination: Address = HERE, **listener: Any) -> bytes:
    """The lines a backend gets, as a head of their own."""
    forwarding = Forwarding(HttpListener(address=HERE, **listener), client, destination)
    asked = head(*sent)
    _, lines = forwarding.lines(asked, b"01ULID")
    return b"GET / HTTP/1.1\r\n" + lines + b"\r\n\r\n"


def all_of(lines: bytes) -> dict[bytes, list[bytes]]:
    return {
        line.split(b": ")[0].lower(): values(lines, line.split(b": ")[0].lower()) for line in lines.split(b"\r\n")[1:-2]
    }


ANEW = {
    b"x-forwarded-for": [b"198.51.100.7"],
    b"x-forwarded-proto": [b"http"],
    b"x-forwarded-port": [b"80"],
    b"forwarded": [b'proto=http;for="198.51.100.7:5000";by=192.0.2.1'],
    b"x-request-id": [b"01ULID"],
    b"sozu-id": [b"01ULID"],
}


@pytest.mark.parametrize("sent", [[], SENT])
@pytest.mark.parametrize("trusted", [(), ("10.0.0.0/8", "2001:db8::/32")])
def test_a_stranger_s_word_counts_nothing(sent: list[str], trusted: tuple[str, ...]) -> None:
    assert all_of(told(sent, trusted_proxies=trusted)) == ANEW


def test_a_trusted_client_that_says_nothing() -> None:
    assert all_of(told([], trusted_proxies=("198.51.100.0/24",))) == ANEW


def test_a_trusted_client_is_believed_and_added_to() -> None:
    assert all_of(told(SENT, trusted_proxies=("198.51.100.0/24",))) == {
        b"x-forwarded-for": [b"203.0.113.9, 10.0.0.1, 10.0.0.2, 198.51.100.7"],
        b"x-forwarded-proto": [b"https"],
        b"x-forwarded-port": [b"8443"],
        b"x-forwarded-host": [b"www.example.com"],
        b"forwarded": [b'for=203.0.113.9;proto=https, proto=http;for="198.51.100.7:5000";by=192.0.2.1'],
        b"x-real-ip": [b"203.0.113.9"],
        b"x-request-id": [b"theirs"],
        b"sozu-id": [b"01ULID"],
    }


def test_a_trusted_client_s_empty_request_id_is_none() -> None:
    assert values(told(["X-Request-Id:"], trusted_proxies=("198.51.100.0/24",)), b"x-request-id") == [b"01ULID"]


def test_ipv6() -> None:
    lines = told([], CLIENT_6, Address("2001:db8::1", 8080))
    assert values(lines, b"x-forwarded-for") == [b"2001:db8::7"]
    assert values(lines, b"forwarded") == [b'proto=http;for="[2001:db8::7]:5000";by="[2001:db8::1]"']


def test_public_address_is_what_we_are_called() -> None:
    lines = told([], public_address=Address("203.0.113.80", 443))
    assert values(lines, b"x-forwarded-port") == [b"443"]
    assert values(lines, b"forwarded") == [b'proto=http;for="198.51.100.7:5000";by=203.0.113.80']


@pytest.mark.parametrize(
    ("trusted", "lines", "real_ip"),
    [
        ((), {}, []),
        ((), {"elide_x_real_ip": True}, []),
        ((), {"send_x_real_ip": True}, [b"198.51.100.7"]),
        (("198.51.100.7/32",), {}, [b"203.0.113.9"]),
        (("198.51.100.7/32",), {"elide_x_real_ip": True}, []),
        (("198.51.100.7/32",), {"send_x_real_ip": True}, [b"198.51.100.7"]),
        (("198.51.100.7/32",), {"send_x_real_ip": True, "elide_x_real_ip": True}, [b"198.51.100.7"]),
    ],
)
def test_real_ip(trusted: tuple[str, ...], lines: dict[str, bool], real_ip: list[bytes]) -> None:
    assert (
        values(told(["X-Real-IP: 203.0.113.9"], trusted_proxies=trusted, **cast(Any, lines)), b"x-real-ip") == real_ip
    )


@pytest.mark.parametrize("trusted", [(), ("198.51.100.7/32",)])
def test_via_and_the_id_field_as_configured(trusted: tuple[str, ...]) -> None:
    lines = told(["X-Forwarded-For: a"], trusted_proxies=trusted, via="edge", sozu_id_header="Trace-Id")
    assert (values(lines, b"via"), values(lines, b"trace-id"), values(lines, b"sozu-id")) == (
        [b"1.1 edge"],
        [b"01ULID"],
        [],
    )


@pytest.mark.parametrize(
    ("host", "networks", "trusted"),
    [
        ("10.1.2.3", ["10.0.0.0/8"], True),
        ("10.1.2.3", ["10.1.2.3/32", "2001:db8::/32"], True),
        ("11.1.2.3", ["10.0.0.0/8", "2001:db8::/32"], False),
        ("2001:db8::1", ["10.0.0.0/8", "2001:db8::/32"], True),
        ("2001:db9::1", ["10.0.0.0/8", "2001:db8::/32"], False),
        ("10.1.2.3", ["::/0"], False),
    ],
)
def test_trusted_networks(host: str, networks: list[str], trusted: bool) -> None:
    assert is_trusted(HttpListener(address=HERE, trusted_proxies=tuple(networks)), Address(host, 1)) is trusted


async def test_backend_sees_one_of_each(net: Net) -> None:
    """Through the whole proxy: forged and look-alike fields do not get past it."""
    backend = await net.backend()
    client = await net.client(await net.proxy(backend))
    names = ["Sozu-Id", "SOZU-ID", "sozu_id", "Sozu.Id", "X_Forwarded_For", "X_Real_IP", "X.Request!ID"]
    forged = [f"{name}: forged" for name in names]
    await client.send(request("GET /", *SENT, *forged))
    ulid = (await client.response()).fields[b"sozu-id"]
    (got,) = backend.heads
    assert b"forged" not in got
    assert b"203.0.113.9" not in got
    assert values(got, b"sozu-id") == values(got, b"x-request-id") == [ulid]
    assert values(got, b"x-forwarded-for") == [b"127.0.0.1"]
    assert values(got, b"forwarded")[0].startswith(f'proto=http;for="{client.address}";by=127.0.0.1'.encode())


async def test_connection_cannot_name_our_fields_away(net: Net) -> None:
    backend = await net.backend()
    client = await net.client(await net.proxy(backend, listener='trusted_proxies = ["127.0.0.0/8"]'))
    await client.send(request("GET /", "X-Forwarded-For: 203.0.113.9", "Connection: x-forwarded-for, sozu-id, host"))
    await client.response()
    (got,) = backend.heads
    assert values(got, b"x-forwarded-for") == [b"203.0.113.9, 127.0.0.1"]
    assert len(values(got, b"sozu-id")) == len(values(got, b"host")) == 1


async def test_ids_are_new_for_each_request(net: Net) -> None:
    backend = await net.backend()
    client = await net.client(await net.proxy(backend))
    ids = {(await client.get()).fields[b"sozu-id"] for _ in range(3)}
    assert ids == {values(got, b"x-request-id")[0] for got in backend.heads}
    assert len(ids) == 3
