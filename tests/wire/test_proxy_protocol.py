"""PROXY protocol headers of both versions: read however they are cut, refused at the first wrong byte, written."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sozu_trio.config.addresses import Address
from sozu_trio.errors import ProxyHeaderError
from sozu_trio.wire.proxy_protocol import V2_SIGNATURE, ProxyHeader, encode_proxy_v2, parse_proxy_header

V4 = bytes.fromhex("c0000201 c6336402 04d2 0050")
V6 = bytes.fromhex("20010db8000000000000000000000001 20010db8000000000000000000000002 04d2 0050")
CLIENT, HERE = Address("192.0.2.1", 1234), Address("198.51.100.2", 80)
CLIENT6, HERE6 = Address("2001:db8::1", 1234), Address("2001:db8::2", 80)


def v2(start: int, family: int, body: bytes, length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    return V2_SIGNATURE + bytes((start, family)) + size.to_bytes(2, "big") + body


Named = tuple[Address | None, Address | None]

GOOD: dict[bytes, Named] = {
    b"PROXY TCP4 192.0.2.1 198.51.100.2 1234 80\r\n": (CLIENT, HERE),
    b"PROXY TCP6 2001:DB8::1 2001:db8:0::2 1234 80\r\n": (CLIENT6, HERE6),
    b"PROXY UNKNOWN\r\n": (None, None),
    b"PROXY UNKNOWN ffff:f::1 anything 1 2\r\n": (None, None),
    v2(0x21, 0x11, V4): (CLIENT, HERE),
    v2(0x21, 0x12, V4): (CLIENT, HERE),
    v2(0x21, 0x21, V6): (CLIENT6, HERE6),
    v2(0x21, 0x22, V6): (CLIENT6, HERE6),
    v2(0x21, 0x11, V4 + b"\x04\x00\x02ok"): (CLIENT, HERE),
    v2(0x21, 0x10, V4): (None, None),
    v2(0x21, 0x31, bytes(216)): (None, None),
    v2(0x21, 0x00, b""): (None, None),
    v2(0x21, 0x00, b"\x04\x00\x00"): (None, None),
    v2(0x20, 0x00, b""): (None, None),
    v2(0x20, 0x11, V4): (None, None),
    v2(0x20, 0xFF, b""): (None, None),
    v2(0x21, 0x11, V4 + bytes(4084)): (CLIENT, HERE),
}

BAD = [
    b"GET / HTTP/1.1\r\n",
    b"\x16\x03\x01",
    b"PROXY\t",
    b"proxy TCP4",
    b"PROXY TCP5 ",
    b"PROXY UDP4 ",
    b"PROXY TCP4 192.0.2.1 198.51.100.2 1234 80\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.2 1234\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.2 1234 80 1\r\n",
    b"PROXY TCP4  192.0.2.1 198.51.100.2 1234 80\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.2 01234 80\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.2 +234 80\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.2 1_2 80\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.2 1234 65536\r\n",
    b"PROXY TCP4 192.0.2.01 198.51.100.2 1234 80\r\n",
    b"PROXY TCP4 192.0.2.256 198.51.100.2 1234 80\r\n",
    b"PROXY TCP4 ::1 ::1 1234 80\r\n",
    b"PROXY TCP6 192.0.2.1 198.51.100.2 1234 80\r\n",
    b"PROXY TCP6 ::1%eth0 ::1 1234 80\r\n",
    b"PROXY UNKNOWNX\r\n",
    b"PROXY UNKNOWN \x00\r\n",
    b"PROXY UNKNOWN " + b"x" * 92 + b"\r\n",
    b"PROXY UNKNOWN " + b"x" * 93,
    V2_SIGNATURE[:-1] + b"x",
    v2(0x11, 0x11, V4)[:13],
    v2(0x31, 0x11, V4)[:13],
    v2(0x22, 0x11, V4)[:13],
    v2(0x21, 0x41, V4)[:14],
    v2(0x21, 0x13, V4)[:14],
    v2(0x21, 0x11, b"", 11),
    v2(0x21, 0x21, b"", 35),
    v2(0x21, 0x31, b"", 215),
    v2(0x21, 0x11, b"", 4097),
    v2(0x20, 0x00, b"", 65535),
]


def read(buffers: list[bytes]) -> ProxyHeader | str | None:
    try:
        for buffer in buffers:
            if header := parse_proxy_header(buffer):
                return header
    except ProxyHeaderError:
        return "refused"
    return None


def prefixes(data: bytes) -> list[bytes]:
    return [data[:end] for end in range(len(data) + 1)]


@pytest.mark.parametrize("raw", GOOD)
def test_headers_however_they_are_cut(raw: bytes) -> None:
    header = ProxyHeader(*GOOD[raw], raw)
    assert read([raw]) == read([raw + b"\r\nrest"]) == read(prefixes(raw)) == header
    assert read(prefixes(raw)[:-1]) is None


@pytest.mark.parametrize("buffer", BAD)
def test_no_headers_however_they_are_cut(buffer: bytes) -> None:
    assert read([buffer]) == read([buffer + b"more"]) == read(prefixes(buffer)) == "refused"


@pytest.mark.parametrize(
    "buffer", [b"G", b"PROXY X", b"\r\n\r\n\x00\r\nQUIT\r", V2_SIGNATURE + b"\x10", V2_SIGNATURE + b"\x21\x44"]
)
def test_the_first_wrong_byte_is_enough(buffer: bytes) -> None:
    assert read([buffer[:-1]]) is None
    assert read([buffer]) == "refused"


def test_the_longest_line_of_version_1() -> None:
    line = b"PROXY UNKNOWN " + b"x" * 91 + b"\r\n"
    assert len(line) == 107
    assert read([line]) == ProxyHeader(None, None, line)


def test_encoding() -> None:
    assert encode_proxy_v2(CLIENT, HERE) == v2(0x21, 0x11, V4)
    assert encode_proxy_v2(CLIENT6, HERE6) == v2(0x21, 0x21, V6)


def test_mixed_families_become_ipv6() -> None:
    header = parse_proxy_header(encode_proxy_v2(CLIENT, HERE6))
    assert header is not None
    assert (header.source, header.destination) == (Address("::ffff:c000:201", 1234), HERE6)
    header = parse_proxy_header(encode_proxy_v2(CLIENT6, HERE))
    assert header is not None
    assert (header.source, header.destination) == (CLIENT6, Address("::ffff:c633:6402", 80))


ports = st.integers(0, 65535)
v4 = st.builds(Address, st.ip_addresses(v=4).map(str), ports)
v6 = st.builds(Address, st.ip_addresses(v=6).map(str), ports)


@given(st.tuples(v4, v4) | st.tuples(v6, v6), st.binary(max_size=4))
@settings(deadline=None)
def test_what_is_written_reads_the_same(pair: tuple[Address, Address], rest: bytes) -> None:
    raw = encode_proxy_v2(*pair)
    assert parse_proxy_header(raw + rest) == ProxyHeader(*pair, raw)


@given(
    st.sampled_from([b"", b"PROXY ", b"PROXY TCP4 ", V2_SIGNATURE, V2_SIGNATURE + b"\x21\x11\x00"]),
    st.binary(max_size=30),
)
@settings(max_examples=300, deadline=None)
def test_garbage_means_the_same_whatever_the_cuts(start: bytes, rest: bytes) -> None:
    assert read([start + rest]) == read(prefixes(start + rest))
