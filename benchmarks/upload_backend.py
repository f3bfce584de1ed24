"""upload_backend.py PORT — a backend that tells what has arrived: `<bytes> <CRC-32 in hexadecimal>` of each body.

Bodies with Content-Length, chunked, or none; connections are kept, each has a thread.
"""

import io
import socket
import sys
import threading
import zlib
from collections.abc import Iterator, Mapping
from typing import BinaryIO

READ = 262144
"""Bytes at a time."""


def serve(listener: socket.socket) -> None:
    """Answer whoever comes until `listener` is shut down."""
    while True:
        try:
            sock, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=answer, args=(sock,), daemon=True).start()


def answer(sock: socket.socket) -> None:
    """All requests of one connection."""
    with sock, io.BufferedReader(sock.makefile("rb", 0), READ) as stream:
        try:
            while (fields := read_head(stream)) is not None:
                told = summary(body(stream, fields))
                sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(told), told))
        except OSError:
            return


def summary(pieces: Iterator[bytes]) -> bytes:
    """What is told of them."""
    length = sum_of = 0
    for piece in pieces:
        length += len(piece)
        sum_of = zlib.crc32(piece, sum_of)
    return b"%d %08x\n" % (length, sum_of)


def read_head(stream: BinaryIO) -> dict[bytes, bytes] | None:
    """Its fields, with names in lower case; None at the end of the connection. Raises OSError."""
    if not stream.readline():
        return None
    fields = {}
    while (line := stream.readline()) not in (b"\r\n", b""):
        name, _, value = line.partition(b":")
        fields[name.lower()] = value.strip()
    return fields


def body(stream: BinaryIO, fields: Mapping[bytes, bytes]) -> Iterator[bytes]:
    """The pieces of it; of one that breaks off those that came. Raises OSError."""
    if fields.get(b"transfer-encoding", b"").lower() != b"chunked":
        yield from exactly(stream, int(fields.get(b"content-length", b"0")))
        return
    while length := int(stream.readline().partition(b";")[0] or b"0", 16):
        yield from exactly(stream, length)
        stream.readline()
    while stream.readline() not in (b"\r\n", b""):
        pass  # trailers


def exactly(stream: BinaryIO, length: int) -> Iterator[bytes]:
    while length and (piece := stream.read(min(length, READ))):
        yield piece
        length -= len(piece)


if __name__ == "__main__":
    serve(socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=1024))
