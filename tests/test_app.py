"""The parts put together: changes while traffic flows, signals, and an end that tells what it cut."""

import signal
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from sozu_trio import app
from sozu_trio.config.addresses import Address
from sozu_trio.config.clusters import Backend
from sozu_trio.config.limits import LAST_CALL
from sozu_trio.config.listeners import HttpListener, Listener
from sozu_trio.config.load import load_config, parse_config
from sozu_trio.errors import OperatorError
from sozu_trio.nursery.bind import bound_address, open_listening_socket
from sozu_trio.nursery.supervisor import Supervisor
from sozu_trio.routing.state import State, declare
from sozu_trio.testing import BackendConnection, Client
from sozu_trio.testing.plugin import StartBackend, StartProxy
from tests.addresses import free_address

CONFIG = """
[[listeners]]
protocol = "http"
address = "$http"
[clusters.api]
protocol = "http"
frontends = [{ address = "$http", hostname = "example.com" }]
backends = [{ address = "$api", backend_id = "b" }]
"""

virtual_time = pytest.mark.virtual_time


def changed(state: State, *, listeners: Sequence[Listener] | None = None, backend: Address | None = None) -> State:
    backends = [member for members in state.backends.values() for member in members.values()]
    return declare(
        list(state.listeners.values()) if listeners is None else listeners,
        state.clusters.values(),
        state.http_frontends.values(),
        state.tcp_frontends.values(),
        [replace(member, address=backend or member.address) for member in backends],
    )


def saying(word: bytes, ready: trio.Event | None = None) -> Callable[[BackendConnection], object]:
    """A backend that answers each request with `word`, once `ready`."""

    async def serve(connection: BackendConnection) -> None:
        while True:
            await connection.read_head()
            if ready is not None:
                await ready.wait()
            await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(word), word))

    return serve


@virtual_time
async def test_a_request_that_began_under_one_generation_finishes_under_it(
    start_proxy: StartProxy, start_backend: StartBackend
) -> None:
    go_on = trio.Event()
    proxy = await start_proxy(CONFIG, api=await start_backend(saying(b"old", go_on)))
    new = await start_backend(saying(b"new"))
    client, other = await proxy.connect(), await proxy.connect()
    async with trio.open_nursery() as nursery:
        answers: list[bytes] = []

        async def ask() -> None:
            answers.append((await client.get()).body)

        nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        await proxy.supervisor.change(changed(proxy.supervisor.state, backend=new.address), 2)
        assert proxy.supervisor.generation == 2
        assert (await other.get()).body == b"new"
        go_on.set()
    assert answers == [b"old"]
    assert (await client.get()).body == b"new"
    for each in (client, other):
        await each.close()


@virtual_time
async def test_a_request_half_sent_when_its_listener_goes_is_answered(
    start_proxy: StartProxy, start_backend: StartBackend
) -> None:
    proxy = await start_proxy(CONFIG, api=await start_backend())
    client = await proxy.connect()
    await client.send(b"GET / HTTP/1.1\r\nHost: exam")
    await wait_all_tasks_blocked()
    await proxy.supervisor.change(changed(proxy.supervisor.state, listeners=[]), 2)
    await client.send(b"ple.com\r\n\r\n")
    response = await client.response()
    assert (response.status, response.fields[b"connection"]) == (200, b"close")
    await client.close()


@virtual_time
async def test_listeners_come_and_go_while_traffic_flows_and_no_request_is_lost(
    start_proxy: StartProxy, start_backend: StartBackend
) -> None:
    """One client keeps its connection to a listener that stays, others open one for each request to a listener that
    comes and goes.
    """
    proxy = await start_proxy(CONFIG, api=await start_backend())
    state = proxy.supervisor.state
    steady = HttpListener(address=proxy.addresses["http"])
    address = free_address()
    fleeting = HttpListener(address=address)
    (frontend,) = state.http_frontends.values()
    state = declare(
        [steady], state.clusters.values(), [frontend, replace(frontend, address=address)], [], _backends(state)
    )
    done = trio.Event()
    answered, unreachable = 0, 0

    async def ask_on_and_on() -> None:
        client = await proxy.connect()
        while not done.is_set():
            assert (await client.get()).status == 200
            await trio.sleep(0.01)
        await client.close()

    async def ask_anew_each_time() -> None:
        nonlocal answered, unreachable
        while not done.is_set():
            await trio.sleep(0.001)  # The clock stands still while anybody runs.
            try:
                client = await Client.open(address)
            except OSError:
                unreachable += 1
                continue
            assert (await client.get()).status == 200
            answered += 1
            await client.close()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask_on_and_on)
        for _ in range(3):
            nursery.start_soon(ask_anew_each_time)
        for n in range(20):
            listeners = [steady, replace(fleeting, active=n % 4 != 3)] if n % 2 else [steady]
            await proxy.supervisor.change(changed(state, listeners=listeners), n + 2)
            for _ in range(40):
                await trio.lowlevel.checkpoint()
            await trio.sleep(0.02)
        done.set()
    assert answered > 20
    assert unreachable > 5
    assert not [line for line in proxy.log if "ERROR" in line]


