"""A body from one connection to the other, framed for the receiver.

A body of known length goes unread, by `relay`; a chunked one is decoded and framed anew, so that nothing but
well-formed chunks ever reaches the other side. The head that goes before it and whatever was read with it leave in
one write.
"""

from collections.abc import Sequence

from sozu_trio.config.limits import MANY_PIECES, MOST_READ, READ_SIZE, RELAY_SIZE
from sozu_trio.proxy.body import Body
from sozu_trio.proxy.patience import Patience
from sozu_trio.proxy.pipes import PipeStock
from sozu_trio.proxy.relay import Relay
from sozu_trio.proxy.stream import Piece, Stream
from sozu_trio.wire.chunked import encode_chunk, last_chunk
from sozu_trio.wire.heads import CHUNKED, LENGTH, Framing


def frame(pieces: Sequence[Piece], framing: Framing) -> Sequence[Piece]:
    """`pieces` as the receiver must get them."""
    return encode_chunk(pieces) if framing is CHUNKED else pieces


def whole(body: Body, pieces: Sequence[Piece], framing: Framing) -> list[Piece]:
    """The rest of a body that has ended, framed."""
    end = [last_chunk(body.wanted_trailers())] if framing is CHUNKED else []
    return [*frame(pieces, framing), *end]


async def transfer(
    body: Body, sink: Stream, framing: Framing, head: bytes, pipes: PipeStock, patience: Patience
) -> None:
    """Send `head` and then all of `body` to `sink`. Raises OSError for the sink, the body's errors for its source."""
    early = body.early
    if body.ended and not body.started:
        await sink.send_pieces(sink.arranged([head, *whole(body, early, framing)]), patience)
        return
    await sink.send_pieces(sink.arranged([head, *frame(early, framing)]), patience)
    if body.framing is LENGTH and framing is LENGTH:
        await _relay(body, sink, pipes, patience)
        return
    size = READ_SIZE
    while True:
        pieces: Sequence[Piece] = await body.read(size, patience)
        count, at_once = len(pieces), True
        if pieces or body.ended:
            # Those that were put together are not held while their receiver is waited for.
            pieces = sink.arranged(whole(body, pieces, framing) if body.ended else frame(pieces, framing))
            at_once = await sink.send_pieces(pieces, patience)
        if body.ended:
            return
        size = _next_size(size, count, sink, at_once=at_once)
        if count > MANY_PIECES:
            await sink.rest()


def _next_size(size: int, pieces: int, sink: Stream, *, at_once: bool) -> int:
    """Bytes to read after `size` that came in so many `pieces`, and which `sink` has taken `at_once` or not."""
    if pieces > MANY_PIECES:
        return READ_SIZE
    if not sink.splices:
        return RELAY_SIZE
    return min(size * 2, MOST_READ) if at_once else max(size // 2, READ_SIZE)


async def _relay(body: Body, sink: Stream, pipes: PipeStock, patience: Patience) -> None:
    body.started = True
    relay = Relay(body.stream, sink, pipes, left=body.left, waiting=patience.expect, moved=patience.relax)
    try:
        await relay.run()
    except OSError as error:
        if relay.failed is body.stream:
            raise body.cut(str(error)) from error
        raise
    finally:
        body.left = relay.left or 0
    if body.left:
        raise body.cut("the connection was closed")
    body.ended = True
