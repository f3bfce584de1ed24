"""Sessions of a tcp listener: relayed both ways to their end, and every end told for what it was."""

import hashlib
import json
import random
from dataclasses import replace

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from sozu_trio.proxy.pipes import PipeStock
from sozu_trio.testing import BackendConnection, Client
from sozu_trio.testing.plugin import StartBackend, StartProxy
from tests.addresses import free_address
from tests.proxy.parts import access_log
from tests.proxy.tcp_sessions import Connect, Start, echo, line_of

pytestmark = pytest.mark.virtual_time


async def test_bytes_go_both_ways_and_the_session_leaves_a_line(
    serve: Start, start_backend: StartBackend, connect: Connect
) -> None:
    backend = await start_backend(echo)
    proxy = await serve(backend)
    client = await connect(proxy)
    for word in (b"one", b"three"):
        await client.send(word)
        assert await client.receive_exactly(len(word)) == word
    await trio.sleep(5)
    await client.send_eof()
    assert await client.receive_all() == b""
    record = await line_of(proxy)
    assert record["client"] == str(client.address)
    assert (record["cluster_id"], record["backend_id"], record["backend"]) == ("db", "b0", str(backend))
    assert (record["bytes_in"], record["bytes_out"], record["protocol"]) == (8, 8, "TCP")
    assert (record["tags"], record["message"], record["level"]) == ({"team": "storage"}, "complete", "INFO-ACCESS")
    assert record["request_time"] == pytest.approx(5, abs=0.5)
    assert record["status"] is None


async def test_a_backend_may_speak_first(serve: Start, start_backend: StartBackend, connect: Connect) -> None:
    async def greet(connection: BackendConnection) -> None:
        await connection.send(b"220 ready\r\n")
        assert await connection.receive_until(b"\n") == b"QUIT\n"

    client = await connect(await serve(await start_backend(greet)))
    assert await client.receive_exactly(11) == b"220 ready\r\n"
    await client.send(b"QUIT\n")
    assert await client.receive_all() == b""


async def test_a_client_that_shut_its_side_reads_on_for_hours(
    serve: Start, start_backend: StartBackend, connect: Connect
) -> None:
    async def tell_slowly(connection: BackendConnection) -> None:
        assert await connection.receive_all() == b"tell me all"
        for _ in range(120):
            await trio.sleep(50)
            await connection.send(b"tick")

    client = await connect(await serve(await start_backend(tell_slowly)))
    await client.send(b"tell me all")
    await client.send_eof()
    assert await client.receive_all() == b"tick" * 120


async def test_a_backend_that_shut_its_side_reads_on_for_hours(
    serve: Start, start_backend: StartBackend, connect: Connect
) -> None:
    received: list[bytes] = []

    async def listen(connection: BackendConnection) -> None:
        await connection.send(b"go on")
        await connection.send_eof()
        received.append(await connection.receive_all())

    proxy = await serve(await start_backend(listen))
    client = await connect(proxy)
    assert await client.receive_all() == b"go on"
    for _ in range(120):
        await trio.sleep(50)
        await client.send(b"tick")
    await client.send_eof()
    assert (await line_of(proxy))["message"] == "complete"
    assert received == [b"tick" * 120]


@pytest.mark.parametrize(("front", "back", "longer"), [(60, 30, 60), (5, 90, 90)])
async def test_idle_is_when_no_byte_moved_either_way_for_the_longer_of_both(
    front: float, back: float, longer: float, serve: Start, start_backend: StartBackend, connect: Connect
) -> None:
    async def speak_now_and_then(connection: BackendConnection) -> None:
        for _ in range(5):
            await trio.sleep(longer - 1)
            await connection.send(b"x")
        await trio.sleep_forever()

    proxy = await serve(await start_backend(speak_now_and_then), front=front, back=back)
    client = await connect(proxy)
    begun = trio.current_time()
    assert await client.receive_all() == b"xxxxx"
    assert trio.current_time() - begun == pytest.approx(5 * (longer - 1) + longer, abs=0.5)
    record = await line_of(proxy)
    assert (record["message"], record["level"]) == ("idle for too long", "ERROR-ACCESS")


