"""The PROXY protocol, versions 1 and 2: who the client is, said by a load balancer before the client's first byte.

Reads both versions and writes the second. A header is all or nothing: the first byte that cannot belong to one is
refused at once, because it then comes from somebody who does not speak it and whose address must not be believed.
Specification: https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt
"""

import ipaddress
import re
from dataclasses import dataclass

from sozu_trio.config.addresses import Address
from sozu_trio.errors import ProxyHeaderError

V1_START = b"PROXY "
V1_FAMILIES = (b"TCP4 ", b"TCP6 ", b"UNKNOWN")
V1_LONGEST = 107
"""Bytes of a version 1 line with its CRLF, as the specification counts (§2.1)."""
V1_LINE = re.compile(
    rb"PROXY (TCP4|TCP6) ([0-9A-Fa-f:.]{2,39}) ([0-9A-Fa-f:.]{2,39}) (0|[1-9][0-9]{0,4}) (0|[1-9][0-9]{0,4})\r\n",
)
V1_UNKNOWN = re.compile(rb"PROXY UNKNOWN(?: [\x20-\x7e]*+)?\r\n")

V2_SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
V2_FIXED = 16
"""Bytes before the addresses: signature, version and command, family and transport, length."""
V2_LONGEST = 4096
"""Bytes after those: 216 of addresses at most, the rest are TLVs, certificates among them."""
LOCAL, PROXY = 0, 1
UNSPEC, INET, INET6, UNIX = 0, 1, 2, 3
V2_ADDRESS_BYTES = {UNSPEC: 0, INET: 12, INET6: 36, UNIX: 216}
V2_TCP, V2_UDP = 1, 2
V2_TRANSPORTS = (UNSPEC, V2_TCP, V2_UDP)


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """A header: the client's address and the one it connected to, None where it names none we could use."""

    source: Address | None
    destination: Address | None
    raw: bytes
    """The header as it came, TLVs included, to be relayed as it is."""


def parse_proxy_header(buffer: bytes) -> ProxyHeader | None:
    """The header at the start of `buffer`, `len(header.raw)` bytes of it; None = need more. Raises ProxyHeaderError."""
    if V2_SIGNATURE.startswith(buffer[: len(V2_SIGNATURE)]):
        return _parse_v2(buffer)
    if V1_START.startswith(buffer[: len(V1_START)]):
        return _parse_v1(buffer)
    raise ProxyHeaderError("no PROXY protocol header")


def encode_proxy_v2(source: Address, destination: Address) -> bytes:
    """A version 2 header for a TCP connection; of mixed families both are written as IPv6, the IPv4 one mapped."""
    if source.is_ipv6 or destination.is_ipv6:
        family, hosts = INET6, _packed_v6(source) + _packed_v6(destination)
    else:
        family, hosts = INET, _packed(source) + _packed(destination)
    addresses = hosts + source.port.to_bytes(2, "big") + destination.port.to_bytes(2, "big")
    start = bytes((0x20 | PROXY, family << 4 | V2_TCP))
    return V2_SIGNATURE + start + len(addresses).to_bytes(2, "big") + addresses


def _parse_v1(buffer: bytes) -> ProxyHeader | None:
    family = buffer[len(V1_START) :]
    if not any(known.startswith(family[: len(known)]) for known in V1_FAMILIES):
        raise ProxyHeaderError("a PROXY line of an unknown family")
    end = buffer.find(b"\n", 0, V1_LONGEST) + 1
    if end == 0:
        if len(buffer) >= V1_LONGEST:
            raise ProxyHeaderError("a PROXY line longer than 107 bytes")
        return None
    line = buffer[:end]
    if V1_UNKNOWN.fullmatch(line):
        return ProxyHeader(None, None, line)
    found = V1_LINE.fullmatch(line)
    if found is None:
        raise ProxyHeaderError("a malformed PROXY line")
    family, source, destination, source_port, destination_port = found.groups()
    return ProxyHeader(
        _read_v1_address(family, source, source_port),
        _read_v1_address(family, destination, destination_port),
        line,
    )


def _read_v1_address(family: bytes, host: bytes, port: bytes) -> Address:
    kind = ipaddress.IPv4Address if family == b"TCP4" else ipaddress.IPv6Address
    try:
        address = kind(host.decode("ascii"))
    except ValueError:
        raise ProxyHeaderError("a PROXY line with an address that is none of its family") from None
    if int(port) > 65535:
        raise ProxyHeaderError("a PROXY line with a port beyond 65535")
    return Address(str(address), int(port))


def _parse_v2(buffer: bytes) -> ProxyHeader | None:
    _judge_v2_start(buffer)
    if len(buffer) < V2_FIXED:
        return None
    length = int.from_bytes(buffer[14:16], "big")
    command, family = buffer[12] & 0x0F, buffer[13] >> 4
    if length > V2_LONGEST:
        raise ProxyHeaderError("a PROXY header longer than we read")
    # The sender of LOCAL speaks for itself; what it says of addresses must be ignored (§2.2).
    if command == PROXY and length < V2_ADDRESS_BYTES[family]:
        raise ProxyHeaderError("a PROXY header too short for its addresses")
    if len(buffer) < V2_FIXED + length:
        return None
    raw = buffer[: V2_FIXED + length]
    if command == LOCAL or family not in (INET, INET6) or buffer[13] & 0x0F == UNSPEC:
        return ProxyHeader(None, None, raw)
    return _read_v2_addresses(4 if family == INET else 16, raw)


def _judge_v2_start(buffer: bytes) -> None:
    """Version, command, family and transport, each as soon as it is there."""
    if len(buffer) > 12 and (buffer[12] >> 4 != 2 or buffer[12] & 0x0F not in (LOCAL, PROXY)):
        raise ProxyHeaderError("a PROXY header of an unknown version or command")
    if len(buffer) < 14 or buffer[12] & 0x0F == LOCAL:
        return
    if buffer[13] >> 4 not in V2_ADDRESS_BYTES or buffer[13] & 0x0F not in V2_TRANSPORTS:
        raise ProxyHeaderError("a PROXY header of an unknown family or transport")


def _read_v2_addresses(size: int, raw: bytes) -> ProxyHeader:
    """`size` is the bytes of one IP address: source, destination, then their ports."""
    destination_at, ports_at = V2_FIXED + size, V2_FIXED + 2 * size
    source = ipaddress.ip_address(raw[V2_FIXED:destination_at])
    destination = ipaddress.ip_address(raw[destination_at:ports_at])
    return ProxyHeader(
        Address(str(source), int.from_bytes(raw[ports_at : ports_at + 2], "big")),
        Address(str(destination), int.from_bytes(raw[ports_at + 2 : ports_at + 4], "big")),
        raw,
    )


def _packed(address: Address) -> bytes:
    return ipaddress.ip_address(address.host).packed


def _packed_v6(address: Address) -> bytes:
    return _packed(address) if address.is_ipv6 else bytes(10) + b"\xff\xff" + _packed(address)
