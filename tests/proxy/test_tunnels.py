"""Tunnels that move from worker to worker: every byte arrives once and in order, and each has one line."""

import contextlib
import random
from collections.abc import Sequence

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from sozu_trio.control.messages import Cut, Kill
from sozu_trio.proxy.relay import Tunnel
from sozu_trio.proxy.tunnels import record_as_json, record_of_json
from sozu_trio.telemetry.access_log import AccessRecord
from sozu_trio.testing import BackendConnection, Client
from sozu_trio.testing.backends import open_backend
from sozu_trio.testing.plugin import StartBackend
from tests.proxy.moving import Succession, Successor, open_succession, without_backends
from tests.proxy.parts import is_reset, request

pytestmark = pytest.mark.virtual_time

ASK = request("GET /chat?x=1", "Connection: Upgrade", "Upgrade: websocket", "User-Agent: parrot", "X-Forwarded-For: a")
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
BOTH = pytest.mark.parametrize("kind", ["tcp", "websocket"])


async def echo(connection: BackendConnection) -> None:
    """Switches protocols where it is asked to; then echoes until the client shuts its side, and says goodbye."""
    first = await connection.receive_exactly(4)
    if first == b"GET ":
        await connection.read_head()
        await connection.send(SWITCH)
    else:
        await connection.send(first)
    while data := await connection.stream.receive_some(65536):
        await connection.send(data)
    await connection.send(b"goodbye")


