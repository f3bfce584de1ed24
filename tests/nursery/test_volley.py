"""A volley: all of it leaves, in order, and nobody's trouble is another's."""

import logging

import pytest

from sozu_trio.nursery.volley import MOST, Volley


class Mouth:
    """Says what it is given, or fails."""

    def __init__(self, said: list[bytes], error: Exception | None = None) -> None:
        self._said = said
        self._error = error

    def send_late(self, data: bytes) -> None:
        if self._error is not None:
            raise self._error
        self._said.append(data)


@pytest.fixture
def said() -> list[bytes]:
    return []


def test_messages_wait_and_leave_in_order_once(said: list[bytes]) -> None:
    volley = Volley()
    volley.add(Mouth(said), b"1")
    volley.add(Mouth(said), b"2")
    assert not said
    volley.leave()
    volley.leave()
    assert said == [b"1", b"2"]


def test_no_more_than_so_many_wait(said: list[bytes]) -> None:
    volley = Volley()
    for number in range(MOST - 1):
        volley.add(Mouth(said), b"%d" % number)
    assert not said
    volley.add(Mouth(said), b"last")
    assert len(said) == MOST


def test_who_fails_is_named_in_the_log_and_the_others_leave(
    said: list[bytes], caplog: pytest.LogCaptureFixture
) -> None:
    volley = Volley()
    volley.add(Mouth(said, ZeroDivisionError("ours")), b"1")
    volley.add(Mouth(said), b"2")
    volley.leave()
    assert said == [b"2"]
    (record,) = caplog.records
    assert (record.levelno, record.getMessage()) == (logging.ERROR, "a message was lost")
    assert "ZeroDivisionError: ours" in caplog.text
