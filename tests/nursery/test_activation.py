"""Sockets that were handed over: taken where they are what they should be, else told, and none left to children."""

import contextlib
import os
import re
import socket
from collections.abc import Callable, Iterator, Sequence

import pytest

from sozu_trio.config.addresses import Address
from sozu_trio.errors import OperatorError
from sozu_trio.nursery.activation import activated_sockets, refuse_unmatched
from sozu_trio.nursery.bind import bound_address

FIRST = 900
"""Instead of 3, which is pytest's own."""


@contextlib.contextmanager
def handed_over(given: Sequence[socket.socket | None]) -> Iterator[dict[str, str]]:
    """Copies of `given` from FIRST on, None = nothing there, and the environment that tells of them."""
    numbers = range(FIRST, FIRST + len(given))
    for number, sock in zip(numbers, given, strict=True):
        if sock is not None:
            os.dup2(sock.fileno(), number)
    try:
        yield {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(given)), "LISTEN_FDNAMES": "web", "PATH": "/bin"}
    finally:
        for number in numbers:
            with contextlib.suppress(OSError):
                os.close(number)


def tcp() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


def test_they_are_taken_in_order_and_closed_in_the_end() -> None:
    with tcp() as one, tcp() as two, handed_over([one, two]) as environment:
        with activated_sockets(environment, FIRST) as sockets:
            assert [sock.getsockname() for sock in sockets] == [one.getsockname(), two.getsockname()]
            assert [sock.get_inheritable() for sock in sockets] == [False, False]
            assert environment == {"PATH": "/bin"}
        assert [sock.fileno() for sock in sockets] == [-1, -1]


@pytest.mark.parametrize("pid", ["1", None])
def test_those_of_another_process_are_left_alone(pid: str | None) -> None:
    with tcp() as one, handed_over([one]) as environment:
        del environment["LISTEN_PID"]
        if pid is not None:
            environment["LISTEN_PID"] = pid
        with activated_sockets(environment, FIRST) as sockets:
            assert sockets == ()
        assert environment == {"PATH": "/bin"}
        os.fstat(FIRST)


def test_none_are_handed_over_as_a_rule() -> None:
    with activated_sockets({}) as sockets:
        assert sockets == ()


def silent() -> socket.socket:
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    return sock


def unix() -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.bind("")
    sock.listen()
    return sock


def datagrams() -> socket.socket:
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)


def both_families() -> socket.socket:
    return socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (silent, "a TCP socket that does not listen; want a listening TCP socket (ListenStream=ADDRESS:PORT)"),
        (unix, "a unix socket; want a listening TCP socket"),
        (datagrams, "an internet socket for datagrams; want a listening TCP socket"),
        (both_families, "for IPv4 as well; want BindIPv6Only=ipv6-only"),
    ],
)
def test_what_is_no_listening_tcp_socket_is_told(make: Callable[[], socket.socket], told: str) -> None:
    with (
        make() as wrong,
        handed_over([wrong]) as environment,
        pytest.raises(OperatorError, match=f"^socket handed over: descriptor {FIRST} .web.: .*{re.escape(told)}"),
        activated_sockets(environment, FIRST),
    ):
        pass


def test_all_that_is_wrong_is_told() -> None:
    with tcp() as one, handed_over([one, one, None]) as environment, open("/dev/null") as file:
        os.dup2(file.fileno(), FIRST + 2)
        environment["LISTEN_FDS"] = "4"
        with pytest.raises(OperatorError) as refused, activated_sockets(environment, FIRST):
            pass
        assert str(refused.value).split("\n") == [
            f"socket handed over: descriptor {FIRST + 1}: listens on {bound_address(one)}, as another one does;"
            " want one socket for each listener",
            f"socket handed over: descriptor {FIRST + 2}: Socket operation on non-socket;"
            " want a listening TCP socket (ListenStream=ADDRESS:PORT)",
            f"socket handed over: descriptor {FIRST + 3}: Bad file descriptor;"
            " want a listening TCP socket (ListenStream=ADDRESS:PORT)",
        ]


def test_a_number_that_is_none_is_told() -> None:
    with pytest.raises(OperatorError, match="LISTEN_FDS: found 'many'"), activated_sockets({"LISTEN_FDS": "many"}):
        pass


def test_each_has_its_listener() -> None:
    with tcp() as one, tcp() as two:
        here, there = bound_address(one), bound_address(two)
        refuse_unmatched([one, two], {("tcp", here), ("tcp", there), ("tcp", Address("127.0.0.1", 1))})
        told = f"listens on {there}, where no listener stands; want one of the listeners' addresses .{here}."
        with pytest.raises(OperatorError, match=told):
            refuse_unmatched([one, two], {("tcp", here)})
        with pytest.raises(OperatorError, match="none at all"):
            refuse_unmatched([one], ())