async def open_tunnel(succession: Succession, kind: str) -> Client:
    """One that has been used."""
    client = await succession.client("tcp" if kind == "tcp" else "http")
    if kind == "websocket":
        await client.send(ASK)
        assert (await client.receive_until(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
    await client.send(b"ping")
    assert await client.receive_exactly(4) == b"ping"
    return client


@BOTH
async def test_they_go_on_with_one_line_and_every_counter(kind: str, start_backend: StartBackend) -> None:
    async with open_succession(await start_backend(echo)) as succession:
        new = succession.workers[0]
        client = await open_tunnel(succession, kind)
        names = await new.sessions()
        await trio.sleep(10)
        for each in range(3):
            new, said = await succession.succeed()
            assert (said.moved, said.left) == (1, 0)
            await succession.workers[-2].over.wait()
            assert await new.sessions() == names
            cluster = new.proxy.backends.find("raw" if kind == "tcp" else "web")
            assert cluster is not None
            assert [(state.requests, state.connections) for state in cluster] == [(1, 1)]
            assert [node.kind for listener in new.nodes for node in listener.sessions.values()] == [kind]
            await client.send(b"again%d" % each)
            assert await client.receive_exactly(6) == b"again%d" % each
        await trio.sleep(10)
        await client.send_eof()
        assert await client.receive_all() == b"goodbye"
        await wait_all_tasks_blocked()
        await new.stop()
    (line,) = succession.lines
    assert names[0] in line
    assert "20.00s" in line
    assert ("parrot" in line) == (kind == "websocket")
    assert ("101" in line) == (kind == "websocket")
    asked, answered = (len(ASK), len(b"goodbye")) if kind == "websocket" else (0, len(b"goodbye"))
    assert succession.total("bytes_in") == asked + 4 + 3 * 6
    assert succession.total("bytes_out") >= answered + 4 + 3 * 6
    assert (succession.total("access_lines"), succession.total("sessions_total")) == (1, 1)
    assert succession.total("tcp_sessions") == int(kind == "tcp")
    assert succession.total("requests") == int(kind == "websocket")
    assert sum(worker.proxy.counters.by_status[1] for worker in succession.workers) == int(kind == "websocket")


async def transfer(
    succession: Succession, kind: str, data: bytes, sizes: Sequence[int], pauses: Sequence[float]
) -> None:
    """Send `data` in pieces, shut our side, and get all of it back."""
    client = await open_tunnel(succession, kind)

    async def send() -> None:
        sent = turn = 0
        while sent < len(data):
            size = sizes[turn % len(sizes)]
            await client.send(data[sent : sent + size])
            sent += size
            await trio.sleep(pauses[turn % len(pauses)])
            turn += 1
        await client.send_eof()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        got = await client.receive_all()
    assert got[: len(data)] == data
    assert got[len(data) :] == b"goodbye"


async def succeed_in_the_end(succession: Succession, seconds: float) -> None:
    """A successor that dies after so many `seconds`, whatever it has been offered by then, and one that does not."""
    # A worker that has nobody left is gone as soon as it has handed over.
    with contextlib.suppress(BrokenPipeError):
        successor = Successor(await succession.hand_over(succession.workers[-1]))
        with trio.move_on_after(seconds), contextlib.suppress(EOFError):
            await successor.offered()
            await trio.sleep(seconds / 2)
        successor.die()
    with contextlib.suppress(BrokenPipeError):
        await succession.succeed()


@BOTH
@pytest.mark.parametrize("seed", range(3))
async def test_bulk_in_both_directions_arrives_once_and_in_order(
    kind: str, seed: int, start_backend: StartBackend
) -> None:
    rng = random.Random(seed)
    data = rng.randbytes(4 << 20)
    async with open_succession(await start_backend(echo)) as succession:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(
                transfer, succession, kind, data, [rng.choice([1, 5000, 300_000]) for _ in range(9)], [0, 0, 0.001]
            )
            for _ in range(6):
                await trio.sleep(rng.random() / 50)
                await succeed_in_the_end(succession, rng.random() / 100)
        await wait_all_tasks_blocked()
        await succession.workers[-1].stop()
    assert len(succession.lines) == 1
    if kind == "tcp":
        assert succession.total("bytes_in") == len(data) + 4


@given(
    st.lists(st.integers(1, 200_000), min_size=1, max_size=4),
    st.lists(st.floats(0, 0.01), min_size=1, max_size=4),
    st.lists(st.floats(0, 0.02), min_size=1, max_size=4),
)
@settings(max_examples=15, deadline=None)
def test_whenever_they_move_nothing_is_lost_or_doubled(
    sizes: list[int], pauses: list[float], moves: list[float]
) -> None:
    async def run() -> None:
        async with open_backend(echo) as backend, open_succession(backend) as succession:
            data = random.Random(1).randbytes(10 * max(sizes))
            async with trio.open_nursery() as nursery:
                for kind in ("tcp", "websocket"):
                    nursery.start_soon(transfer, succession, kind, data, sizes, pauses)
                for pause in moves:
                    await trio.sleep(pause)
                    await succeed_in_the_end(succession, pause)

    trio.run(run, clock=MockClock(autojump_threshold=0))


@BOTH
async def test_half_closed_it_moves_and_the_other_way_goes_on(kind: str, start_backend: StartBackend) -> None:
    async def talk(connection: BackendConnection) -> None:
        if await connection.receive_exactly(4) == b"GET ":
            await connection.read_head()
            await connection.send(SWITCH)
            await connection.receive_exactly(4)
        await connection.send(b"ping")
        assert await connection.receive_all() == b""
        for number in range(5):
            await trio.sleep(10)
            await connection.send(b"%d" % number)

    async with open_succession(await start_backend(talk)) as succession:
        client = await open_tunnel(succession, kind)
        await client.send_eof()
        for number in range(5):
            _, said = await succession.succeed()
            assert (said.moved, said.left) == (1, 0)
            assert await client.receive_exactly(1) == b"%d" % number
        assert await client.receive_all() == b""


@BOTH
async def test_the_idle_time_that_was_spent_stays_spent(kind: str, start_backend: StartBackend) -> None:
    async with open_succession(await start_backend(echo)) as succession:
        client = await open_tunnel(succession, kind)
        node = next(iter(next(each for each in succession.workers[0].nodes if each.sessions).sessions.values()))
        assert isinstance(node.tunnel, Tunnel)
        limit = node.tunnel.idle_timeout
        begun = trio.current_time()
        await trio.sleep(limit * 0.7)
        await succession.succeed()
        await client.receive_all()
        assert trio.current_time() - begun == pytest.approx(limit, abs=1)
    assert "idle for too long" in succession.lines[0]


async def test_a_session_that_is_still_connecting_moves_once_its_tunnel_runs(start_backend: StartBackend) -> None:
    go = trio.Event()

    async def switch_late(connection: BackendConnection) -> None:
        await connection.read_head()
        await go.wait()
        await connection.send(SWITCH + b"hello")
        assert await connection.receive_all() == b"bye"

    async with open_succession(await start_backend(switch_late)) as succession:
        client = await succession.client()
        await client.send(ASK)
        await wait_all_tasks_blocked()
        new, said = await succession.succeed()
        assert (said.moved, said.left) == (0, 1)
        await trio.sleep(20)
        go.set()
        assert (await client.receive_until(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        assert await client.receive_exactly(5) == b"hello"
        await succession.workers[0].over.wait()
        assert len(await new.sessions()) == 1
        await client.send(b"bye")
        await client.send_eof()
        assert await client.receive_all() == b""


@BOTH
async def test_one_that_has_arrived_can_be_killed_and_is_cut_with_its_backend(
    kind: str, start_backend: StartBackend
) -> None:
    async with open_succession(await start_backend(echo)) as succession:
        first, second = [await open_tunnel(succession, kind) for _ in range(2)]
        names = await succession.workers[0].sessions()
        new, _ = await succession.succeed()
        assert await new.ask(Kill, session=names[0]) is True
        assert await is_reset(first)
        await new.change(without_backends(succession.state), 2)
        cluster, backend = ("raw", "b1") if kind == "tcp" else ("web", "b0")
        await new.ask(Cut, cluster_id=cluster, backend_id=backend, address=succession.backend.address, grace=0)
        assert await is_reset(second)
        await wait_all_tasks_blocked()
        await new.stop()
    assert sum("cut by the operator" in line for line in succession.lines) == 2
    assert len(succession.lines) == 2


@BOTH
async def test_where_its_backend_is_no_more_it_stays_and_is_cut_in_time(
    kind: str, start_backend: StartBackend, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_succession(await start_backend(echo)) as succession:
        old = succession.workers[0]
        client = await open_tunnel(succession, kind)
        (name,) = await old.sessions()
        host, port = client.stream.socket.getsockname()
        succession.state = without_backends(succession.state)
        new, said = await succession.succeed(grace=30)
        assert (said.moved, said.left) == (0, 1)
        await client.send(b"still")
        assert await client.receive_exactly(5) == b"still"
        begun = trio.current_time()
        assert await is_reset(client)
        assert trio.current_time() - begun == pytest.approx(30, abs=1)
        await old.over.wait()
        assert old.stopped is not None
        assert old.stopped.cut == 1
        assert await new.sessions() == []
    assert f"session {name} ({kind} of {host}:{port}) was cut" in caplog.text


def test_a_record_travels_whole() -> None:
    record = AccessRecord("s", "c", "WS", 1.5, "r", tags={"a": "b"}, user_agent=b"\xff", path=b"/\x00", status=101)
    assert record_of_json(record_as_json(record)) == record
