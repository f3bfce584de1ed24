"""What `scripts/fuzz tls` sends after a handshake that was in order: requests whose records are damaged, cut, repeated
or tiny, alerts that are cut, hellos that have no place there, and garbage.
"""

import contextlib
import shutil
import ssl
from collections.abc import Callable
from random import Random

import trio

from benchmarks.fuzz_beside import BODY, HOST, REQUEST, Unsound
from benchmarks.fuzz_hellos import CHANGE_CIPHER_SPEC, HANDSHAKE, VERSIONS, client_context, hello, record
from benchmarks.tls_records import read_records

DATA = 23
LAST_REQUEST = REQUEST.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")


class Client:
    """TLS whose every byte is in our hands."""

    def __init__(self, stream: trio.SocketStream, context: ssl.SSLContext) -> None:
        self.stream = stream
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=HOST)

    async def handshake(self) -> None:
        """Raises OSError where the proxy does not want it."""
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self.stream.send_all(self._outgoing.read())
                self._incoming.write(await self.stream.receive_some() or b"")
            else:
                await self.stream.send_all(self._outgoing.read())
                return

    def records(self, data: bytes) -> bytes:
        """`data`, encrypted."""
        self._tls.write(data)
        return self._outgoing.read()

    def close_notify(self) -> bytes:
        with contextlib.suppress(ssl.SSLWantReadError):
            self._tls.unwrap()
        return self._outgoing.read()

    async def read_answer(self) -> bytes:
        """All that comes until the proxy says that it is all."""
        answer = b""
        while True:
            try:
                if not (data := self._tls.read(65536)):
                    return answer
                answer += data
            except ssl.SSLWantReadError:
                if not (received := await self.stream.receive_some()):
                    raise Unsound(f"cut without a close_notify after {answer!r}") from None
                self._incoming.write(received)
            except ssl.SSLZeroReturnError:
                return answer


def damaged(client: Client, chance: Random) -> bytes:
    data = bytearray(client.records(REQUEST))
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return bytes(data)


def cut(client: Client, chance: Random) -> bytes:
    data = client.records(REQUEST)
    return data[: chance.randrange(1, len(data))]


def repeated(client: Client, chance: Random) -> bytes:
    return client.records(REQUEST) * chance.randint(2, 4)


def alert_cut(client: Client, chance: Random) -> bytes:
    data = client.close_notify()
    return data[: chance.randrange(1, len(data))]


def after_the_end(client: Client, chance: Random) -> bytes:
    return client.close_notify() + chance.randbytes(100)


def garbage(client: Client, chance: Random) -> bytes:
    return record(DATA, chance.randbytes(chance.choice((0, 1, 16, 17, 200, 16384, 20_000))))


def oversize(client: Client, chance: Random) -> bytes:
    return b"%c\x03\x03\xff\xff" % DATA + chance.randbytes(chance.randrange(70_000))


def plain_hello(client: Client, chance: Random) -> bytes:
    return hello(client_context(chance.choice(VERSIONS)), HOST)


def changes_of_cipher(client: Client, chance: Random) -> bytes:
    return record(CHANGE_CIPHER_SPEC, b"\x01") * chance.choice((1, 2, 64))


def handshakes_in_plain(client: Client, chance: Random) -> bytes:
    return record(HANDSHAKE, b"\x18\x00\x00\x01" + chance.randbytes(1)) * chance.choice((1, 64))


DAMAGE: tuple[Callable[[Client, Random], bytes], ...] = (
    damaged,
    cut,
    repeated,
    alert_cut,
    after_the_end,
    garbage,
    oversize,
    plain_hello,
    changes_of_cipher,
    handshakes_in_plain,
)


async def tamper(port: int, chance: Random) -> str:
    """Shake hands, then send what is not in order, or in records of one byte each what is; how it ended.

    Raises Unsound.
    """
    context = client_context(chance.choice(VERSIONS))
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        client = Client(stream, context)
        await client.handshake()
        if chance.random() < 0.2:
            return await in_tiny_records(client, chance)
        try:
            await stream.send_all(chance.choice(DAMAGE)(client, chance))
            if chance.random() < 0.95:
                await stream.send_eof()
        except trio.BrokenResourceError:
            pass  # It has closed already; what it said can be read all the same, or not.
        return await read_records(stream)


async def in_tiny_records(client: Client, chance: Random) -> str:
    most = chance.choice((1, 2, 10))
    pieces = [LAST_REQUEST[at : at + most] for at in range(0, len(LAST_REQUEST), most)]
    await client.stream.send_all(b"".join(map(client.records, pieces)))
    answer = await client.read_answer()
    if not (answer.startswith(b"HTTP/1.1 200 ") and answer.endswith(b"\r\n\r\n" + BODY)):
        raise Unsound(f"a request in tiny records was answered {answer!r}")
    return "answered"


async def renegotiate(port: int) -> int:
    """Have openssl ask for a new handshake, and for new keys, on a connection each; how many connections that were."""
    program = shutil.which("openssl")
    if program is None:
        return 0
    asked = (("-tls1_2", b"R\n"), ("-tls1_3", b"K\n"))
    for version, command in asked:
        connect = [program, "s_client", "-connect", f"127.0.0.1:{port}", version]
        await trio.run_process(connect, stdin=command, capture_stdout=True, capture_stderr=True, check=False)
    return len(asked)
