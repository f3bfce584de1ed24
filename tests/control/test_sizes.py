"""How large messages may be."""

import pytest

from sozu_trio.control.messages import ASKS, REPORTS
from sozu_trio.control.sizes import (
    LARGEST,
    LARGEST_LINES,
    LARGEST_REPLY,
    LARGEST_REPORT,
    TooLarge,
    check_size,
    largest_of,
)


def test_main_may_say_what_an_operator_has_configured() -> None:
    assert largest_of(ASKS) == LARGEST
    check_size(b'{"Amend":' + b" " * LARGEST_REPLY)


@pytest.mark.parametrize(
    ("start", "largest"),
    [
        (b'{"Reply":', LARGEST_REPLY),
        (b'{"Logged":', LARGEST_REPORT),
        (b"Lines 0\n", LARGEST_LINES),
        (b'{"Happened":', LARGEST_REPORT),
        (b'{"Adopted":', LARGEST_REPORT),
    ],
)
def test_each_report_has_its_limit(start: bytes, largest: int) -> None:
    check_size(start.ljust(largest))
    with pytest.raises(TooLarge, match=f"of {largest + 1} bytes is larger than any of its kind"):
        check_size(start.ljust(largest + 1))


@pytest.mark.parametrize("start", [b"", b' {"Reply":', b'{ "Reply":', b"[" * 100, b'{"' + b"a" * 100 + b'":'])
def test_what_does_not_say_its_kind_first_is_small(start: bytes) -> None:
    check_size(start.ljust(LARGEST_REPORT))
    with pytest.raises(TooLarge, match="a message of"):
        check_size(start.ljust(LARGEST_REPORT + 1))


def test_a_large_answer_is_not_made_of_nothing() -> None:
    session = b'{"id":"01KAK3V9Q8T5E6F7G8H9J0K1M2","listener":"[::1]:8080","client":"[fd00::1]:50000","age":1.5},'
    node = b'{"name":"accepting","kind":"accepting","age":0.123,"children":[]},'
    for each in (session, node):
        check_size(b'{"Reply":' + each * (LARGEST_REPLY // len(each) - 1))
    for each in (b"[],", b"{},", b'{"a":[]},', b"[0],"):
        with pytest.raises(TooLarge, match="has more than any of its kind"):
            check_size(b'{"Reply":' + each * (LARGEST_REPLY // len(each) - 3))
    check_size(b"Lines 0\n" + b"[" * (LARGEST_LINES - 8))
    check_size(b'{"Amend":' + b"[" * LARGEST_REPLY)


def test_the_largest_of_all_reports_is_a_reply() -> None:
    assert largest_of(REPORTS) == LARGEST_REPLY
