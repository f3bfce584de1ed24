"""One message's body as it is read: first what came with the head, then from the stream.

It knows where the body ends and what came after it. Where it ends is decided by the head alone; a body that ends
earlier is an error, never the end of the message.
"""

from collections.abc import Callable, Sequence

from sozu_trio.config.limits import HeadLimits
from sozu_trio.errors import ExchangeError
from sozu_trio.proxy.forwarding import fields_unlike
from sozu_trio.proxy.patience import Patience
from sozu_trio.proxy.stream import Piece, Stream
from sozu_trio.wire.chunked import ChunkedDecoder
from sozu_trio.wire.heads import CHUNKED, CLOSE, LENGTH, NO_BODY, Field, Framing

Failure = Callable[[str], ExchangeError]


class Body:
    """A body on its way.

    `malformed(reason)` makes what is raised for bad framing, `cut(reason)` for an end that came too soon.
    """

    # Defaults stand in the class: most messages have no body, and those that have need few of these.
    left = 0
    """Bytes still to be read (LENGTH)."""
    rest = b""
    """What was read together with the head; put here before `begin`."""
    unused = b""
    """What came after the body. Known when it has ended."""
    early: Sequence[Piece] = ()
    """What came with the head; it goes first."""
    started = False
    """Something was read that is not in `early`."""
    trailers: Sequence[Field] = ()
    unwanted: frozenset[bytes] = frozenset()
    """Names of trailers that are left out besides, in lower case and with hyphens for underscores."""
    _decoder: ChunkedDecoder | None = None
    _most = 0
    """Bytes it may have; 0 = any number."""
    _beyond: Callable[[int], ExchangeError]
    _had = 0
    """Bytes of it that were decoded; counted where there is a `_most`."""

    def __init__(
        self,
        stream: Stream,
        framing: Framing,
        length: int,
        limits: HeadLimits,
        malformed: Failure,
        cut: Failure,
    ) -> None:
        self.stream = stream
        self.framing = framing
        self.ended = framing is NO_BODY
        """Everything has been read."""
        self._cut = cut
        if framing is LENGTH:
            self.left = length
        elif framing is CHUNKED:
            self._decoder = ChunkedDecoder(limits, malformed)

    def begin(self) -> None:
        """Look at what came with the head. Raises what `malformed` makes."""
        rest, self.rest = self.rest, b""
        if self.framing is NO_BODY:
            self.unused = rest
        elif self.framing is LENGTH:
            self._begin_length(rest)
        elif self.framing is CHUNKED:
            self.early = self._decode(rest)
        elif rest:
            self.early = [rest]

    def _begin_length(self, rest: bytes) -> None:
        early, self.unused = rest[: self.left], rest[self.left :]
        self.early = [early] if early else []
        self.left -= len(early)
        self.ended = not self.left

    def bound(self, most: int, beyond: Callable[[int], ExchangeError]) -> None:
        """After `begin`: it may have `most` bytes. Raises what `beyond(most)` makes, here or where it turns out to have
        more; nothing of a piece that is beyond is given away.
        """
        self._most, self._beyond = most, beyond
        self._had = sum(map(len, self.early))
        if self._had + self.left > most:
            raise beyond(most)

    def _decode(self, data: bytes) -> list[Piece]:
        decoder = self._decoder
        assert decoder is not None
        pieces: list[Piece] = list(decoder.feed(data)) if data else []
        if self._most:
            self._had += sum(map(len, pieces))
            if self._had > self._most:
                raise self._beyond(self._most)
        if decoder.done:
            self.ended = True
            self.trailers = decoder.trailers
            self.unused = bytes(decoder.unused)
        return pieces

    def wanted_trailers(self) -> list[Field]:
        """Those that go on. Known when the body has ended."""
        return fields_unlike(self.trailers, self.unwanted)

    async def read(self, most: int, patience: Patience | None = None) -> list[Piece]:
        """The next pieces, of at most `most` bytes read; perhaps none although more will come: `ended` tells. Raises
        what `malformed`, `cut` make.
        """
        self.started = True
        try:
            size = min(self.left, most) if self.framing is LENGTH else most
            data = await self.stream.receive(size, patience)
        except OSError as error:
            raise self.cut(str(error)) from error
        if not data:
            if self.framing is not CLOSE:
                raise self.cut("the connection was closed")
            self.ended = True
            return []
        if self._decoder is not None:
            return self._decode(data)
        if self.framing is LENGTH:
            self.left -= len(data)
            self.ended = not self.left
        return [data]

    def cut(self, reason: str) -> ExchangeError:
        """What to raise because the body ended too soon."""
        return self._cut(reason)
