"""A worker, as main meets it on its channel."""

import os
import socket

import pytest
from trio.testing import wait_all_tasks_blocked

from sozu_trio.config.addresses import Address
from sozu_trio.config.clusters import HttpFrontend, PathType
from sozu_trio.config.listeners import HttpListener
from sozu_trio.config.program import Program
from sozu_trio.control.channel import channel_pair
from sozu_trio.control.messages import (
    Amend,
    Begin,
    Commit,
    CountIn,
    Forget,
    Listen,
    Prepare,
    Stop,
    Stopped,
    Unlisten,
)
from sozu_trio.control.moves import KINDS
from sozu_trio.errors import ChannelError
from sozu_trio.nursery.regions import Regions
from sozu_trio.nursery.tally import CONNECTIONS, Tally
from sozu_trio.nursery.worker import serve_worker
from sozu_trio.routing.delta import NOTHING, diff
from sozu_trio.routing.state import EMPTY, declare
from tests.nursery.parts import FakeHandler, connected, listening
from tests.nursery.worker_parts import ADDRESS, started

pytestmark = pytest.mark.virtual_time
LISTEN = Listen(serial=0, transport="tcp", address=ADDRESS)
UNREADABLE = declare(
    [HttpListener(address=ADDRESS)],
    [],
    [HttpFrontend(address=ADDRESS, hostname="*", path="(", path_type=PathType.REGEX)],
    [],
    [],
)


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
