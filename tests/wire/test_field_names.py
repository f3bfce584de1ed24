"""Which names are what."""

import pytest

from sozu_trio.wire.field_names import belongs_in_trailers, is_forwarding, is_lookalike


@pytest.mark.parametrize("name", [b"x-forwarded-for", b"x-forwarded-", b"forwarded", b"x-real-ip", b"x-request-id"])
def test_forwarding(name: bytes) -> None:
    assert is_forwarding(name)


@pytest.mark.parametrize("name", [b"via", b"x-forwarded", b"x-real", b"host"])
def test_not_forwarding(name: bytes) -> None:
    assert not is_forwarding(name)


def test_lookalikes() -> None:
    assert is_lookalike(b"x_real_ip")
    assert is_lookalike(b"content_length")
    assert is_lookalike(b"x.forwarded~for")
    assert not is_lookalike(b"content-length")
    assert not is_lookalike(b"my_own")


@pytest.mark.parametrize(
    "name", [b"server-timing", b"etag", b"content-digest", b"content-md5", b"x-checksum", b"grpc-status"]
)
def test_trailers_that_pass(name: bytes) -> None:
    assert belongs_in_trailers(name)


@pytest.mark.parametrize(
    "name",
    [
        *(b"transfer-encoding", b"content-length", b"host", b"authorization", b"set-cookie", b"content-type", b"te"),
        *(b"connection", b"x-forwarded-for", b"forwarded", b"x_real_ip", b"cache-control", b"trailer", b"expect"),
    ],
)
def test_trailers_that_would_mislead(name: bytes) -> None:
    assert not belongs_in_trailers(name)
