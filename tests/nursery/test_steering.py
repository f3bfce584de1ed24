"""Steering: nobody comes to a socket that was not chosen, whatever number it has."""

import socket
from collections.abc import Iterator

import pytest

from sozu_trio.config.addresses import Address
from sozu_trio.nursery.bind import bound_address, open_listening_socket
from sozu_trio.nursery.steering import MOST, let_go, steer

CLIENTS = 100


@pytest.fixture
def group() -> Iterator[list[socket.socket]]:
    first = open_listening_socket(Address("127.0.0.1", 0))
    address = bound_address(first)
    group = [first, *(open_listening_socket(address, [address]) for _ in range(3))]
    yield group
    for sock in group:
        sock.close()


def came(group: list[socket.socket]) -> list[int]:
    """How many of CLIENTS each of `group` lets in."""
    for _ in range(CLIENTS):
        socket.create_connection(group[0].getsockname()).close()
    return [accepted(sock) for sock in group]


def accepted(sock: socket.socket) -> int:
    for number in range(CLIENTS + 1):
        try:
            sock.accept()[0].close()
        except BlockingIOError:
            return number
    raise AssertionError("more than came")


@pytest.mark.parametrize("to", [[0], [1, 2], [3, 0], [0, 1, 2, 3]])
def test_only_those_that_are_chosen_get_any(group: list[socket.socket], to: list[int]) -> None:
    steer(group[0], to)
    found = came(group)
    assert sum(found) == CLIENTS
    assert {number for number, each in enumerate(found) if each} == set(to)


def test_let_go_they_all_get_some_again(group: list[socket.socket]) -> None:
    steer(group[0], [2])
    let_go(group[3])
    assert min(came(group)) > 0
    with pytest.raises(OSError, match="No such file"):
        let_go(group[0])


def test_when_one_is_closed_the_last_one_takes_its_number(group: list[socket.socket]) -> None:
    group.pop(1).close()
    steer(group[0], [1])
    assert came(group) == [0, 0, CLIENTS]


def test_as_many_as_the_kernel_takes(group: list[socket.socket]) -> None:
    steer(group[0], range(MOST + 1))
    assert sum(came(group)) == CLIENTS
