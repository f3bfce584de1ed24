"""TLS sessions stay with their worker when it hands over: served, told to go, never cut in the middle of anything."""

import dataclasses
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from sozu_trio.config.certificates import ListenerCertificate
from sozu_trio.config.limits import LAST_CALL
from sozu_trio.config.listeners import HttpListener, HttpsListener
from sozu_trio.routing.state import State, certificate_key, listener_key
from sozu_trio.testing import BackendConnection, Client, ScriptedBackend
from sozu_trio.testing.plugin import StartBackend
from tests.proxy.moving import Succession
from tests.proxy.parts import GET, OK, values
from tests.proxy.secure import NAME, connect_raw, issued_now, open_client
from tests.proxy.test_upgrade import ASK, echo

pytestmark = pytest.mark.virtual_time


def with_tls(state: State) -> State:
    """The same where the http listener speaks TLS."""
    (http,) = [each for each in state.listeners.values() if type(each) is HttpListener]
    members = {each.name: getattr(http, each.name) for each in dataclasses.fields(http)}
    https = HttpsListener(**members)
    record = ListenerCertificate(address=http.address, certificate=issued_now(NAME).read(time.time()))
    return dataclasses.replace(
        state,
        listeners={**state.listeners, listener_key(https): https},
        certificates={certificate_key(record): record},
        declared=None,
    )


class Secure(Succession):
    """Workers whose http listener is one of https."""

    plain: State
    """Where it is not."""

    async def tls_client(self) -> Client:
        self.clients.append(await open_client(self.addresses["http"]))
        return self.clients[-1]

    async def served(self) -> Client:
        """A client that has had a response."""
        client = await self.tls_client()
        await client.send(GET)
        assert await client.receive_until(b"ok")
        return client


@asynccontextmanager
async def open_secure(backend: ScriptedBackend) -> AsyncIterator[Secure]:
    async with trio.open_nursery() as nursery:
        secure = Secure(nursery, backend)
        secure.plain = secure.state
        secure.state = with_tls(secure.plain)
        await secure.start()
        yield secure
        await secure.close()


async def test_idle_ones_have_a_last_call_and_then_a_close_notify(start_backend: StartBackend) -> None:
    async with open_secure(await start_backend()) as secure:
        used, fresh = await secure.served(), await secure.tls_client()
        await trio.sleep(5)
        begun = trio.current_time()
        _, said = await secure.succeed()
        assert (said.moved, said.left) == (0, 2)
        for client in (used, fresh):
            assert await client.receive_all() == b""
        assert LAST_CALL <= trio.current_time() - begun < LAST_CALL + 1
        await secure.workers[0].over.wait()
        assert secure.workers[0].stopped is not None
        assert secure.workers[0].stopped.cut == 0


async def test_a_request_in_the_last_call_is_answered_and_is_the_last(start_backend: StartBackend) -> None:
    async with open_secure(await start_backend()) as secure:
        client = await secure.served()
        await trio.sleep(30)
        await secure.succeed()
        await trio.sleep(LAST_CALL / 2)
        await client.send(GET)
        answer = await client.receive_all()
        assert answer.endswith(b"ok")
        assert values(answer, b"connection") == [b"close"]
        assert secure.total("requests") == 2


async def test_a_request_that_runs_is_answered_to_its_end(start_backend: StartBackend) -> None:
    go = trio.Event()

    async def slow(connection: BackendConnection) -> None:
        await connection.read_head()
        await go.wait()
        await connection.send(OK)

    async with open_secure(await start_backend(slow)) as secure:
        client = await secure.tls_client()
        await client.send(GET)
        await wait_all_tasks_blocked()
        _, said = await secure.succeed()
        assert (said.moved, said.left) == (0, 1)
        await trio.sleep(20)
        go.set()
        answer = await client.receive_all()
        assert answer.endswith(b"ok")
        assert values(answer, b"connection") == [b"close"]


async def test_a_tunnel_goes_on_where_it_is(start_backend: StartBackend) -> None:
    async with open_secure(await start_backend(echo)) as secure:
        client = await secure.tls_client()
        await client.send(ASK)
        await client.receive_until(b"early")
        _, said = await secure.succeed()
        assert (said.moved, said.left) == (0, 1)
        await client.send(b"still here")
        assert await client.receive_exactly(10) == b"still here"
        await client.send_eof()
        assert await client.receive_all() == b"goodbye"
        await secure.workers[0].over.wait()


async def test_who_has_said_nothing_moves_and_speaks_tls_there(start_backend: StartBackend) -> None:
    async with open_secure(await start_backend()) as secure:
        sock = connect_raw(secure.addresses["http"])
        await wait_all_tasks_blocked()
        new, said = await secure.succeed()
        assert (said.moved, said.left) == (1, 0)
        await secure.workers[0].over.wait()
        client = await open_client(secure.addresses["http"], sock=sock)
        secure.clients.append(client)
        await client.send(GET)
        assert await client.receive_until(b"ok")
        assert len(await new.sessions()) == 1


async def test_a_handshake_under_way_is_finished_where_it_began(start_backend: StartBackend) -> None:
    async with open_secure(await start_backend()) as secure:
        with connect_raw(secure.addresses["http"]) as sock:
            sock.send(b"\x16\x03\x01")
            await wait_all_tasks_blocked()
            _, said = await secure.succeed()
            assert (said.moved, said.left) == (0, 1)
            await secure.workers[0].over.wait()  # After the time a handshake may take.
            assert secure.workers[0].stopped is not None
            assert secure.workers[0].stopped.cut == 0


async def test_plain_sessions_do_not_move_to_where_tls_is_spoken(start_backend: StartBackend) -> None:
    async with open_secure(await start_backend()) as secure:
        tls, secure.state = secure.state, secure.plain
        await secure.succeed()
        secure.state = tls
        client = await secure.client()
        await client.send(GET)
        assert await client.receive_until(b"ok")
        _, said = await secure.succeed()
        assert said.moved == 0
        assert await client.receive_all() == b""
