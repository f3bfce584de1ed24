"""The line judge on its own, over a made-up start line."""

import pytest

from sozu_trio.wire.lines import LineJudge, split_field


class Refused(Exception):
    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"{status} {reason}")


def judge_start(line: bytes) -> None:
    if line != b"START":
        raise Refused(400, "no start")


def new_judge(*, skip_empty: bool = True, loose_colon: bool = False) -> LineJudge:
    return LineJudge(
        Refused,
        first=judge_start,
        first_limit=10,
        head_limit=40,
        field_limit=2,
        opening=b"S\r",
        skip_empty=skip_empty,
        loose_colon=loose_colon,
    )


def new_trailer_judge() -> LineJudge:
    return LineJudge(Refused, first=None, head_limit=20, field_limit=1)


def test_a_head() -> None:
    judge = new_judge()
    assert judge.judge(b"START\r\nA: b\r\n\r\nrest") == 15
    assert (judge.lines, judge.start) == ([b"START", b"A: b"], 0)


def test_a_head_in_pieces() -> None:
    judge = new_judge()
    assert judge.judge(bytearray(b"STA")) is None
    assert judge.judge(bytearray(b"START\r")) is None
    assert judge.judge(bytearray(b"START\r\nA: ")) is None
    assert judge.lines == [b"START"]
    assert judge.judge(bytearray(b"START\r\nA: b\r\n\r\n")) == 15


def test_one_empty_line_is_skipped() -> None:
    judge = new_judge()
    assert judge.judge(b"\r\nSTART\r\n\r\n") == 11
    assert judge.start == 2


def test_a_trailer_section() -> None:
    assert new_trailer_judge().judge(b"\r\n") == 2
    judge = new_trailer_judge()
    assert judge.judge(b"A: b\r\n\r\n") == 8
    assert judge.lines == [b"A: b"]


@pytest.mark.parametrize(
    ("buffer", "why"),
    [
        (b"X", "400 this is not HTTP/1"),
        (b"\r\n\r\n", "400 an empty line where the start line should be"),
        (b"START" + b"x" * 7, "414 the request line is too long"),
        (b"START\r\n" + b"x" * 33, "431 the head is too large"),
        (b"START\n", "400 a line ends in LF without CR"),
        (b"STOP\r\n", "400 no start"),
        (b"START\r\nA: \x0b\r\n", "400 a control character in a line"),
        (b"START\r\nA: \r \r\n", "400 a control character in a line"),
        (b"START\r\n A: b\r\n", "400 a field line begins with white space"),
        (b"START\r\nA\r\n", "400 a field line without a colon"),
        (b"START\r\nA : b\r\n", "400 a field name that is no token"),
        (b"START\r\n: b\r\n", "400 a field name that is no token"),
        (b"START\r\nA:\r\nA:\r\nA:\r\n", "431 too many fields"),
        # The first fault in the order of the bytes is the one told, and length comes before form.
        (b"START\nx x\r\n", "400 a line ends in LF without CR"),
        (b"START\r\nA:\r\nA:\r\n :\r\n", "431 too many fields"),
    ],
)
def test_refusals(buffer: bytes, why: str) -> None:
    with pytest.raises(Refused, match=f"^{why}$"):
        new_judge().judge(buffer)


def test_an_empty_line_is_skipped_only_where_it_may_be() -> None:
    with pytest.raises(Refused, match="empty line"):
        new_judge(skip_empty=False).judge(b"\r\nSTART\r\n\r\n")


def test_loose_colon() -> None:
    assert new_judge(loose_colon=True).judge(b"START\r\nA \t: b\r\n\r\n") == 17
    with pytest.raises(Refused, match="token"):
        new_judge(loose_colon=True).judge(b"START\r\nA B: c\r\n")


def test_trailers_have_limits_too() -> None:
    with pytest.raises(Refused, match="431 too many fields"):
        new_trailer_judge().judge(b"A:\r\nA:\r\n")
    with pytest.raises(Refused, match="431 the head is too large"):
        new_trailer_judge().judge(b"A" * 20)


def test_split_field() -> None:
    assert split_field(b"A \t: \tb: c \xa0\t") == (b"A", b"b: c \xa0")
    assert split_field(b"A:") == (b"A", b"")
