"""The bounded buffer of lines."""

import threading

import pytest
import trio
import trio.testing
from trio.testing import wait_all_tasks_blocked

from sozu_trio.telemetry.lines import CHARACTERS, HEAVY, LONGEST, TOGETHER, LineBuffer, lines_in


def test_lines_come_out_in_order_and_as_many_as_asked_for() -> None:
    buffer = LineBuffer(10)
    for line in "abcd":
        buffer.append(line)
    assert [buffer.take(3), buffer.take(3), buffer.take(3)] == [["a", "b", "c"], ["d"], []]


def test_over_capacity_the_newest_are_dropped_and_counted() -> None:
    buffer = LineBuffer(2)
    for line in "abcd":
        buffer.append(line)
    buffer.drop(5)
    assert buffer.take(10) == ["a", "b"]
    assert buffer.dropped == 7


def test_a_block_comes_out_whole_and_in_order() -> None:
    buffer = LineBuffer(4)
    buffer.append("a")
    buffer.append_block("b\nc")
    buffer.append("d")
    assert buffer.take(2) == ["a", "b\nc"]
    buffer.append_block("e\nf\ng")
    assert buffer.take(10) == ["d", "e\nf\ng"]
    assert buffer.dropped == 0


def test_lines_of_a_block_count_one_by_one() -> None:
    buffer = LineBuffer(4)
    buffer.append_block("a\nb\nc")
    buffer.append_block("d\ne\nf")
    buffer.append_block("g\nh")
    buffer.append("i")
    assert buffer.take(10) == ["a\nb\nc", "d"]
    assert buffer.dropped == 5


def test_what_would_take_too_much_memory_is_dropped() -> None:
    buffer = LineBuffer(1000)
    buffer.append("x" * (LONGEST + 1))
    assert (buffer.take(9), buffer.dropped) == ([], 1)
    for _ in range(CHARACTERS // LONGEST):
        buffer.append("x" * LONGEST)
    buffer.append("y")
    buffer.append_block("y\nz")
    assert buffer.dropped == 4
    assert [len(each) for each in buffer.take(1)] == [LONGEST]
    buffer.append_block("y\nz")
    assert buffer.take(1000)[-1] == "y\nz"
    assert buffer.dropped == 4


def test_a_batch_ends_with_the_line_that_makes_it_large() -> None:
    buffer = LineBuffer(10)
    for line in ("aa", "bbb", "c"):
        buffer.append(line)
    assert [buffer.take(9, 3), buffer.take(9, 3)] == [["aa", "bbb"], ["c"]]


def test_a_traceback_belongs_to_its_line() -> None:
    assert [lines_in(text) for text in ("a", "a\nb", "a\n\tb\n\tc", "a\n\tb\nc")] == [1, 2, 1, 2]


def test_lines_for_later_are_made_when_some_are_taken() -> None:
    made: list[int] = []

    def make(number: int) -> str:
        made.append(number)
        return f"line {number}"

    buffer = LineBuffer(10)
    for number in range(3):
        buffer.append_later(make, number, 1)
    assert (made, buffer.held) == ([], 3)
    assert buffer.take(2) == ["line 0", "line 1"]
    assert (made, buffer.held) == ([0, 1, 2], 1)


def test_lines_for_later_are_made_when_there_are_many() -> None:
    buffer = LineBuffer(2 * TOGETHER)
    for number in range(TOGETHER):
        buffer.append_later(str, number, 1)
    buffer.append("next")
    buffer.append_later(str, "last", 1)
    assert buffer.take(1000) == [*map(str, range(TOGETHER)), "next", "last"]


def test_lines_for_later_are_dropped_one_by_one() -> None:
    buffer = LineBuffer(3)
    for text in ("a", "x" * (LONGEST + 1), "b", "c", "d"):
        buffer.append_later(str, text, 1)
    assert (buffer.held, buffer.dropped) == (3, 2), "over capacity they are not even kept"
    assert (buffer.take(10), buffer.dropped, buffer.held) == (["a", "b"], 3, 0)


def test_lines_for_later_are_made_when_they_are_heavy() -> None:
    made: list[str] = []

    def make(text: str) -> str:
        made.append(text)
        return text

    buffer = LineBuffer(100)
    for number in range(6):
        buffer.append_later(make, "x", HEAVY // 2)
        assert len(made) == (number + 1) // 3 * 3


def test_a_line_that_cannot_be_made_is_lost_alone(caplog: pytest.LogCaptureFixture) -> None:
    buffer = LineBuffer(10)
    for text in ("1", "one", "2"):
        buffer.append_later(lambda text: str(int(text)), text, 1)
    assert (buffer.take(10), buffer.dropped) == (["1", "2"], 1)
    assert "a line could not be made" in caplog.text


async def test_waiting_ends_with_a_line_for_later(autojump_clock: trio.testing.MockClock) -> None:
    buffer = LineBuffer(10)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(buffer.wait)
        await wait_all_tasks_blocked()
        buffer.append_later(str, 1, 1)
    await buffer.wait()
    assert buffer.take(1) == ["1"]


def test_a_line_from_before_the_loop_is_there_at_once() -> None:
    buffer = LineBuffer(2)
    buffer.append("early")

    async def main() -> list[str]:
        with trio.fail_after(1):
            await buffer.wait()
        return buffer.take(1)

    assert trio.run(main) == ["early"]


def test_a_line_after_the_loop_ended_disturbs_nobody() -> None:
    buffer = LineBuffer(2)

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(buffer.wait)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel(reason="the end")

    trio.run(main)
    buffer.append("late")
    assert buffer.take(1) == ["late"]


def test_a_loop_that_ended_while_someone_waited_is_no_trouble() -> None:
    buffer = LineBuffer(2)

    async def main() -> None:
        # As `wait` leaves it for as long as it waits.
        buffer._sleeper = trio.lowlevel.current_trio_token(), trio.Event()
        await trio.lowlevel.checkpoint()

    trio.run(main)
    buffer.append("late")
    assert buffer.take(1) == ["late"]


async def test_waiting_ends_with_a_line(autojump_clock: trio.testing.MockClock) -> None:
    buffer = LineBuffer(2)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(buffer.wait)
        await trio.testing.wait_all_tasks_blocked()
        buffer.append("now")
    assert buffer.take(1) == ["now"]


async def test_waiting_ends_when_woken_without_a_line(autojump_clock: trio.testing.MockClock) -> None:
    buffer = LineBuffer(2)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(buffer.wait)
        await trio.testing.wait_all_tasks_blocked()
        buffer.wake()
    assert buffer.take(1) == []


async def test_another_thread_wakes_the_one_who_waits() -> None:
    buffer = LineBuffer(2)
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(buffer.wait)
            await trio.testing.wait_all_tasks_blocked()
            thread = threading.Thread(target=buffer.append, args=["elsewhere"])
            thread.start()
    thread.join()
    assert buffer.take(1) == ["elsewhere"]


async def test_waiting_is_a_checkpoint_even_with_lines() -> None:
    buffer = LineBuffer(2)
    buffer.append("there")
    with trio.testing.assert_checkpoints():
        await buffer.wait()
