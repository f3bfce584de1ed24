"""What peers had a hand in cannot break a line."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sozu_trio.telemetry.escape import ascii_text, one_word, printable


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("GET /ünïcode?a=b", "GET /ünïcode?a=b"),
        ("one\ntwo\r\tthree", "one\\ntwo\\r\\tthree"),
        ("\x1b[2J\x00\x7f\x85", "\\x1b[2J\\x00\\x7f\\x85"),
        ("a\u2028b\u202ec", "a\\u2028b\\u202ec"),
        ("\ud800", "\\ud800"),
    ],
)
def test_what_is_not_printable_is_escaped(text: str, escaped: str) -> None:
    assert printable(text) == escaped


@given(st.text(st.characters()))
@settings(max_examples=200)
def test_the_result_is_one_printable_line_that_utf_8_can_hold(text: str) -> None:
    line = printable(text)
    assert line.isprintable()
    assert len(line.splitlines()) <= 1
    assert line.encode().decode() == line


def test_bytes_become_ascii_without_spaces() -> None:
    assert ascii_text(b"/caf\xc3\xa9 x[1]") == "/caf\\xc3\\xa9\\x20x[1]"
    assert ascii_text(b"") == "-"
    assert ascii_text(b"|") == "\\x7c"
    assert ascii_text(b"/a|b") == "/a|b"


def test_one_word_keeps_user_agents_readable_and_brackets_balanced() -> None:
    assert one_word(b"Mozilla/5.0 (X11) [en] | \xff") == "Mozilla/5.0_(X11)_{en}_!_\\xff"
    assert one_word(b"") == "-"