def _backends(state: State) -> list[Backend]:
    return [member for members in state.backends.values() for member in members.values()]


@virtual_time
@pytest.mark.parametrize("delay", [0, 0.5])
async def test_who_had_connected_when_its_listener_went_is_answered(
    delay: float, start_proxy: StartProxy, start_backend: StartBackend
) -> None:
    """Its request may still be on its way then; who says nothing for too long leaves."""
    proxy = await start_proxy(CONFIG, api=await start_backend())
    address = proxy.addresses["http"]
    with socket.create_connection((address.host, address.port)) as early, socket.socket() as silent:
        silent.connect((address.host, address.port))
        await proxy.supervisor.change(changed(proxy.supervisor.state, listeners=[]), 2)
        await trio.sleep(delay)
        client = Client(trio.SocketStream(trio.socket.from_stdlib_socket(early)))
        response = await client.get()
        assert (response.status, response.fields[b"connection"]) == (200, b"close")
        await client.close()
        begun = trio.current_time()
        await proxy.supervisor.stop(None)
        await proxy.supervisor.stopped.wait()
        assert trio.current_time() - begun <= LAST_CALL + 0.2
        assert silent.recv(1) == b""


@virtual_time
async def test_both_families_lead_to_the_same_backends(start_proxy: StartProxy, start_backend: StartBackend) -> None:
    backend = await start_backend()
    address = free_address("::1")
    text = CONFIG.replace(
        'hostname = "example.com" }', f'hostname = "example.com" }}, {{ address = "{address}", hostname = "*" }}'
    )
    proxy = await start_proxy(f'{text}\n[[listeners]]\nprotocol = "http"\naddress = "{address}"\n', api=backend)
    assert proxy.supervisor.listening == sorted([address, proxy.addresses["http"]])
    for client in (await proxy.connect(), await Client.open(address)):
        assert (await client.get()).status == 200
        await client.close()
    assert [b"X-Forwarded-For: 127.0.0.1" in backend.heads[0], b"X-Forwarded-For: ::1" in backend.heads[1]] == [
        True,
        True,
    ]


