"""JSON and no more than JSON, from people who may mean harm."""

import contextlib
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sozu_trio.control.strict_json import DEEPEST, NotJson, read_json, write_json

DOCUMENTS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=10,
)


@given(DOCUMENTS)
def test_what_is_written_is_read(document: Any) -> None:
    line = write_json(document)
    assert line.isascii()
    assert b"\n" not in line
    assert read_json(line) == document


@given(st.binary(max_size=40) | st.text(alphabet='[]{}",:0e-\\udn', max_size=40).map(str.encode))
def test_bytes_are_a_document_or_an_error(text: bytes) -> None:
    with contextlib.suppress(NotJson):
        assert read_json(text) == json.loads(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"{", "not JSON: Expecting property name enclosed in double quotes at character 2"),
        (b'"a\x1bb"', "not JSON: Invalid control character at character 3"),
        (b"\xef\xbb\xbf1", "not JSON: Unexpected UTF-8 BOM (decode using utf-8-sig) at character 1"),
        (b'"ab\xff"', "not UTF-8: byte 0xff at byte 4"),
        (b'"\xed\xa0\x80"', "not UTF-8: byte 0xed at byte 2"),
        (b'["\\ud800"]', "not Unicode: \\ud800 is half a character (a lone surrogate)"),
        (b'{"\\udfff": 1}', "not Unicode: \\udfff is half a character (a lone surrogate)"),
        (b"NaN", "not JSON: NaN is no number of JSON's"),
        (b"[-Infinity]", "not JSON: -Infinity is no number of JSON's"),
        (b"1e999", "a number too large for 64 bits: '1e999'"),
        (b"-1" + b"0" * 5000, "an integer of 5001 digits; want at most 64 bits"),
        (b"9223372036854775808", "an integer of 19 digits; want at most 64 bits"),
        (b'{"a": 1, "b": {"c": 1, "c": 1}}', "a member occurs twice: 'c'"),
    ],
)
def test_refused(text: bytes, why: str) -> None:
    with pytest.raises(NotJson) as refused:
        read_json(text)
    assert str(refused.value) == why


@pytest.mark.parametrize("text", [b"-9223372036854775808", b"9223372036854775807", b'"\\ud83d\\ude00"'])
def test_the_largest_numbers_and_characters_of_two_halves(text: bytes) -> None:
    assert read_json(text) == json.loads(text)


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_depth(opening: bytes, closing: bytes) -> None:
    read_json(opening * DEEPEST + b"1" + closing * DEEPEST)
    for depth in (DEEPEST + 1, 200, 500_000):
        with pytest.raises(NotJson, match="nested too deeply; want at most 32"):
            read_json(opening * depth + b"1" + closing * depth)


@pytest.mark.parametrize("document", [math.nan, [math.inf], {1, 2}, object()])
def test_what_json_has_no_form_for_is_not_written(document: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        write_json(document)


def test_halves_of_characters_as_file_names_may_hold_are_written_as_question_marks() -> None:
    assert read_json(write_json({"file \udcff": "\ud800", "smile": "😀"})) == {"file ?": "?", "smile": "😀"}
