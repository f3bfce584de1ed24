"""Where bodies end, and every way not to say so."""

import pytest

from sozu_trio.errors import BadResponse, RequestRefused
from sozu_trio.wire.framing import is_chunked, read_length, request_framing, response_framing
from sozu_trio.wire.heads import Framing


@pytest.mark.parametrize(
    ("values", "length"),
    [
        ([b"0"], 0),
        ([b"007"], 7),
        ([b"9" * 18], 10**18 - 1),
        ([b"5", b"5"], 5),
        ([b"5,5", b"5 ,\t5"], 5),
        ([b"9" * 19], -1),
        ([b"5", b"6"], -1),
        ([b"5", b"05"], -1),
        ([b"5,"], -1),
        ([b""], -1),
        ([b"", b""], -1),
        ([b"+5"], -1),
        ([b"-5"], -1),
        ([b"1_0"], -1),
        ([b"0x5"], -1),
        ([b"5 5"], -1),
        ([b"5;q=1"], -1),
        ([b"\xd9\xa5"], -1),
        ([b"5\x0b"], -1),
        ([b"5\n"], -1),
    ],
)
def test_lengths(values: list[bytes], length: int) -> None:
    assert read_length(values) == length


def test_chunked() -> None:
    assert is_chunked([b"chunked"])
    assert is_chunked([b"CHUNKED"])
    assert not is_chunked([b"chunked", b"chunked"])
    assert not is_chunked([b"chunked,"])


def test_requests() -> None:
    assert request_framing(None, None, 1) == (Framing.NONE, -1)
    assert request_framing([b"0"], None, 0) == (Framing.LENGTH, 0)
    assert request_framing(None, [b"chunked"], 1) == (Framing.CHUNKED, -1)


@pytest.mark.parametrize(
    ("lengths", "codings", "minor", "status"),
    [
        ([b"x"], None, 1, 400),
        ([b"5"], [b"chunked"], 1, 400),
        ([b"5"], [b"x"], 1, 400),
        (None, [b"chunked"], 0, 400),
        (None, [b"chunked, gzip"], 1, 400),
        (None, [b"chunked, x"], 1, 400),
        (None, [b"x, chunked, chunked"], 1, 400),
        (None, [b"gzip"], 1, 400),
        (None, [b"gzip", b"deflate"], 1, 400),
        (None, [b"chunked ;q=1"], 1, 400),
        (None, [b"gzip,,chunked"], 1, 400),
        (None, [b"x"], 1, 501),
        (None, [b"gzip", b"Chunked"], 1, 501),
        (None, [b"x;y=chunked"], 1, 501),
        (None, [b"chunke\xc4\x91"], 1, 501),
    ],
)
def test_refused_requests(
    lengths: list[bytes] | None,
    codings: list[bytes] | None,
    minor: int,
    status: int,
) -> None:
    with pytest.raises(RequestRefused) as refused:
        request_framing(lengths, codings, minor)
    assert refused.value.status == status


def test_responses() -> None:
    assert response_framing(None, None, 1, bodiless=False) == (Framing.CLOSE, -1)
    assert response_framing([b"5"], None, 0, bodiless=False) == (Framing.LENGTH, 5)
    assert response_framing(None, [b"Chunked"], 1, bodiless=False) == (Framing.CHUNKED, -1)
    assert response_framing([b"5"], None, 1, bodiless=True) == (Framing.NONE, 5)
    assert response_framing(None, [b"chunked"], 1, bodiless=True) == (Framing.NONE, -1)


@pytest.mark.parametrize("bodiless", [False, True])
@pytest.mark.parametrize(
    ("lengths", "codings", "minor"),
    [
        ([b"x"], None, 1),
        ([b"5", b"6"], None, 1),
        ([b"5"], [b"chunked"], 1),
        (None, [b"chunked"], 0),
        (None, [b"gzip, chunked"], 1),
        (None, [b"identity"], 1),
    ],
)
def test_bad_responses(lengths: list[bytes] | None, codings: list[bytes] | None, minor: int, bodiless: bool) -> None:
    with pytest.raises(BadResponse):
        response_framing(lengths, codings, minor, bodiless=bodiless)
