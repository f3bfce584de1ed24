"""A worker, as main meets it on its channel."""

import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from sozu_trio.config.addresses import Address
from sozu_trio.config.clusters import HttpFrontend, PathType
from sozu_trio.config.listeners import HttpListener
from sozu_trio.config.program import Program
from sozu_trio.control.channel import INLINE_SIZE, Channel, channel_pair
from sozu_trio.control.messages import (
    ASKS,
    REPORTS,
    Amend,
    Ask,
    Begin,
    Commit,
    Counted,
    CountIn,
    Forget,
    Happened,
    Kill,
    Lines,
    Listen,
    Look,
    Prepare,
    Reply,
    Stop,
    Stopped,
    Unlisten,
)
from sozu_trio.control.moves import KINDS
from sozu_trio.control.sizes import LARGEST_REPLY
from sozu_trio.errors import ChannelError
from sozu_trio.nursery.regions import Regions
from sozu_trio.nursery.tally import CONNECTIONS, Tally
from sozu_trio.nursery.worker import serve_worker
from sozu_trio.routing.delta import NOTHING, Delta, diff
from sozu_trio.routing.state import EMPTY, declare
from sozu_trio.telemetry.counters import Counters, read_counters
from tests.nursery.counting import REGIONS
from tests.nursery.parts import FakeHandler, connected, listening

pytestmark = pytest.mark.virtual_time


ADDRESS = Address("127.0.0.1", 8080)
LISTEN = Listen(serial=0, transport="tcp", address=ADDRESS)
UNREADABLE = declare(
    [HttpListener(address=ADDRESS)],
    [],
    [HttpFrontend(address=ADDRESS, hostname="*", path="(", path_type=PathType.REGEX)],
    [],
    [],
)


