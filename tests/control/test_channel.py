"""The channel: messages with their descriptors, whole or not at all, and no descriptor left behind."""

import array
import os
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from sozu_trio.config.addresses import Address
from sozu_trio.config.clusters import Backend, Cluster
from sozu_trio.control import channel as channel_module
from sozu_trio.control.channel import INLINE_SIZE, MOST_DESCRIPTORS, Channel, DescriptorsLost, channel_pair
from sozu_trio.control.messages import ASKS, REPORTS, Amend, Ask, Commit, Lines, Listen, Reply
from sozu_trio.control.sizes import LARGEST_REPLY, TooLarge
from sozu_trio.errors import ChannelError
from sozu_trio.routing.delta import diff
from sozu_trio.routing.state import EMPTY, declare
from tests.descriptors import every_descriptor_taken, no_descriptor_free, open_descriptors

pytestmark = pytest.mark.virtual_time

LISTEN = Listen(serial=1, transport="tcp", address=Address("127.0.0.1", 80))
COMMIT = Commit(serial=2, generation=3)


@pytest.fixture
def descriptors() -> Iterator[frozenset[int]]:
    """Those open before the test; the same ones must be open after it."""
    before = open_descriptors()
    yield before
    assert open_descriptors() - before == set()


class Raw:
    """The worker's channel, and a socket that sends it anything."""

    def __init__(self) -> None:
        self.sock, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.channel: Channel[Ask] = Channel(theirs, ASKS)

    def send(self, packet: bytes, descriptors: list[int] | None = None) -> None:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
        self.sock.sendmsg([packet], rights)

    def close(self) -> None:
        self.sock.close()
        self.channel.close()


@pytest.fixture
async def raw(descriptors: frozenset[int]) -> AsyncIterator[Raw]:
    raw = Raw()
    yield raw
    raw.close()


async def test_both_ends_speak(descriptors: frozenset[int]) -> None:
    main, worker = channel_pair()
    await main.send(COMMIT)
    await main.send(LISTEN)
    assert await worker.receive() == (COMMIT, [])
    assert await worker.receive() == (LISTEN, [])
    await worker.send(Reply(serial=2, failure="no"))
    assert await main.receive() == (Reply(serial=2, failure="no"), [])
    main.close()
    worker.close()


async def test_it_is_known_since_when_a_message_is_being_read(descriptors: frozenset[int]) -> None:
    main, worker = channel_pair()
    await main.send(COMMIT)
    before = time.perf_counter()
    await worker.receive()
    assert before <= worker.reading_since <= time.perf_counter()
    main.close()
    worker.close()


async def test_the_end_of_one_side_is_none_for_the_other(descriptors: frozenset[int]) -> None:
    main, worker = channel_pair()
    await main.send(COMMIT)
    main.close()
    assert await worker.receive() == (COMMIT, [])
    assert await worker.receive() is None
    with pytest.raises(OSError, match="Broken pipe"):
        await worker.send(Reply(serial=1))
    worker.close()


async def test_what_was_said_before_the_end_is_heard_though_the_other_side_did_not_listen(
    descriptors: frozenset[int],
) -> None:
    main, worker = channel_pair()
    await main.send(COMMIT)
    await worker.send(Reply(serial=1))
    worker.close()
    assert await main.receive() == (Reply(serial=1), [])
    assert await main.receive() is None
    main.close()


async def test_descriptors_arrive_with_their_message(descriptors: frozenset[int]) -> None:
    main, worker = channel_pair()
    with socket.create_server(("127.0.0.1", 0)) as server:
        await main.send(COMMIT)
        await main.send(LISTEN, [server.fileno()])
        address = server.getsockname()
    assert await worker.receive() == (COMMIT, [])
    received = await worker.receive()
    assert received is not None
    message, (descriptor,) = received
    assert message == LISTEN
    assert not os.get_inheritable(descriptor)
    with socket.socket(fileno=descriptor) as same:
        assert same.getsockname() == address
    main.close()
    worker.close()


@pytest.mark.parametrize("extra", [-1, 0, 1, 10 * INLINE_SIZE])
async def test_messages_of_any_size(extra: int, descriptors: frozenset[int]) -> None:
    """In the packet up to a size, in a memfd beyond it; a descriptor beside it stays apart."""
    empty = len(b'{"Reply":{"serial":1,"failure":""}}')
    reply = Reply(serial=1, failure="x" * (INLINE_SIZE - empty + extra))
    main, worker = channel_pair()
    with open("/dev/null") as file:  # noqa: ASYNC230 - it never blocks
        await worker.send(reply, [file.fileno()])
    received = await main.receive()
    assert received is not None
    message, passed = received
    assert (message, len(passed)) == (reply, 1)
    os.close(passed[0])
    main.close()
    worker.close()


