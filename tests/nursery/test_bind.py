"""Listening sockets: as they should be, or a line that says why not."""

import socket

import pytest

from benchmarks.ports import free_port
from sozu_trio.config.addresses import Address, parse_address
from sozu_trio.errors import OperatorError
from sozu_trio.nursery.bind import bound_address, listen_again, open_listening_socket


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_it_listens(host: str) -> None:
    with open_listening_socket(Address(host, 0)) as sock:
        address = bound_address(sock)
        assert (address.host, address.port > 0, sock.getblocking()) == (host, True, False)
        assert not sock.get_inheritable()
        with socket.create_connection((address.host, address.port)):
            pass


def test_a_port_another_program_has_is_refused_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = bound_address(other)
        with pytest.raises(OperatorError) as refused:
            open_listening_socket(address)
    assert str(refused.value) == f"cannot listen on {address}: the address is in use by another program"


def test_a_second_proxy_does_not_take_half_of_the_firsts_connections() -> None:
    with open_listening_socket(Address("127.0.0.1", 0)) as first, pytest.raises(OperatorError, match="is in use"):
        open_listening_socket(bound_address(first))


@pytest.mark.parametrize(
    ("first", "second"),
    [("127.0.0.1", "0.0.0.0"), ("0.0.0.0", "127.0.0.1"), ("::1", "::"), ("::", "::1")],
)
def test_every_interface_beside_one_of_them(first: str, second: str) -> None:
    with open_listening_socket(Address(first, 0)) as sock:
        ours = bound_address(sock)
        with pytest.raises(OperatorError, match="is in use"):
            open_listening_socket(Address(second, ours.port))
        with open_listening_socket(Address(second, ours.port), [ours]) as other:
            assert bound_address(other) == Address(second, ours.port)


def test_what_is_ours_excuses_no_other_program() -> None:
    with open_listening_socket(Address("127.0.0.1", 0)) as sock:
        ours = bound_address(sock)
        with socket.create_server(("127.0.0.2", ours.port)), pytest.raises(OperatorError, match="is in use"):
            open_listening_socket(Address("0.0.0.0", ours.port), [ours])


@pytest.mark.parametrize("ours", ["127.0.0.2:{port}", "0.0.0.0:1", "[::]:{port}"])
def test_what_is_ours_elsewhere_does_not_matter(ours: str) -> None:
    with open_listening_socket(Address("127.0.0.1", 0)) as sock:
        taken = bound_address(sock)
        with pytest.raises(OperatorError, match="is in use"):
            open_listening_socket(taken, [parse_address(ours.format(port=taken.port))])


def test_both_families_have_a_port_of_their_own() -> None:
    with open_listening_socket(Address("::", 0)) as first:
        port = bound_address(first).port
        with open_listening_socket(Address("0.0.0.0", port)) as second:
            assert bound_address(second).port == port


def test_a_port_just_left_can_be_had_again() -> None:
    address = Address("127.0.0.1", free_port())
    with open_listening_socket(address) as sock:
        client = socket.create_connection((address.host, address.port))
        sock.setblocking(True)
        ours, _ = sock.accept()
        ours.close()  # The side that closes first holds the port in TIME_WAIT.
        client.close()
    open_listening_socket(address).close()


def test_an_address_nobody_here_has() -> None:
    with pytest.raises(OperatorError, match=r"cannot listen on 203\.0\.113\.1:80\d\d: no interface of this machine"):
        open_listening_socket(Address("203.0.113.1", 8080))


def test_whoever_interrupts_leaves_nothing_open(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(self: socket.socket, backlog: int) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("socket.socket.listen", interrupt)
        with pytest.raises(KeyboardInterrupt):
            open_listening_socket(Address("127.0.0.1", 0))


def test_permission_denied_says_what_would_help(monkeypatch: pytest.MonkeyPatch) -> None:
    def bind(self: socket.socket, address: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("socket.socket.bind", bind)
    with pytest.raises(OperatorError, match="CAP_NET_BIND_SERVICE"):
        open_listening_socket(Address("127.0.0.1", 80))


def test_any_other_error_is_told_as_the_system_words_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def listen(self: socket.socket, backlog: int) -> None:
        raise OSError(105, "No buffer space available")

    monkeypatch.setattr("socket.socket.listen", listen)
    with pytest.raises(OperatorError, match="No buffer space available"):
        open_listening_socket(Address("127.0.0.1", 0))


def test_one_that_was_shut_down_listens_again_where_it_was() -> None:
    address = Address("127.0.0.1", free_port())
    with open_listening_socket(address) as sock:
        assert not listen_again(sock)
        with sock.dup() as theirs:
            theirs.shutdown(socket.SHUT_RDWR)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((address.host, address.port))
        assert listen_again(sock)
        with socket.create_connection((address.host, address.port)):
            assert bound_address(sock) == address