@virtual_time
async def test_one_failing_session_never_touches_another(
    start_proxy: StartProxy, start_backend: StartBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = await start_proxy(CONFIG, api=await start_backend())
    before = await proxy.connect()
    assert (await before.get()).status == 200

    async def fail(_: object) -> None:
        raise ZeroDivisionError("ours")

    with monkeypatch.context() as patched:
        patched.setattr("sozu_trio.proxy.session.HttpConnection.run", fail)
        unlucky = await proxy.connect()
        assert await unlucky.receive_all() == b""
    for client in (before, await proxy.connect()):
        assert (await client.get()).status == 200
        await client.close()
    (line,) = [line for line in proxy.log if "ZeroDivisionError" in line]
    assert " failed" in line.split("\n")[0]
    await unlucky.close()


@virtual_time
async def test_what_the_configuration_has_to_say_is_logged(
    start_proxy: StartProxy, start_backend: StartBackend
) -> None:
    text = CONFIG.replace("[[listeners]]\n", "").replace('protocol = "http"\naddress = "$http"\n', "", 1)
    proxy = await start_proxy(text, api=await start_backend())
    assert any("test: " in line and "listener" in line for line in proxy.log)
    client = await proxy.connect()
    assert (await client.get()).status == 200
    await client.close()


@virtual_time
async def test_an_address_that_is_taken_is_told_and_nothing_listens() -> None:
    address = free_address()
    with open_listening_socket(Address("127.0.0.1", 0)) as sock:
        taken = bound_address(sock)
        listeners = "".join(f'[[listeners]]\nprotocol = "tcp"\naddress = "{each}"\n' for each in (address, taken))
        config = parse_config('log_target = "stderr"\n' + listeners, "test", Path.cwd())
        refused = pytest.RaisesExc(OperatorError, match=f"cannot listen on {taken}")
        with pytest.RaisesGroup(refused, flatten_subgroups=True):
            async with app.open_proxy(config):
                pytest.fail("it serves")
        open_listening_socket(address).close()


async def until(true: Callable[[], bool]) -> None:
    """Wait for what another thread or the kernel does."""
    while not true():  # noqa: ASYNC110 - they set no events of ours
        await trio.sleep(0.01)


class Served:
    """`app.serve` in real time, its supervisor, and a client in the middle of a request."""

    def __init__(self, supervisor: Supervisor, busy: Client, finish: trio.Event, file: Path) -> None:
        self.supervisor = supervisor
        self.busy = busy
        self.finish = finish
        self.file = file
        self.log = file.with_name("log")
        self.cut = -1


@asynccontextmanager
async def served(start_backend: StartBackend, folder: Path) -> AsyncIterator[Served]:
    finish = trio.Event()
    backend = await start_backend(saying(b"done", finish))
    address = free_address()
    text = CONFIG.replace("$http", str(address)).replace("$api", str(backend))
    file = folder / "proxy.toml"
    file.write_text(f'command_socket = "sock"\nlog_target = "file://log"\nlog_level = "info"\n{text}')
    start = app.Start(config=load_config(file), path=file)
    ready: list[Supervisor] = []
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            running: list[Served] = []

            async def run() -> None:
                cut = await app.serve(start, ready.append)
                running[0].cut = cut

            nursery.start_soon(run)
            await until(lambda: bool(ready))
            busy = await Client.open(address)
            await busy.send(b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n")
            await until(lambda: backend.connections > 0)
            running.append(Served(ready[0], busy, finish, file))
            yield running[0]
            await busy.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_the_first_signal_lets_the_busy_finish(
    number: signal.Signals, start_backend: StartBackend, tmp_path: Path
) -> None:
    async with served(start_backend, tmp_path) as running:
        signal.raise_signal(number)
        await trio.sleep(0.2)
        assert running.supervisor.listening == []
        assert not running.supervisor.stopped.is_set()
        running.finish.set()
        assert (await running.busy.response()).body == b"done"
        await running.supervisor.stopped.wait()
    assert running.cut == 0
    assert f"{number.name}: stopping; sessions may take 30 s" in running.log.read_text()


async def test_the_second_signal_cuts(start_backend: StartBackend, tmp_path: Path) -> None:
    async with served(start_backend, tmp_path) as running:
        signal.raise_signal(signal.SIGTERM)
        await trio.sleep(0.1)
        signal.raise_signal(signal.SIGINT)
        await running.supervisor.stopped.wait()
    assert running.cut == 1
    log = running.log.read_text()
    assert "SIGINT again: cutting every session" in log
    assert "cut by the operator" in log


async def test_logs_are_reopened_on_sigusr1(start_backend: StartBackend, tmp_path: Path) -> None:
    async with served(start_backend, tmp_path) as running:
        await trio.sleep(0.2)
        running.log.rename(tmp_path / "old")
        signal.raise_signal(signal.SIGUSR1)
        await until(lambda: running.log.exists() and "SIGUSR1" in running.log.read_text())
        running.finish.set()
        assert (await running.busy.response()).status == 200
        signal.raise_signal(signal.SIGTERM)
    assert "listening on" in (tmp_path / "old").read_text()
    assert "/ 200 |" in running.log.read_text()


async def test_a_process_that_is_not_ours_is_not_replaced(start_backend: StartBackend, tmp_path: Path) -> None:
    async with served(start_backend, tmp_path) as running:
        signal.raise_signal(signal.SIGUSR2)
        running.finish.set()
        assert (await running.busy.response()).status == 200
        signal.raise_signal(signal.SIGTERM)
    assert "SIGUSR2: nothing is upgraded: this main was not started as a program of its own" in running.log.read_text()


async def test_sighup_reads_the_file_again_while_requests_go_on(start_backend: StartBackend, tmp_path: Path) -> None:
    async with served(start_backend, tmp_path) as running:
        good = running.file.read_text()
        running.file.write_text(good.replace('"example.com"', "7"))
        signal.raise_signal(signal.SIGHUP)
        await until(lambda: "SIGHUP: nothing is reloaded" in running.log.read_text())
        assert running.supervisor.generation == 1
        running.file.write_text(good.replace("example.com", "other.example"))
        signal.raise_signal(signal.SIGHUP)
        await until(lambda: running.supervisor.generation == 2)
        assert [rule.hostname for rule in running.supervisor.state.http_frontends.values()] == ["other.example"]
        running.finish.set()
        assert (await running.busy.response()).status == 200
        signal.raise_signal(signal.SIGTERM)
    log = running.log.read_text()
    assert "hostname: found 7; want a string" in log
    assert f"SIGHUP: {running.file} is in force: generation 2" in log
    refused, done = (line for line in log.split("\n") if " AUDIT " in line)
    assert 'result="refused" verb="reload" what="SIGHUP"' in refused
    assert 'result="ok" verb="reload" what="SIGHUP"' in done


async def test_a_stop_without_a_limit_says_so(start_backend: StartBackend, tmp_path: Path) -> None:
    text = 'command_socket = "sock"\nlog_target = "file://log"\nshutdown_timeout = 0\n'
    start = app.Start(config=parse_config(text, "test", tmp_path))
    with trio.fail_after(20):
        cut = await app.serve(start, lambda _: signal.raise_signal(signal.SIGTERM))
    assert cut == 0
    assert "sessions may take as long as they need" in (tmp_path / "log").read_text()
