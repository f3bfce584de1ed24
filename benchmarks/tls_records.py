"""What a TLS server says, as far as it can be judged from outside: records, and between two of them the end."""

import trio

from benchmarks.fuzz_beside import Unsound

ALERT = 21
KINDS = frozenset({20, ALERT, 22, 23})
"""Change of cipher, alert, handshake, data (RFC 8446 §5.1)."""
LARGEST = 16384 + 2048
"""Bytes of one with what encryption adds (RFC 5246 §6.2.3)."""


async def read_records(stream: trio.abc.ReceiveStream) -> str:
    """Read to the end; `closed` or `reset`. Raises Unsound for anything but whole records."""
    data = b""
    try:
        async for piece in stream:
            data += piece
    except trio.BrokenResourceError:
        # A server that closes on what it has not read resets: the last record may be lost with it.
        whole_records(data)
        return "reset"
    if rest := whole_records(data):
        raise Unsound(f"the last record was cut short: {rest[:100]!r}")
    return "closed"


def whole_records(data: bytes) -> bytes:
    """What is left after the last whole record. Raises Unsound for what is none."""
    while len(data) >= 5:
        kind, major, length = data[0], data[1], int.from_bytes(data[3:5])
        # OpenSSL refuses a record of an unknown version with an alert of the same.
        if kind not in KINDS or (major != 3 and kind != ALERT) or length > LARGEST:
            raise Unsound(f"no record of TLS: {data[:100]!r}")
        if len(data) < 5 + length:
            break
        data = data[5 + length :]
    return data
