"""The guard: nothing but cancellation passes, and the log tells whose failure it was."""

import contextlib
import gc
import logging

import pytest
import trio

from sozu_trio.errors import ProxyHeaderError
from sozu_trio.nursery.guard import Guard

log = logging.getLogger("tests.guard")

pytestmark = pytest.mark.virtual_time


def raise_(*errors: BaseException) -> None:
    if len(errors) == 1:
        raise errors[0]
    raise BaseExceptionGroup("several", errors)


def test_who_ends_well_leaves_no_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with Guard("01J", log):
        pass
    assert not caplog.records


def test_a_lost_connection_is_a_debug_line_without_a_traceback(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with Guard("01J", log):
        raise_(ConnectionResetError(104, "Connection reset by peer"))
    (record,) = caplog.records
    assert (record.levelno, record.exc_info) == (logging.DEBUG, None)
    assert record.getMessage() == "session 01J: connection lost: [Errno 104] Connection reset by peer"


def test_anything_else_is_an_error_with_its_traceback_and_the_sessions_name(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    with Guard("01J", log):
        raise_(ZeroDivisionError("ours"))
    (record,) = caplog.records
    assert (record.levelno, record.getMessage()) == (logging.ERROR, "session 01J failed")
    assert record.exc_info
    assert "ZeroDivisionError: ours" in caplog.text


def test_a_clients_mistake_is_an_info_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with Guard("01J", log):
        raise_(ProxyHeaderError("no PROXY protocol header"))
    (record,) = caplog.records
    assert (record.levelno, record.exc_info) == (logging.INFO, None)
    assert record.getMessage() == "session 01J: closed: no PROXY protocol header"


def test_of_several_each_is_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with Guard("01J", log):
        raise_(BrokenPipeError(32, "Broken pipe"), ValueError("ours"))
    assert [record.levelno for record in caplog.records] == [logging.DEBUG, logging.ERROR]
    assert caplog.records[0].getMessage() == "session 01J: connection lost: [Errno 32] Broken pipe"


async def test_of_failures_beside_a_cancellation_each_is_told_and_the_cancellation_passes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def fail() -> None:
        raise BrokenPipeError(32, "Broken pipe")

    caplog.set_level(logging.DEBUG)
    with trio.CancelScope() as scope:
        with Guard("01J", log):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)
                scope.cancel(reason="the test")
                nursery.start_soon(fail)
        pytest.fail("the guard has swallowed a cancellation")
    assert scope.cancelled_caught
    assert [record.getMessage() for record in caplog.records] == [
        "session 01J: connection lost: [Errno 32] Broken pipe"
    ]


def test_it_keeps_nothing_of_what_has_passed() -> None:
    class Passing(BaseException):
        """Like a cancellation."""

    def fail() -> None:
        with Guard("01J", log):
            raise_(BrokenPipeError(32, "Broken pipe"), Passing())

    gc.collect()
    gc.disable()
    try:
        for _ in range(10):
            with contextlib.suppress(BaseExceptionGroup):
                fail()
        assert not [each for each in gc.get_objects() if isinstance(each, Passing)]
    finally:
        gc.enable()


@pytest.mark.parametrize("inside_a_nursery", [False, True])
async def test_cancellation_passes(inside_a_nursery: bool, caplog: pytest.LogCaptureFixture) -> None:
    async def wait() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)

    with trio.move_on_after(1) as scope:
        with Guard("01J", log):
            await (wait if inside_a_nursery else trio.sleep_forever)()
        pytest.fail("the guard has swallowed a cancellation")
    assert scope.cancelled_caught
    assert not caplog.records


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3)])
def test_what_ends_the_program_passes(error: BaseException) -> None:
    with pytest.raises(type(error)), Guard("01J", log):
        raise error