async def test_a_difference_of_ten_thousand_backends(descriptors: frozenset[int]) -> None:
    clusters = [Cluster(cluster_id=f"c{n}", protocol="http") for n in range(1000)]
    backends = [
        Backend(cluster_id=cluster.cluster_id, backend_id=f"b{n}", address=Address("10.0.0.1", n))
        for cluster in clusters
        for n in range(10)
    ]
    message = Amend(serial=1, attempt=1, base=None, delta=diff(EMPTY, declare([], clusters, [], [], backends)))
    main, worker = channel_pair()
    await main.send(message)
    assert await worker.receive() == (message, [])
    main.close()
    worker.close()


async def test_a_slow_receiver_makes_the_sender_wait_and_gets_everything_in_order(descriptors: frozenset[int]) -> None:
    main, worker = channel_pair()
    sent = [Lines(lines=f"{n} " + "x" * 10_000, dropped=n) for n in range(100)]

    async def send() -> None:
        for lines in sent:
            await worker.send(lines)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        for lines in sent:
            assert await main.receive() == (lines, [])
    main.close()
    worker.close()


async def test_a_cancelled_send_has_sent_all_or_nothing(descriptors: frozenset[int]) -> None:
    main, worker = channel_pair()
    sent = 0
    with trio.move_on_after(1):
        while True:
            await worker.send(Lines(lines="x" * 10_000, dropped=sent))
            sent += 1
    worker.close()
    numbers = []
    while received := await main.receive():
        assert isinstance(received[0], Lines)
        numbers.append(received[0].dropped)
    assert numbers == list(range(sent))
    main.close()


@pytest.mark.parametrize(
    "packet",
    [
        *(b"i", b"inot json", b"i{}", b"i[1]", b"i\xff", b"i" + b"[" * 60000),
        *(b'i{"Commit":{}}', b'i{"Reply":{"serial":1}}'),
        *(b"x", b"m", b"m{}"),
    ],
)
async def test_garbage_is_an_error_and_its_descriptors_are_closed(packet: bytes, raw: Raw) -> None:
    raw.send(packet)
    with pytest.raises(ChannelError):
        await raw.channel.receive()
    before = open_descriptors()
    with open("/dev/null") as file:  # noqa: ASYNC230 - it never blocks
        raw.send(packet, [file.fileno()] * 3)
    with pytest.raises(ChannelError):
        await raw.channel.receive()
    assert open_descriptors() == before


async def test_an_empty_packet_with_descriptors_is_no_end(raw: Raw) -> None:
    with open("/dev/null") as file:  # noqa: ASYNC230 - it never blocks
        raw.send(b"", [file.fileno()])
    with pytest.raises(ChannelError):
        await raw.channel.receive()


async def test_after_garbage_the_next_message_is_understood(raw: Raw) -> None:
    raw.send(b"garbage")
    raw.send(b'i{"Commit":{"serial":2,"generation":3}}')
    with pytest.raises(ChannelError):
        await raw.channel.receive()
    assert await raw.channel.receive() == (COMMIT, [])


async def test_a_packet_larger_than_any_of_ours_is_cut_and_refused(raw: Raw) -> None:
    with open("/dev/null") as file:  # noqa: ASYNC230 - it never blocks
        raw.send(b"i" + b"x" * (INLINE_SIZE + 1), [file.fileno()] * 5)
    with pytest.raises(ChannelError, match="cut short"):
        await raw.channel.receive()


async def test_as_many_descriptors_as_the_kernel_passes(raw: Raw) -> None:
    with open("/dev/null") as file:  # noqa: ASYNC230 - it never blocks
        raw.send(b'i{"Commit":{"serial":2,"generation":3}}', [file.fileno()] * MOST_DESCRIPTORS)
    received = await raw.channel.receive()
    assert received is not None
    assert len(received[1]) == MOST_DESCRIPTORS
    for descriptor in received[1]:
        os.close(descriptor)


async def test_what_was_said_is_known_though_no_descriptor_was_free_for_the_rest(raw: Raw) -> None:
    with open("/dev/null") as file:  # noqa: ASYNC230 - it never blocks
        raw.send(b'i{"Commit":{"serial":2,"generation":3}}', [file.fileno()])
        raw.send(b"m", [file.fileno()])
        raw.send(b"inot json", [file.fileno()])
    with no_descriptor_free():
        with pytest.raises(DescriptorsLost, match="Commit was cut short: no descriptor free") as lost:
            await raw.channel.receive()
        assert lost.value.message == COMMIT
        with pytest.raises(DescriptorsLost, match="a large message was cut short") as lost:
            await raw.channel.receive()
        assert lost.value.message is None
        with pytest.raises(ChannelError, match="not a message"):
            await raw.channel.receive()
    raw.send(b'i{"Commit":{"serial":2,"generation":3}}')
    assert await raw.channel.receive() == (COMMIT, [])


