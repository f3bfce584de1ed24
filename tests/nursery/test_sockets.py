"""Main's listening sockets: had before a change is decided, and none left open that nobody accepts on."""

import contextlib
import socket
from collections.abc import Iterator

import pytest

from sozu_trio.config.addresses import Address
from sozu_trio.errors import OperatorError
from sozu_trio.nursery.bind import bound_address, open_listening_socket
from sozu_trio.nursery.sockets import ListeningSockets
from sozu_trio.nursery.steering import steer
from sozu_trio.routing.state import ListenerKey
from tests.addresses import free_address


@pytest.fixture
def sockets() -> Iterator[ListeningSockets]:
    made = ListeningSockets()
    yield made
    made.close()


def free_keys(count: int) -> list[ListenerKey]:
    return [("tcp", free_address()) for _ in range(count)]


def inherited(sockets: ListeningSockets) -> tuple[ListenerKey, socket.socket]:
    sock = open_listening_socket(Address("127.0.0.1", 0))
    sockets.inherit([sock])
    return ("tcp", bound_address(sock)), sock


def accepts(key: ListenerKey) -> bool:
    try:
        socket.create_connection((key[1].host, key[1].port)).close()
    except ConnectionRefusedError:
        return False
    return True


def test_what_is_wanted_is_opened_and_taken_over(sockets: ListeningSockets) -> None:
    one, two = free_keys(2)
    sockets.take_over(sockets.open({one}), {one})
    assert sockets.open({one}) == {0: {}}
    sockets.take_over(sockets.open({one, two}), {two})
    assert (sockets.addresses, accepts(one), accepts(two)) == ([two[1]], False, True)


def test_what_was_not_decided_is_closed_and_what_was_inherited_is_not(sockets: ListeningSockets) -> None:
    (one,) = free_keys(1)
    given, sock = inherited(sockets)
    opened = sockets.open({one, given})
    assert opened[0][given].getsockname() == sock.getsockname()
    sockets.drop(opened)
    assert (sockets.addresses, accepts(one), accepts(given)) == ([], False, True)
    sockets.take_over(sockets.open({given}), {given})
    assert (sockets.in_use, sock.fileno()) == ({given}, -1)
    assert accepts(given)


def test_an_address_that_cannot_be_had_leaves_nothing_open(sockets: ListeningSockets) -> None:
    one, two = free_keys(2)
    given, _ = inherited(sockets)
    with socket.create_server((two[1].host, two[1].port)), pytest.raises(OperatorError, match=f"{two[1]}: .* in use"):
        sockets.open({one, two, given})
    assert (accepts(one), accepts(two), accepts(given)) == (False, False, True)