class Main:
    """Main's end of a worker that runs, and what the worker has said unasked."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.channel = Channel(sock, REPORTS)
        self.handlers: list[FakeHandler] = []
        self.lines: list[str] = []
        self.dropped = 0
        self.events: list[Happened] = []
        self.counters: Counters | None = None
        self.content: Any = None
        """Of the last reply."""

    @property
    def handler(self) -> FakeHandler:
        return self.handlers[0]

    def make_handler(self, program: Program, worker_id: int, tally: Tally) -> FakeHandler:
        self.handlers.append(FakeHandler(program, worker_id, tally))
        return self.handler

    async def says(self) -> Reply | Stopped | None:
        """The next thing the worker says that is a reply or its last."""
        while received := await self.channel.receive():
            report, descriptors = received
            assert not descriptors
            match report:
                case Reply() | Stopped():
                    return report
                case Lines():
                    self.lines += report.lines.split("\n")
                    self.dropped += report.dropped
                case Happened():
                    self.events.append(report)
                case Counted():
                    self.counters = read_counters(report.counters)
        return None

    async def ask(self, message: Ask, *descriptors: int) -> str | None:
        """What `message` failed with; None when it was obeyed."""
        await self.channel.send(message, descriptors)
        reply = await self.says()
        assert isinstance(reply, Reply)
        assert reply.serial == message.serial
        self.content = reply.content
        return reply.failure

    async def look(self, what: str, **query: object) -> Any:
        assert await self.ask(Look(serial=8, what=what, query=query)) is None
        return self.content

    async def change(self, delta: Delta, generation: int, base: int | None = None) -> None:
        """Have `delta` in force as `generation`."""
        for message in (
            Amend(serial=2, attempt=generation, base=base, delta=delta),
            Prepare(serial=3, attempt=generation, generation=generation),
            Commit(serial=4, generation=generation),
        ):
            assert await self.ask(message) is None

    async def listen(self, sock: socket.socket, address: Address = ADDRESS) -> str | None:
        return await self.ask(Listen(serial=7, transport="tcp", address=address), sock.fileno())


@asynccontextmanager
async def started(program: Program = Program()) -> AsyncIterator[Main]:  # noqa: B008 - it is frozen
    """A worker that has begun; the test ends it."""
    ours, their_sock = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    theirs = Channel(their_sock, ASKS)
    main = Main(ours)
    async with trio.open_nursery() as nursery:

        async def run() -> None:
            await serve_worker(theirs, main.make_handler)
            theirs.close()

        nursery.start_soon(run)
        begin = Begin(serial=1, worker_id=3, program=program, region=0, authorities="PEM")
        assert await main.ask(begin, *REGIONS.descriptors) is None
        yield main
    ours.close()


async def test_what_moves_sessions_is_made_before_anybody_is_let_in(monkeypatch: pytest.MonkeyPatch) -> None:
    warmed: list[type] = []
    monkeypatch.setattr("sozu_trio.nursery.worker.warm", warmed.extend)
    async with started() as main:
        assert warmed == list(KINDS)
        main.channel.close()


async def test_the_first_message_makes_the_handler() -> None:
    async with started(Program(shutdown_timeout=5)) as main:
        assert (main.handler.worker_id, main.handler.program.shutdown_timeout) == (3, 5)
        assert main.handler.authorities == "PEM"
        assert await main.ask(Begin(serial=2, worker_id=3, program=Program(), region=0)) == "Begin comes once"
        await main.channel.send(Stop(serial=9, grace=None))
        while not isinstance(await main.says(), Stopped):
            pass


async def test_no_first_message_no_worker() -> None:
    ours, theirs = channel_pair()
    ours.close()
    await serve_worker(theirs, FakeHandler)
    theirs.close()


async def test_a_wrong_first_message_is_an_error() -> None:
    ours, theirs = channel_pair()
    with open("/dev/null") as file:  # noqa: ASYNC230 - it never blocks
        await ours.send(Commit(serial=1, generation=1), [file.fileno()])
    with pytest.raises(ChannelError, match="was Commit, not Begin"):
        await serve_worker(theirs, FakeHandler)
    ours.close()
    theirs.close()


async def test_a_table_is_swapped_in_by_commit_and_not_before() -> None:
    async with started() as main:
        assert await main.ask(Amend(serial=2, attempt=1, base=None, delta=NOTHING)) is None
        assert await main.ask(Prepare(serial=3, attempt=1, generation=5)) is None
        assert main.handler.generations == []
        assert await main.ask(Commit(serial=4, generation=5)) is None
        assert main.handler.generations == [5]
        main.channel.close()


async def test_what_cannot_be_prepared_leaves_everything_as_it_was(caplog: pytest.LogCaptureFixture) -> None:
    async with started() as main:
        await main.ask(Amend(serial=2, attempt=1, base=None, delta=diff(EMPTY, UNREADABLE)))
        failure = await main.ask(Prepare(serial=2, attempt=1, generation=5))
        assert failure is not None
        assert "unterminated subpattern" in failure
        assert await main.ask(Commit(serial=3, generation=5)) == "generation 5 was not prepared"
        assert main.handler.generations == []
        main.channel.close()
    assert "Prepare refused: " in caplog.text
    assert "Traceback" not in caplog.text


async def test_what_is_forgotten_is_not_committed() -> None:
    async with started() as main:
        await main.ask(Amend(serial=2, attempt=1, base=None, delta=NOTHING))
        await main.ask(Prepare(serial=3, attempt=1, generation=5))
        assert await main.ask(Forget(serial=4)) is None
        assert await main.ask(Commit(serial=5, generation=5)) == "generation 5 was not prepared"
        main.channel.close()


async def test_a_mistake_of_ours_is_told_and_the_worker_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def compile_wrongly(*_: object) -> None:
        raise ZeroDivisionError("ours")

    async with started() as main:
        with monkeypatch.context() as patched:
            patched.setattr("sozu_trio.nursery.generations._compile", compile_wrongly)
            await main.ask(Amend(serial=2, attempt=1, base=None, delta=NOTHING))
            assert await main.ask(Prepare(serial=3, attempt=1, generation=5)) == "ZeroDivisionError: ours"
        await main.change(NOTHING, 5)
        main.channel.close()
    assert "Prepare failed" in caplog.text
    assert "Traceback" in caplog.text


async def test_it_accepts_from_listen_to_unlisten() -> None:
    async with started() as main:
        with listening() as sock:
            address = sock.getsockname()
            assert await main.listen(sock) is None
        with socket.create_connection(address) as client:
            await wait_all_tasks_blocked()
            assert main.handler.names == ["session-1"]
            assert await main.ask(Unlisten(serial=3, transport="tcp", address=ADDRESS, grace=None)) is None
            await wait_all_tasks_blocked()
            assert client.recv(1) == b""  # It was idle.
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address)
        main.channel.close()


async def test_the_address_may_be_listened_to_again_while_old_sessions_drain() -> None:
    async with started() as main:
        with listening() as sock:
            first = sock.getsockname()
            await main.listen(sock)
        with socket.create_connection(first) as old:
            old.sendall(b"busy")
            await wait_all_tasks_blocked()
            await main.ask(Unlisten(serial=3, transport="tcp", address=ADDRESS, grace=None))
            with listening() as sock:
                second = sock.getsockname()
                assert await main.listen(sock) is None
            with socket.create_connection(second):
                await wait_all_tasks_blocked()
                assert main.handler.names == ["session-1", "session-2"]
                old.setblocking(False)
                with pytest.raises(BlockingIOError):
                    old.recv(1)
        main.channel.close()


async def test_what_is_listened_on_is_refused_where_it_makes_no_sense() -> None:
    async with started() as main:
        with listening() as sock, socket.create_server(("127.0.0.1", 0)) as other:
            assert await main.ask(LISTEN) == "0 descriptors came to listen on"
            assert await main.ask(LISTEN, sock.fileno(), other.fileno()) == "2 descriptors came to listen on"
            assert await main.listen(sock) is None
            assert await main.listen(sock) is None  # Main may not have heard that it was.
            assert await main.listen(other) == "already listening at 127.0.0.1:8080"
            read, write = os.pipe()
            failure = await main.ask(Listen(serial=1, transport="tcp", address=Address("::1", 80)), read)
            assert failure == "OSError: [Errno 88] Socket operation on non-socket"
            os.close(read)
            with pytest.raises(BrokenPipeError):
                os.write(write, b"x")  # The worker holds no end of it.
            os.close(write)
        main.channel.close()


async def test_unlisten_of_an_address_nobody_listens_to_is_done() -> None:
    """Main may not have heard that it was."""
    async with started() as main:
        assert await main.ask(Unlisten(serial=2, transport="tcp", address=ADDRESS, grace=0)) is None
        main.channel.close()


async def test_it_counts_on_where_the_next_main_says() -> None:
    following = Regions()
    async with started() as main:
        with listening() as sock:
            await main.listen(sock)
            with connected(sock):
                await wait_all_tasks_blocked()
                assert await main.ask(CountIn(serial=2, region=following.give(1))) is not None
                assert await main.ask(CountIn(serial=2, region=0), *following.descriptors) is None
                assert Tally(following.descriptors, following.give(1)).total(CONNECTIONS) == 1
        main.channel.close()
    following.close()


async def test_descriptors_nobody_asked_for_are_closed() -> None:
    async with started() as main:
        read, write = os.pipe()
        assert await main.ask(Commit(serial=2, generation=1), read) is not None
        os.close(read)
        with pytest.raises(BrokenPipeError):
            os.write(write, b"x")
        os.close(write)
        main.channel.close()


def is_closed(client: socket.socket) -> bool:
    client.setblocking(False)
    try:
        return client.recv(1) == b""
    except BlockingIOError:
        return False


async def test_one_session_is_killed_by_name_and_the_others_go_on() -> None:
    async with started() as main:
        with listening() as first, listening() as second:
            await main.listen(first)
            await main.listen(second, Address("127.0.0.1", 1))
            with connected(first) as others, connected(second) as clients:
                await wait_all_tasks_blocked()
                (victim,) = [each["id"] for each in await main.look("sessions") if each["listener"] == "127.0.0.1:1"]
                assert await main.ask(Kill(serial=5, session="session-7")) is None
                assert main.content is False
                assert await main.ask(Kill(serial=6, session=victim)) is None
                assert main.content is True
                await wait_all_tasks_blocked()
                assert (is_closed(clients[0]), is_closed(others[0])) == (True, False)
                assert await main.ask(Kill(serial=7, session=victim)) is None
                assert main.content is False
                await main.ask(Stop(serial=8, grace=None))
                assert await main.says() == Stopped(cut=0)


async def test_counters_are_told_before_they_are_asked_for_and_before_the_end() -> None:
    async with started() as main:
        with listening() as sock:
            await main.listen(sock)
            with connected(sock, 2):
                await wait_all_tasks_blocked()
                looked = await main.look("counters")
                assert (looked["counters"]["client.connections"], looked["listeners"]) == (2, {"127.0.0.1:8080": 2})
                assert main.counters == main.handler.counters
            await wait_all_tasks_blocked()
        main.handler.counters.requests = 7
        await main.ask(Stop(serial=4, grace=None))
        assert await main.says() == Stopped(cut=0)
    assert main.counters is not None
    assert (main.counters.requests, main.counters.sessions, main.counters.sessions_total) == (7, 0, 2)


async def test_the_tree_has_everything_that_lives() -> None:
    async with started() as main:
        with listening() as sock:
            await main.listen(sock)
            with connected(sock):
                await trio.sleep(5)
                tree = await main.look("tree")
        assert (tree["name"], tree["kind"], tree["age"]) == ("worker 3", "worker", 5)
        *services, listener = tree["children"]
        assert {each["name"] for each in services} == {"lines", "events", "counters", "pool", "control"}
        assert {each["kind"] for each in services} == {"service"}
        assert listener["name"] == "listener tcp 127.0.0.1:8080"
        assert names_in(listener)[1:] == ["accepting", "connections", "session-1"]
        main.channel.close()


async def test_who_is_left_and_who_was_cut_at_a_listener_that_drains() -> None:
    async with started() as main:
        with listening() as sock:
            await main.listen(sock)
            with connected(sock, 2) as clients:
                for client in clients:
                    client.sendall(b"busy")
                await trio.sleep(1)
                assert await main.look("drains") == {}
                await main.ask(Unlisten(serial=2, transport="tcp", address=ADDRESS, grace=5))
                drain = {"sessions": 2, "websocket": 0, "tcp": 0, "cut": 0}
                assert await main.look("drains") == {"127.0.0.1:8080": drain}
                await trio.sleep(6)
                assert await main.look("drains") == {"127.0.0.1:8080": {**drain, "sessions": 0, "cut": 2}}
        main.channel.close()


def names_in(node: dict[str, Any]) -> list[str]:
    return [node["name"], *(name for child in node["children"] for name in names_in(child))]


async def test_what_the_worker_does_not_know_is_asked_of_the_handler() -> None:
    async with started() as main:
        assert await main.look("weather", where="here") == {"asked": {"where": "here"}, "answer": "x"}
        assert len((await main.look("weather", size=2 * INLINE_SIZE))["answer"]) == 2 * INLINE_SIZE
        assert await main.ask(Look(serial=2, what="future", query={})) == "nobody knows the future"
        main.channel.close()


async def test_an_answer_that_main_would_not_take_is_refused() -> None:
    async with started() as main:
        refusal = await main.ask(Look(serial=2, what="weather", query={"size": LARGEST_REPLY}))
        assert refusal is not None
        assert "larger than any of its kind" in refusal
        assert (await main.look("weather", size=1))["answer"] == "x"
        main.channel.close()


async def test_events_of_the_handler_reach_main() -> None:
    event = Happened(kind="BACKEND_UP", cluster_id="api", backend_id="b", address=ADDRESS)
    async with started() as main:
        main.handler.tell(event)
        await main.look("counters")
        await main.look("counters")
        assert main.events == [event]
        main.channel.close()