async def test_with_a_spare_one_descriptor_comes_in_where_none_is_free(raw: Raw) -> None:
    raw.channel.keep_spare()
    with open("/dev/null") as file, every_descriptor_taken():  # noqa: ASYNC230 - it never blocks
        for _ in range(2):
            raw.send(b'i{"Commit":{"serial":2,"generation":3}}', [file.fileno()])
        received = await raw.channel.receive()
        assert received is not None
        # Its place is taken now.
        with pytest.raises(DescriptorsLost):
            await raw.channel.receive()
        os.close(received[1][0])
        raw.send(b'i{"Commit":{"serial":2,"generation":3}}', [file.fileno()])
        received = await raw.channel.receive()
        assert received is not None
        os.close(received[1][0])


async def test_who_waits_with_a_spare_hears_of_the_end(raw: Raw) -> None:
    raw.channel.keep_spare()

    async def wait() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await raw.channel.receive()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        raw.channel.close()


async def test_more_descriptors_than_expected_are_refused(raw: Raw, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel_module, "MOST_DESCRIPTORS", 2)
    with open("/dev/null") as file:  # noqa: ASYNC230 - it never blocks
        raw.send(b'i{"Commit":{"serial":2,"generation":3}}', [file.fileno()] * 9)
    with pytest.raises(ChannelError, match="cut short"):
        await raw.channel.receive()


@pytest.mark.parametrize("what", ["pipe", "socket", "folder", "write-only", "too large"])
async def test_what_is_no_memory_is_not_read(what: str, raw: Raw, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raw.channel, "_largest", 100)
    opened: dict[str, Callable[[], int]] = {
        "pipe": lambda: os.pipe()[0],
        "socket": lambda: socket.socket().detach(),
        "folder": lambda: os.open("/", os.O_RDONLY),
        "write-only": _write_only,
        "too large": lambda: _memory(b'{"Commit":{"serial":2,"generation":3}}' + b" " * 100),
    }
    before = open_descriptors()
    descriptor = opened[what]()
    raw.send(b"m", [descriptor])
    for number in open_descriptors() - before:
        os.close(number)
    with pytest.raises(ChannelError):
        await raw.channel.receive()


async def test_a_message_for_which_there_is_no_memory_is_no_message(raw: Raw, monkeypatch: pytest.MonkeyPatch) -> None:
    def fstat(descriptor: int) -> os.stat_result:
        raise MemoryError

    raw.send(b"m", [descriptor := _memory(b'{"Commit":{"serial":2,"generation":3}}')])
    os.close(descriptor)
    with monkeypatch.context() as patched:
        patched.setattr(os, "fstat", fstat)
        with pytest.raises(ChannelError, match="cannot be read"):
            await raw.channel.receive()


async def test_main_takes_far_less_from_a_worker_than_a_worker_from_main(descriptors: frozenset[int]) -> None:
    """Sparse memory costs whoever sends it nothing."""
    main, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    channel = Channel(main, REPORTS)
    memory = os.memfd_create("test")
    os.ftruncate(memory, LARGEST_REPLY + 1)
    with theirs:
        socket.send_fds(theirs, [b"m"], [memory])
        os.close(memory)
        with pytest.raises(ChannelError, match=f"more than {LARGEST_REPLY} bytes"):
            await channel.receive()
    channel.close()


async def test_what_would_not_be_taken_is_not_sent(descriptors: frozenset[int]) -> None:
    main, worker = channel_pair()
    with pytest.raises(TooLarge, match="Reply of 16777"):
        await worker.send(Reply(serial=1, content="x" * LARGEST_REPLY))
    await worker.send(Reply(serial=1, failure="too large"))
    assert await main.receive() == (Reply(serial=1, failure="too large"), [])
    main.close()
    worker.close()


def _memory(document: bytes) -> int:
    descriptor = os.memfd_create("test")
    os.write(descriptor, document)
    return descriptor


def _write_only() -> int:
    descriptor = os.open("/tmp", os.O_WRONLY | os.O_TMPFILE)
    os.write(descriptor, b"{}")
    return descriptor


async def test_an_end_that_is_given_away_is_of_no_use_here_and_of_use_there(descriptors: frozenset[int]) -> None:
    main, worker = channel_pair()
    sock = worker.detach()
    other = Channel(sock, ASKS)
    await main.send(COMMIT)
    assert await other.receive() == (COMMIT, [])
    with pytest.raises(OSError, match="Bad file descriptor"):
        await worker.send(COMMIT)
    main.close()
    other.close()