@pytest.mark.parametrize(("front", "back"), [(0, 30), (60, 0), (0, 0)])
async def test_zero_is_no_limit(
    front: float, back: float, serve: Start, start_backend: StartBackend, connect: Connect
) -> None:
    client = await connect(await serve(await start_backend(echo), front=front, back=back))
    await trio.sleep(10_000)
    await client.send(b"still here?")
    assert await client.receive_exactly(11) == b"still here?"


async def test_a_reset_by_the_client_reaches_the_backend_as_one(
    serve: Start, start_backend: StartBackend, connect: Connect
) -> None:
    seen: list[str] = []

    async def watch(connection: BackendConnection) -> None:
        try:
            await connection.receive_all()
            seen.append("end")
        except trio.BrokenResourceError:
            seen.append("reset")

    proxy = await serve(await start_backend(watch))
    client = await connect(proxy)
    await client.send(b"half a mess")
    await trio.sleep(1)
    await client.reset()
    record = await line_of(proxy)
    assert seen == ["reset"]
    assert (record["message"], record["level"]) == ("the client broke the connection", "ERROR-ACCESS")


async def test_a_reset_by_the_backend_reaches_the_client_as_one(
    serve: Start, start_backend: StartBackend, connect: Connect
) -> None:
    async def leave(connection: BackendConnection) -> None:
        await connection.receive_exactly(1)
        await connection.send(b"half an ans")
        await trio.sleep(1)
        await connection.reset()

    proxy = await serve(await start_backend(leave))
    client = await connect(proxy)
    await client.send(b"?")
    assert await client.receive_exactly(11) == b"half an ans"
    with pytest.raises(trio.BrokenResourceError):
        await client.receive_all()
    assert (await line_of(proxy))["message"] == "the backend broke the connection"


async def test_no_backend_closes_and_says_so(serve: Start, connect: Connect) -> None:
    proxy = await serve(free_address(), free_address(), free_address())
    client = await connect(proxy)
    assert await client.receive_all() == b""
    record = await line_of(proxy)
    assert (record["message"], record["level"]) == ("3 attempts to reach cluster db failed", "ERROR-ACCESS")
    assert (record["cluster_id"], record["backend_id"]) == ("db", None)


async def test_another_backend_is_tried(serve: Start, start_backend: StartBackend, connect: Connect) -> None:
    proxy = await serve(free_address(), await start_backend(echo))
    for _ in range(4):
        client = await connect(proxy)
        await client.send(b"hello")
        assert await client.receive_exactly(5) == b"hello"


async def test_a_backend_that_refused_is_left_alone_for_a_while_and_then_tried_again(
    serve: Start, connect: Connect
) -> None:
    refusing = free_address()
    proxy = await serve(refusing)
    for _ in range(2):
        assert await (await connect(proxy)).receive_all() == b""
    messages = [json.loads(line)["message"] for line in await access_log(proxy, 2)]
    assert messages[-1] == "cluster db has no backend that may be tried now"
    (listener,) = await trio.open_tcp_listeners(refusing.port, host=refusing.host)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, lambda stream: stream.send_all(b"back again"), [listener])
        await trio.sleep(1000)
        assert await (await connect(proxy)).receive_all() == b"back again"
        nursery.cancel_scope.cancel(reason="seen")


async def test_a_cluster_without_backends(serve: Start, connect: Connect) -> None:
    proxy = await serve()
    assert await (await connect(proxy)).receive_all() == b""
    assert (await line_of(proxy))["message"] == "cluster db has no backend that may be tried now"


async def test_a_listener_without_a_frontend(start_proxy: StartProxy, connect: Connect) -> None:
    proxy = await start_proxy('access_logs_format = "json"\n[[listeners]]\nprotocol = "tcp"\naddress = "$tcp"\n')
    assert await (await connect(proxy)).receive_all() == b""
    record = await line_of(proxy)
    assert (record["message"], record["cluster_id"]) == ("the listener has no frontend", None)


async def test_a_cluster_that_is_not_declared(serve: Start, start_backend: StartBackend, connect: Connect) -> None:
    proxy = await serve(await start_backend(echo))
    await proxy.supervisor.change(replace(proxy.supervisor.state, clusters={}), 2)
    assert await (await connect(proxy)).receive_all() == b""
    record = await line_of(proxy)
    assert (record["message"], record["cluster_id"]) == ("there is no cluster db", "db")


