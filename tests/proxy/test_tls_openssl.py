"""The stream against OpenSSL's own client, a process of its own: key updates, the end, and how much goes through."""

import hashlib
import socket
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio

from sozu_trio.proxy.tls_stream import TlsStream
from tests.proxy.tls_parts import server_contexts

BOUND = 30
"""Real seconds, after which a test is given up."""


@asynccontextmanager
async def openssl(
    *options: str, version: str = "TLS_V13", stderr: int = subprocess.STDOUT
) -> AsyncIterator[tuple[trio.Process, TlsStream]]:
    """A client after the handshake, and our end of its connection."""
    with trio.fail_after(BOUND):
        with socket.create_server(("127.0.0.1", 0)) as listening:
            listening.setblocking(False)
            address = f"127.0.0.1:{listening.getsockname()[1]}"
            command = ["openssl", "s_client", "-connect", address, "-servername", "a.example", *options]
            async with trio.open_nursery() as nursery:
                start = partial(trio.run_process, command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr)
                process = await nursery.start(partial(start, check=False))
                await trio.lowlevel.wait_readable(listening)
                sock, _ = listening.accept()
                sock.setblocking(False)
                stream = TlsStream(server_contexts(versions=(version,)).wrap(sock), 0)
                try:
                    await stream.handshake()
                    yield process, stream
                finally:
                    stream.close()
                    nursery.cancel_scope.cancel()


async def read_until(process: trio.Process, wanted: bytes) -> bytes:
    assert process.stdout is not None
    got = b""
    while wanted not in got:
        data = await process.stdout.receive_some()
        assert data, got
        got += data
    return got


@pytest.mark.parametrize("command", [b"k\n", b"K\n"], ids=["of its keys", "of both"])
async def test_key_updates_stall_nothing(command: bytes) -> None:
    async with openssl() as (process, stream):
        assert process.stdin is not None
        for round_ in range(3):
            word = b"round %d\n" % round_
            await process.stdin.send_all(command)
            await read_until(process, b"KEYUPDATE")
            await process.stdin.send_all(word)
            got = b""
            while not got.endswith(b"\n"):
                got += await stream.receive(100)
            assert got == word
            await stream.send(b"answer to " + word)
            await read_until(process, b"answer to " + word)


async def test_a_key_update_alone_is_quiet() -> None:
    async with openssl() as (process, stream):
        assert process.stdin is not None
        await process.stdin.send_all(b"K\n")
        await read_until(process, b"KEYUPDATE")
        await trio.lowlevel.wait_readable(stream.sock)
        assert stream.is_quiet()


@pytest.mark.parametrize("version", ["TLS_V12", "TLS_V13"])
async def test_our_end_is_seen_and_answered(version: str) -> None:
    async with openssl("-ign_eof", version=version) as (process, stream):
        await stream.send(b"last words\n")
        stream.shutdown()
        assert await stream.receive(100) == b""
        assert b"last words\n" in await read_until(process, b"closed\n")


async def test_a_client_that_vanishes_is_no_end() -> None:
    async with openssl() as (process, stream):
        process.kill()
        with pytest.raises(ConnectionResetError, match="without close_notify"):
            await stream.receive(100)


@pytest.mark.parametrize("version", ["TLS_V12", "TLS_V13"])
async def test_ten_megabytes_down(version: str) -> None:
    body = hashlib.shake_256(b"seed").digest(10_000_000)
    async with (
        openssl("-quiet", "-ign_eof", stderr=subprocess.DEVNULL, version=version) as (process, stream),
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(stream.send, body)
        assert process.stdout is not None
        got = bytearray()
        while len(got) < len(body):
            got += await process.stdout.receive_some()
        assert hashlib.sha256(got).digest() == hashlib.sha256(body).digest()
        assert stream.bytes_out == len(body)


async def test_resumption_by_openssl(tmp_path: Path) -> None:
    contexts = server_contexts()

    async def connect(options: Sequence[str]) -> bool:
        with trio.fail_after(BOUND), socket.create_server(("127.0.0.1", 0)) as listening:
            listening.setblocking(False)
            address = f"127.0.0.1:{listening.getsockname()[1]}"
            command = ["openssl", "s_client", "-connect", address, "-servername", "a.example", "-ign_eof", *options]
            async with trio.open_nursery() as nursery:
                nursery.start_soon(partial(trio.run_process, command, capture_stdout=True, capture_stderr=True))
                await trio.lowlevel.wait_readable(listening)
                sock, _ = listening.accept()
                sock.setblocking(False)
                stream = TlsStream(contexts.wrap(sock), 0)
                await stream.handshake()
                resumed = stream.facts().resumed
                await stream.send(b"hello\n")
                stream.shutdown()
                assert await stream.receive(100) == b""
                stream.close()
        return resumed

    session = f"{tmp_path}/session"
    assert not await connect(["-sess_out", session])
    assert await connect(["-sess_in", session])
