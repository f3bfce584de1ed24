"""The stock of pipes: lent empty, taken back, and none where none is of use."""

import fcntl
import os

import pytest

from sozu_trio.proxy import pipes as pipes_module
from sozu_trio.proxy.pipes import KEPT, MOST, SMALLEST_PIPE, Pipe, PipeStock


def borrow(stock: PipeStock) -> Pipe:
    pipe = stock.borrow()
    assert pipe is not None
    return pipe


def is_open(pipe: Pipe) -> bool:
    try:
        os.fstat(pipe.out)
        os.fstat(pipe.into)
    except OSError:
        return False
    return True


def test_a_pipe_is_large_does_not_block_and_is_not_inherited() -> None:
    stock = PipeStock()
    pipe = borrow(stock)
    assert pipe.size >= SMALLEST_PIPE
    assert fcntl.fcntl(pipe.into, fcntl.F_GETPIPE_SZ) == pipe.size
    assert not os.get_blocking(pipe.out)
    assert not os.get_blocking(pipe.into)
    assert not os.get_inheritable(pipe.out)
    assert stock.lent == 1
    stock.give_back(pipe, empty=True)
    stock.close()


def test_an_empty_pipe_is_lent_again() -> None:
    stock = PipeStock()
    pipe = borrow(stock)
    stock.give_back(pipe, empty=True)
    assert stock.lent == 0
    assert stock.borrow() is pipe
    stock.give_back(pipe, empty=True)
    stock.close()


def test_a_filled_pipe_is_never_lent_again() -> None:
    stock = PipeStock()
    pipe = borrow(stock)
    os.write(pipe.into, b"somebody's")
    stock.give_back(pipe, empty=False)
    assert (is_open(pipe), stock.lent) == (False, 0)


def test_no_more_than_so_many_are_lent() -> None:
    stock = PipeStock()
    lent = [borrow(stock) for _ in range(MOST)]
    assert stock.borrow() is None
    stock.give_back(lent.pop(), empty=True)
    lent.append(borrow(stock))
    assert stock.borrow() is None
    for pipe in lent:
        stock.give_back(pipe, empty=True)
    stock.close()


def test_no_more_than_so_many_are_kept_and_close_closes_them() -> None:
    stock = PipeStock()
    lent = [borrow(stock) for _ in range(KEPT + 3)]
    for pipe in lent:
        stock.give_back(pipe, empty=True)
    assert sum(map(is_open, lent)) == KEPT
    assert stock.close() == 2 * KEPT
    assert not any(map(is_open, lent))
    assert stock.close() == 0


def test_where_the_kernel_gives_none_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def pipe2(flags: int) -> tuple[int, int]:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr("os.pipe2", pipe2)
    stock = PipeStock()
    assert stock.borrow() is None
    assert stock.lent == 0


def test_a_pipe_too_small_to_be_of_use_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an unprivileged user gets who has many pipes already."""
    opened: list[Pipe] = []

    def small() -> Pipe:
        opened.append(Pipe(*os.pipe(), 8192))
        return opened[-1]

    monkeypatch.setattr(pipes_module, "_open_pipe", small)
    stock = PipeStock()
    assert stock.borrow() is None
    assert (is_open(opened[0]), stock.lent) == (False, 0)


def test_a_size_the_kernel_refuses_leaves_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    ask = fcntl.fcntl

    def refuse(descriptor: int, command: int, argument: int = 0) -> int:
        if command == fcntl.F_SETPIPE_SZ:
            raise PermissionError(1, "Operation not permitted")
        return ask(descriptor, command, argument)

    monkeypatch.setattr("fcntl.fcntl", refuse)
    stock = PipeStock()
    pipe = borrow(stock)
    assert pipe.size == 65536
    stock.give_back(pipe, empty=True)
    stock.close()