def test_where_nobody_accepts_nobody_waits_and_the_log_says_what_has_changed(
    sockets: ListeningSockets, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    one, two = sorted(free_keys(2))
    sockets.take_over(sockets.open({one, two}), {one, two})
    sockets.settle([(0, [two])])
    assert (sockets.addresses, accepts(one)) == ([two[1]], False)
    sockets.take_over(sockets.open({one}), {one})
    sockets.settle([(0, [one])])
    sockets.settle([(0, [one])])
    assert [record.getMessage() for record in caplog.records] == [
        f"listening on tcp {two[1]}",
        f"listening on tcp {one[1]}",
        f"no longer listening on tcp {two[1]}",
    ]


def test_those_that_are_shared_serve_whoever_comes_later_until_the_stop(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    sockets = ListeningSockets(workers=2)
    with socket.create_server(("127.0.0.1", 0)) as theirs:
        ours = theirs.dup()
        given: ListenerKey = ("tcp", bound_address(ours))
        sockets.inherit([ours], shared=True)
        for _ in range(2):
            sockets.take_over(sockets.open({given}), {given})
            assert [held[given].getsockname() for held in sockets.of.values()] == [theirs.getsockname()] * 2
            sockets.settle([(0, [given]), (1, [given])])
            sockets.take_over(sockets.open(()), ())
            sockets.settle([(0, []), (1, [])])
        assert caplog.records[-1].getMessage() == (
            f"no longer listening on tcp {given[1]}; its socket was handed over and stays open: clients wait there"
        )
        sockets.stop()
        assert ours.fileno() == -1
        assert accepts(given)
        sockets.close()
    assert not accepts(given)


def test_a_stop_closes_those_in_use_and_the_end_all(sockets: ListeningSockets) -> None:
    (one,) = free_keys(1)
    given, _ = inherited(sockets)
    sockets.take_over(sockets.open({one}), {one})
    sockets.stop()
    assert (sockets.addresses, accepts(one), accepts(given)) == ([], False, True)
    sockets.close()
    assert not accepts(given)


def queue(sockets: ListeningSockets, key: ListenerKey, worker: int) -> int:
    """How many wait for `worker`; they are let in and closed."""
    found = 0
    while sockets.is_waited_in([worker]):
        sockets.of[worker][key].accept()[0].close()
        found += 1
    return found


def queues(sockets: ListeningSockets, key: ListenerKey) -> dict[int, int]:
    """Where 50 clients come to."""
    for _ in range(50):
        assert accepts(key)
    return {worker: queue(sockets, key, worker) for worker in sockets.of}


def test_who_leaves_is_steered_away_from_and_nobody_else(sockets: ListeningSockets) -> None:
    (one,) = free_keys(1)
    sockets.of.update({worker: {} for worker in (1, 2, 3)})
    sockets.take_over(sockets.open({one}), {one})
    # Its socket was closed and opened anew: those behind it have other numbers now.
    sockets.settle([(1, [])])
    sockets.take_over(sockets.open({one}), {one})
    sockets.steer_away([2, 3])
    found = queues(sockets, one)
    assert (found[2], found[3], sum(found.values())) == (0, 0, 50)
    assert min(found[0], found[1]) > 0
    sockets.retire([2, 3])
    sockets.of[7] = {}
    sockets.take_over(sockets.open({one}), {one})
    assert min(queues(sockets, one).values()) > 0
    sockets.steer_away([7])
    assert queues(sockets, one)[7] == 0


def test_what_came_from_outside_is_shared_by_those_that_come_later(sockets: ListeningSockets) -> None:
    given, _ = inherited(sockets)
    sockets.take_over(sockets.open({given}), {given})
    sockets.of[1] = {}
    opened = sockets.open({given})
    assert opened[1][given].getsockname() == sockets.of[0][given].getsockname()
    sockets.take_over(opened, {given})
    sockets.steer_away([1])
    assert (sockets.of[1], accepts(given)) == ({}, True)
    sockets.retire([1])
    sockets.take_over(sockets.open(()), ())
    assert not accepts(given)
    sockets.take_over(sockets.open({given}), {given})
    assert accepts(given)


def test_where_connections_cannot_be_steered_nothing_has_changed(
    sockets: ListeningSockets, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = sorted(free_keys(2))
    sockets.of[1] = {}
    sockets.take_over(sockets.open({one, two}), {one, two})
    steered: list[socket.socket] = []

    def steer_once(sock: socket.socket, to: list[int]) -> None:
        if steered:
            raise OSError(92, "Protocol not available")
        steered.append(sock)
        steer(sock, to)

    monkeypatch.setattr("sozu_trio.nursery.sockets.steer", steer_once)
    with pytest.raises(OperatorError, match=r"cannot steer .*: Protocol not available"):
        sockets.steer_away([1])
    assert min(queues(sockets, one)[1], queues(sockets, two)[1]) > 0


def test_from_those_that_a_main_before_has_left_nobody_is_steered_away() -> None:
    sockets = ListeningSockets(workers=2)
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as theirs:
        key: ListenerKey = ("tcp", bound_address(theirs))
        sockets.expect([2], 2)
        assert list(sockets.of) == [0, 2]
        for owner in (2, 2, 7):
            sockets.adopt(owner, key, theirs.dup())
        sockets.take_over(sockets.open({key}), {key})
        assert [list(held) for held in sockets.of.values()] == [[key], [key]]
        with pytest.raises(OperatorError, match="worker_count: there are workers that a main before has left"):
            sockets.steer_away([2])
        sockets.take_over(sockets.open(()), ())
    sockets.take_over(sockets.open({key}), {key})
    sockets.steer_away([2])
    sockets.retire([2])
    assert list(sockets.of) == [0]
    sockets.close()


def test_all_of_them_are_gone_on_with_and_their_numbers_are_known(sockets: ListeningSockets) -> None:
    one, two = free_keys(2)
    sockets.expect([0, 1], 2)
    given, _ = inherited(sockets)
    sockets.take_over(sockets.open({one, two, given}), {one, two, given})
    left = sockets.left()
    with contextlib.closing(ListeningSockets()) as following:
        following.go_on_with(left)
        assert following.left().numbers == left.numbers
        assert {worker: set(keys) for worker, keys in following.of.items()} == {
            0: {one, two, given},
            1: {one, two, given},
        }
        assert following.addresses == sockets.addresses
        # Which of them is whose, the kernel is told by their numbers, so a worker can still be steered away from.
        following.steer_away([1])
        following.retire([1])
        assert [worker for worker, *_ in following.left().of] == [0, 0, 0]
    assert accepts(one)


def test_what_a_worker_has_shut_down_is_had_again_and_steered_as_before(
    sockets: ListeningSockets, caplog: pytest.LogCaptureFixture
) -> None:
    (key,) = free_keys(1)
    sockets.of |= {1: {}, 2: {}}
    sockets.take_over(sockets.open({key}), {key})
    for worker in (0, 2, 1):
        with sockets.of[worker][key].dup() as theirs:
            theirs.shutdown(socket.SHUT_RDWR)
        sockets.revive()
        assert f"worker {worker} has shut its socket for {key[1]} down" in caplog.text
        assert min(queues(sockets, key).values()) > 0
    caplog.clear()
    sockets.revive()
    assert caplog.text == ""
    sockets.steer_away([1])
    first, second, third = queues(sockets, key).values()
    assert (first > 0, second, third > 0) == (True, 0, True)