@pytest.mark.parametrize("with_pipes", [True, False], ids=["spliced", "copied"])
async def test_large_transfers_both_ways_at_once_arrive_whole(
    with_pipes: bool,
    serve: Start,
    start_backend: StartBackend,
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    borrow, borrowed = PipeStock.borrow, list[object]()

    def counting(stock: PipeStock) -> object:
        pipe = borrow(stock) if with_pipes else None
        borrowed.append(pipe)
        return pipe

    monkeypatch.setattr(PipeStock, "borrow", counting)
    rng = random.Random(7)
    down, up = rng.randbytes(6 << 20), rng.randbytes(6 << 20)
    uploaded: list[bytes] = []

    async def both(connection: BackendConnection) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send_in_pieces, connection, down, rng)
            uploaded.append(await connection.receive_all())

    proxy = await serve(await start_backend(both))
    client = await connect(proxy)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(send_in_pieces, client, up, rng)
        downloaded = await client.receive_all()
    record = await line_of(proxy)
    assert digest(downloaded) == digest(down)
    assert digest(uploaded[0]) == digest(up)
    assert borrowed
    assert (record["bytes_in"], record["bytes_out"], record["message"]) == (len(up), len(down), "complete")


async def send_in_pieces(peer: Client | BackendConnection, data: bytes, rng: random.Random) -> None:
    view = memoryview(data)
    while view:
        size = rng.choice([1, 1000, 65_536, 500_000])
        await peer.send(bytes(view[:size]))
        view = view[size:]
        if rng.random() < 0.1:
            await trio.sleep(0.01)
    await peer.send_eof()


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("grace", [0, 7])
async def test_a_stop_cuts_what_is_left_with_a_reset_both_ways(
    grace: float, serve: Start, start_backend: StartBackend, connect: Connect
) -> None:
    seen: list[str] = []

    async def watch(connection: BackendConnection) -> None:
        try:
            await connection.receive_all()
            seen.append("end")
        except trio.BrokenResourceError:
            seen.append("reset")

    proxy = await serve(await start_backend(watch))
    client = await connect(proxy)
    await client.send(b"in the middle")
    await wait_all_tasks_blocked()
    begun = trio.current_time()
    await proxy.supervisor.stop(grace)
    with pytest.raises(trio.BrokenResourceError):
        await client.receive_all()
    assert trio.current_time() - begun == pytest.approx(grace, abs=0.2)
    await proxy.supervisor.stopped.wait()
    assert proxy.supervisor.cut == 1
    record = json.loads(proxy.access_log[0])
    assert (record["message"], record["level"]) == ("cut by the operator", "ERROR-ACCESS")
    await trio.sleep(1)
    assert seen == ["reset"]


async def test_a_soft_stop_lets_a_session_finish(serve: Start, start_backend: StartBackend, connect: Connect) -> None:
    proxy = await serve(await start_backend(echo))
    client = await connect(proxy)
    await client.send(b"hello")
    assert await client.receive_exactly(5) == b"hello"
    await proxy.supervisor.stop(60)
    await trio.sleep(50)
    await client.send(b"still")
    assert await client.receive_exactly(5) == b"still"
    await client.send_eof()
    assert await client.receive_all() == b""
    await proxy.supervisor.stopped.wait()
    assert proxy.supervisor.cut == 0


async def test_a_mistake_of_ours_ends_one_session_and_is_told(
    serve: Start, start_backend: StartBackend, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise ZeroDivisionError

    proxy = await serve(await start_backend(echo))
    with monkeypatch.context() as patched:
        patched.setattr("sozu_trio.proxy.tcp.Tunnel.run", fail)
        client = await connect(proxy)
        with pytest.raises(trio.BrokenResourceError):
            await client.receive_all()
    record = await line_of(proxy)
    assert record["message"] == "an error of ours"
    assert any(f"session {record['session_id']} failed" in line for line in proxy.log)
    client = await connect(proxy)
    await client.send(b"hello")
    assert await client.receive_exactly(5) == b"hello"
