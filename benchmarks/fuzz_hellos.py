"""What `scripts/fuzz tls` sends before there is a handshake: ClientHellos that were cut, changed or split, and things
that are none. The same seed gives the same.

The hellos are real ones, as OpenSSL writes them with other versions, names, ciphers and protocols.
"""

import contextlib
import random
import ssl
from collections.abc import Iterator, Sequence

from benchmarks.fuzz_beside import HOST

VERSIONS = (
    (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2),
    (ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_3),
    (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3),
)
NAMES = (HOST, "unknown.example", None, "x" * 60 + "." + "y" * 60 + ".example")
PROTOCOLS: tuple[list[str], ...] = ([], ["http/1.1"], ["h2"], ["h2", "http/1.1", "x" * 255])
PLAIN = (
    b"GET / HTTP/1.1\r\nHost: traffic.example\r\n\r\n",
    b"PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n",
    b"SSH-2.0-OpenSSH_9\r\n",
    b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10" + bytes(35),  # a hello of SSL 2
)
HANDSHAKE, ALERT, CHANGE_CIPHER_SPEC = 22, 21, 20


def client_context(versions: tuple[ssl.TLSVersion, ssl.TLSVersion], protocols: Sequence[str] = ()) -> ssl.SSLContext:
    """Of a client that believes anything."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # without the authorities of the system, which take long
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version, context.maximum_version = versions
    context.set_ciphers("ALL")
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context


def recorded() -> list[bytes]:
    """A hello for each combination."""
    return [
        hello(client_context(versions, protocols), name)
        for versions in VERSIONS
        for protocols in PROTOCOLS
        for name in NAMES
    ]


def hello(context: ssl.SSLContext, name: str | None) -> bytes:
    """What a client says first: one record."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(incoming, outgoing, server_hostname=name).do_handshake()
    return outgoing.read()


def record(kind: int, content: bytes, version: bytes = b"\x03\x03") -> bytes:
    """RFC 8446 §5.1; the length is cut to what its field holds."""
    return b"%c%b%b%b" % (kind, version, (len(content) & 0xFFFF).to_bytes(2), content)


class Hellos:
    """What comes next: pieces, to be sent one after the other, at least one byte in all."""

    def __init__(self, seed: str, hellos: Sequence[bytes]) -> None:
        """`hellos` as `recorded`; who fuzzes makes them once, as it takes a while."""
        self._chance = random.Random(seed)
        self._hellos = hellos
        self._cuts = self._each_cut()

    def next(self) -> list[bytes]:
        chance = self._chance
        kinds = (self._cut, self._flipped, self._oversize, self._split, self._with_others, self._random, self._plain)
        data = chance.choice(kinds)()
        if chance.random() < 0.7 or len(data) < 2:
            return [data]
        at = chance.randrange(1, len(data))
        return [data[:at], data[at:]]

    def _hello(self) -> bytes:
        return self._chance.choice(self._hellos)

    def _each_cut(self) -> Iterator[bytes]:
        """Each hello, at each byte."""
        while True:
            whole = self._hello()
            at = list(range(1, len(whole) + 1))
            self._chance.shuffle(at)
            yield from (whole[:each] for each in at)

    def _cut(self) -> bytes:
        return next(self._cuts)

    def _flipped(self) -> bytes:
        data = bytearray(self._hello())
        for _ in range(self._chance.randint(1, 8)):
            data[self._chance.randrange(len(data))] ^= 1 << self._chance.randrange(8)
        return bytes(data)

    def _oversize(self) -> bytes:
        """A length says more than there is, or less: of the record, of the hello, or anywhere."""
        data = bytearray(self._hello())
        at = self._chance.choice((3, 7, self._chance.randrange(9, len(data) - 1)))
        data[at : at + 2] = self._chance.choice((b"\xff\xff", b"\x00\x00", b"\x40\x01", self._chance.randbytes(2)))
        return bytes(data)

    def _split(self) -> bytes:
        """One hello in many tiny records, which is allowed."""
        content, most = self._hello()[5:], self._chance.choice((1, 2, 7, 100))
        return b"".join(record(HANDSHAKE, content[at : at + most]) for at in range(0, len(content), most))

    def _with_others(self) -> bytes:
        """A hello among records that have no place there."""
        chance = self._chance
        others = [
            record(chance.choice((HANDSHAKE, ALERT, CHANGE_CIPHER_SPEC, 23, 24, chance.randrange(256))), content)
            for content in (b"", b"\x01", b"\x01\x00", chance.randbytes(chance.randrange(1, 300)))
            for _ in range(chance.choice((1, 1, 40)))
        ]
        chance.shuffle(others)
        others.insert(chance.randrange(3), self._hello())
        return b"".join(others)

    def _random(self) -> bytes:
        return self._chance.randbytes(self._chance.choice((1, 5, 6, 100, 20_000)))

    def _plain(self) -> bytes:
        return self._chance.choice(PLAIN)
