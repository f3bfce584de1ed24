"""close_notify as a record in hand, and a connection that goes on as if nothing had happened."""

import socket
import ssl

import pytest

from sozu_trio.proxy.close_notify import diverted, make_close_notify
from tests.descriptors import open_descriptors
from tests.proxy.tls_parts import connected, server_contexts, unshaken

pytestmark = pytest.mark.virtual_time


@pytest.fixture(params=["TLS_V12", "TLS_V13"], autouse=True)
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def test_nothing_is_sent_and_nothing_read(version: str) -> None:
    async with connected(server_contexts(versions=(version,))) as (client, server):
        await client.send(b"under way")
        with diverted(server._tls):
            """What stands in is kept from now on."""
        before = open_descriptors()
        record = make_close_notify(server._tls)
        assert record[0] == (0x15 if version == "TLS_V12" else 0x17)  # an alert; TLS 1.3 wraps it
        assert len(record) == 5 + int.from_bytes(record[3:5])
        assert await server.receive(100) == b"under way"
        with pytest.raises(ssl.SSLWantReadError):
            client._tls.recv(100)
        assert open_descriptors() == before
        assert not server._tls.get_inheritable()


async def test_after_the_other_side_has_ended(version: str) -> None:
    async with connected(server_contexts(versions=(version,))) as (client, server):
        client.shutdown()
        assert await server.receive(100) == b""
        assert make_close_notify(server._tls)


async def test_before_the_handshake_there_is_none() -> None:
    client, server = unshaken()
    assert make_close_notify(server._tls) == b""
    client.abort()
    server.abort()


async def test_the_descriptor_is_itself_again_after_a_failure(version: str) -> None:
    async with connected(server_contexts(versions=(version,))) as (client, server):
        with pytest.raises(ZeroDivisionError), diverted(server._tls):
            raise ZeroDivisionError
        await server.send(b"hello")
        assert await client.receive(100) == b"hello"


def leave_something(sock: socket.socket) -> None:
    with diverted(sock):
        sock.send(b"of somebody else")
        raise ZeroDivisionError


async def test_what_a_failure_leaves_behind_is_sent_to_nobody(version: str) -> None:
    one, other = socket.socketpair()
    with one, other, pytest.raises(ZeroDivisionError):
        leave_something(one)
    async with connected(server_contexts(versions=(version,))) as (_, server):
        assert b"of somebody else" not in make_close_notify(server._tls)


async def test_what_nobody_has_read_is_sent_to_nobody(version: str) -> None:
    one, other = socket.socketpair()
    with one, other:
        with diverted(one):
            one.send(b"of somebody else")
        async with connected(server_contexts(versions=(version,))) as (_, server):
            assert b"of somebody else" not in make_close_notify(server._tls)
