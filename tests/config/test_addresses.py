"""Addresses: what is one, and what is said of what is none."""

import pytest

from sozu_trio.config.addresses import Address, parse_address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8080", Address("127.0.0.1", 8080)),
        ("0.0.0.0:0", Address("0.0.0.0", 0)),
        ("[::1]:65535", Address("::1", 65535)),
        ("[0:0::0001]:80", Address("::1", 80)),
    ],
)
def test_read(text: str, address: Address) -> None:
    assert parse_address(text) == address
    assert parse_address(str(address)) == address


@pytest.mark.parametrize(
    "text",
    [
        *("", ":", "80", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:65536", "127.0.0.1:-1", "127.0.0.1:٣"),
        *("::1:80", "[127.0.0.1]:80", "[::1]", "[::1:80", "localhost:80", "1.2.3:80", " 127.0.0.1:80"),
        "127.0.0.1:" + "9" * 5000,
    ],
)
def test_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"address|integer string"):
        parse_address(text)


def test_families() -> None:
    assert str(Address("::1", 80)) == "[::1]:80"
    assert Address("::1", 80).is_ipv6
    assert not Address("127.0.0.1", 80).is_ipv6
