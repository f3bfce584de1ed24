"""Lines for a client that reads fast, slowly, never, or has gone."""

import socket
from collections.abc import AsyncIterator, Iterable

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from sozu_trio.config.limits import ControlLimits
from sozu_trio.control.outbox import Outbox

pytestmark = pytest.mark.virtual_time

UNREAD = 30.0
ROOM = 4
ROOM_BYTES = 100_000
LIMITS = ControlLimits(replies=ROOM, reply_bytes=ROOM_BYTES, unread=UNREAD)
LARGE = b"x" * (4 << 20) + b"\n"
"""More than a socket takes."""


class Pair:
    """An outbox and the two ends of the socket it writes to."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX)
        self.outbox = Outbox(LIMITS)
        self.sock = trio.socket.from_stdlib_socket(ours)
        self.client = trio.socket.from_stdlib_socket(theirs)
        self.ended: BaseException | None = None
        """Why `write` has ended, None where all was written."""
        self.ended_at = -1.0

    async def write(self) -> None:
        try:
            await self.outbox.write(self.sock)
        except (OSError, trio.TooSlowError) as error:
            self.ended = error
        self.ended_at = trio.current_time()

    async def read(self, count: int) -> bytes:
        """Exactly `count` bytes, fewer at the end."""
        data = b""
        while len(data) < count and (more := await self.client.recv(min(1 << 18, count - len(data)))):
            data += more
        return data


@pytest.fixture
async def pair(nursery: trio.Nursery) -> AsyncIterator[Pair]:
    pair = Pair()
    yield pair
    pair.sock.close()
    pair.client.close()


async def put_all(outbox: Outbox, lines: Iterable[bytes]) -> None:
    for line in lines:
        await outbox.put(line)


async def test_lines_arrive_whole_and_in_order(pair: Pair, nursery: trio.Nursery) -> None:
    """Those of each task; and none within another, however large."""
    sent = [[b"%d:%d:" % (task, number) + b"x" * (number * 5000) + b"\n" for number in range(20)] for task in range(3)]
    nursery.start_soon(pair.write)
    async with trio.open_nursery() as putting:
        for lines in sent:
            putting.start_soon(put_all, pair.outbox, lines)
        received = (await pair.read(sum(len(line) for lines in sent for line in lines))).splitlines(keepends=True)
    for task, lines in enumerate(sent):
        assert [line for line in received if line.startswith(b"%d:" % task)] == lines


async def test_who_has_one_too_many_waits(pair: Pair, nursery: trio.Nursery) -> None:
    done: list[int] = []

    async def put() -> None:
        for number in range(ROOM + 2):
            await pair.outbox.put(b"%d\n" % number)
            done.append(number)

    nursery.start_soon(put)
    await wait_all_tasks_blocked()
    assert len(done) == ROOM
    nursery.start_soon(pair.write)
    assert await pair.read(2 * (ROOM + 2)) == b"0\n1\n2\n3\n4\n5\n"
    assert len(done) == ROOM + 2


async def test_room_is_counted_in_bytes_too(pair: Pair, nursery: trio.Nursery) -> None:
    """What is being written and not read yet counts; the line that fills the room is taken whole."""
    done: list[int] = []

    async def put() -> None:
        for number in range(3):
            await pair.outbox.put(LARGE)
            done.append(number)

    nursery.start_soon(pair.write)
    nursery.start_soon(put)
    await wait_all_tasks_blocked()
    assert done == [0]
    await pair.outbox.offer(b"dropped\n")
    with trio.move_on_after(1) as waiting:
        await pair.outbox.room()
    assert waiting.cancelled_caught
    await pair.read(len(LARGE) - 1000)
    await wait_all_tasks_blocked()
    assert done == [0, 1]
    assert await pair.read(1000 + len(LARGE)) == b"x" * 999 + b"\n" + LARGE
    await pair.read(len(LARGE))
    await pair.outbox.room()
    await pair.outbox.put(b"end\n")
    assert await pair.read(4) == b"end\n"


async def test_whoever_waits_longest_is_served_first(pair: Pair, nursery: trio.Nursery) -> None:
    for number in range(ROOM + 5):
        nursery.start_soon(pair.outbox.put, b"%d\n" % number)
        await wait_all_tasks_blocked()
    nursery.start_soon(pair.write)
    assert await pair.read(2 * (ROOM + 5)) == b"".join(b"%d\n" % number for number in range(ROOM + 5))


async def test_who_waits_for_room_in_vain_leaves_no_trace(pair: Pair, nursery: trio.Nursery) -> None:
    await put_all(pair.outbox, [b"%d\n" % number for number in range(ROOM)])
    for _ in range(2):
        with trio.move_on_after(1):
            await pair.outbox.put(b"never\n")
    nursery.start_soon(pair.write)
    assert await pair.read(2 * ROOM) == b"0\n1\n2\n3\n"
    await pair.outbox.put(b"end\n")
    assert await pair.read(4) == b"end\n"


async def test_what_is_only_offered_is_dropped_where_there_is_no_room(pair: Pair, nursery: trio.Nursery) -> None:
    began = trio.current_time()
    for number in range(ROOM + 5):
        await pair.outbox.offer(b"%d\n" % number)
    assert trio.current_time() == began
    nursery.start_soon(pair.write)
    assert await pair.read(2 * ROOM) == b"0\n1\n2\n3\n"
    await pair.outbox.offer(b"again\n")
    assert await pair.read(6) == b"again\n"


async def test_an_offer_lets_others_run(pair: Pair) -> None:
    """Whoever offers without end does not stop the loop."""
    with trio.move_on_after(0) as scope:
        for _ in range(1000):
            await pair.outbox.offer(b"x\n")
    assert scope.cancelled_caught


async def test_what_waits_is_written_after_the_end(pair: Pair, nursery: trio.Nursery) -> None:
    await pair.outbox.put(b"one\n")
    await pair.outbox.put(LARGE)
    pair.outbox.finish()
    await pair.outbox.put(b"dropped\n")
    await pair.outbox.offer(b"dropped\n")
    pair.outbox.finish()
    nursery.start_soon(pair.write)
    assert await pair.read(4 + len(LARGE)) == b"one\n" + LARGE
    await wait_all_tasks_blocked()
    assert (pair.ended, pair.ended_at) == (None, trio.current_time())


async def test_who_waits_for_room_goes_on_at_the_end(pair: Pair, nursery: trio.Nursery) -> None:
    async with trio.open_nursery() as putting:
        putting.start_soon(put_all, pair.outbox, [b"%d\n" % number for number in range(ROOM + 3)])
        await wait_all_tasks_blocked()
        pair.outbox.finish()
    nursery.start_soon(pair.write)
    await wait_all_tasks_blocked()
    assert await pair.read(2 * ROOM) == b"0\n1\n2\n3\n"
    assert pair.ended is None


async def test_who_reads_nothing_is_given_up(pair: Pair, nursery: trio.Nursery) -> None:
    await pair.outbox.put(LARGE)
    nursery.start_soon(pair.write)
    await trio.sleep(UNREAD - 0.1)
    assert pair.ended_at == -1
    await trio.sleep(0.2)
    assert isinstance(pair.ended, trio.TooSlowError)


@pytest.mark.parametrize("reads", [1, 5])
async def test_who_stops_reading_is_given_up_a_while_later(pair: Pair, nursery: trio.Nursery, reads: int) -> None:
    await pair.outbox.put(LARGE)
    nursery.start_soon(pair.write)
    for _ in range(reads):
        await trio.sleep(UNREAD - 1)
        await pair.read(100_000)
    await trio.sleep(2 * UNREAD + 1)
    assert isinstance(pair.ended, trio.TooSlowError)
    assert reads * (UNREAD - 1) < pair.ended_at <= reads * (UNREAD - 1) + 2 * UNREAD


async def test_who_reads_slowly_gets_everything(pair: Pair, nursery: trio.Nursery) -> None:
    """Less at a time than the kernel wants gone before it takes more."""
    await put_all(pair.outbox, [b"begin\n", LARGE])
    pair.outbox.finish()
    nursery.start_soon(pair.write)
    received = b""
    while len(received) < len(LARGE) + 6:
        await trio.sleep(UNREAD - 1)
        received += await pair.read(min(80_000, len(LARGE) + 6 - len(received)))
    await wait_all_tasks_blocked()
    assert received == b"begin\n" + LARGE
    assert pair.ended is None
    assert trio.current_time() > 40 * UNREAD


async def test_nothing_to_say_is_no_reason_to_give_up(pair: Pair, nursery: trio.Nursery) -> None:
    await pair.outbox.put(b"unread, but there is room\n")
    nursery.start_soon(pair.write)
    await trio.sleep(100 * UNREAD)
    assert pair.ended_at == -1


@pytest.mark.parametrize("line", [b"x\n", LARGE])
async def test_who_has_gone_is_an_error(pair: Pair, nursery: trio.Nursery, line: bytes) -> None:
    nursery.start_soon(pair.write)
    if line is LARGE:
        await pair.outbox.put(line)
        await wait_all_tasks_blocked()
        pair.client.close()
    else:
        pair.client.close()
        await pair.outbox.put(line)
    await wait_all_tasks_blocked()
    assert isinstance(pair.ended, OSError)
    assert pair.ended_at == trio.current_time() < UNREAD
