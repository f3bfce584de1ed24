"""A volley: all of it leaves, in order, and nobody's trouble is another's."""

import logging

import pytest
from trio.testing import wait_all_tasks_blocked

from sozu_trio.config.limits import VOLLEY_MOST
from sozu_trio.nursery.volley import Volley


class Mouth:
    """Says what it is given, or fails."""

    def __init__(self, said: list[bytes], error: Exception | None = None) -> None:
        self._said = said
        self._error = error
        self.is_severed = False

    def send_late(self, data: bytes) -> None:
        if self._error is not None:
            raise self._error
        self._said.append(data)

    def sever(self) -> None:
        self.is_severed = True


@pytest.fixture
def said() -> list[bytes]:
    return []


def test_messages_wait_and_leave_in_order_once(said: list[bytes]) -> None:
    volley = Volley()
    volley.add(Mouth(said), b"1")
    volley.add(Mouth(said), b"2")
    assert not said
    volley.fire()
    volley.fire()
    assert said == [b"1", b"2"]


def test_no_more_than_so_many_wait(said: list[bytes]) -> None:
    volley = Volley()
    for number in range(VOLLEY_MOST - 1):
        volley.add(Mouth(said), b"%d" % number)
    assert not said
    volley.add(Mouth(said), b"last")
    assert len(said) == VOLLEY_MOST


async def test_who_fails_is_cut_and_the_others_leave(said: list[bytes], caplog: pytest.LogCaptureFixture) -> None:
    volley = Volley()
    failing = Mouth(said, ZeroDivisionError("ours"))
    volley.add(failing, b"1")
    volley.add(Mouth(said), b"2")
    volley.fire()
    assert said == [b"2"]
    (record,) = caplog.records
    assert (record.levelno, record.getMessage()) == (
        logging.ERROR,
        "a message was not sent, and its connection is cut",
    )
    assert "ZeroDivisionError: ours" in caplog.text
    await wait_all_tasks_blocked()
    assert failing.is_severed
