"""The backend's answer on its way to the client: interim responses, the final one, or a change of protocol.

What cannot be understood becomes 502 and that connection is never used again. A response is reframed only where the
client needs it: chunked or close-delimited becomes chunked for HTTP/1.1, close-delimited for HTTP/1.0.
"""

from typing import TYPE_CHECKING

from sozu_trio.config.limits import READ_SIZE, SMALL_MESSAGE
from sozu_trio.errors import BackendClosed, BadResponse, ClientGone
from sozu_trio.proxy.backends import Connection
from sozu_trio.proxy.body import Body
from sozu_trio.proxy.relay import Tunnel
from sozu_trio.proxy.stream import Stream
from sozu_trio.proxy.transfer import transfer
from sozu_trio.proxy.tunnels import relay_or_move
from sozu_trio.proxy.upgrades import was_asked_for
from sozu_trio.wire.heads import CHUNKED, CLOSE, LENGTH, NO_BODY, Framing, ResponseHead
from sozu_trio.wire.response import ResponseParser
from sozu_trio.wire.write import write_response

if TYPE_CHECKING:
    from sozu_trio.proxy.exchange import Exchange

CONTINUE = 100
SWITCHING_PROTOCOLS = 101
MOST_INTERIM = 64
"""Interim responses to one request; a backend that sends more sends nothing else."""


async def respond(exchange: "Exchange", connection: Connection, request: bytes = b"") -> bool:
    """Send `request`, where nobody else does, and relay the response of `connection`; returns whether the connection
    may be used again.

    Raises BackendClosed where no byte of a response came, BadResponse for what is none, OSError when the client is
    gone.
    """
    backend = connection.stream
    if request:
        try:
            sent = backend.send_soon(request) if len(request) <= SMALL_MESSAGE else 0
            if sent < len(request):
                await backend.send(request[sent:], exchange.patience)
        except OSError:
            pass  # It may have answered before it closed; reading tells.
    parser = ResponseParser(exchange.connection.listener.limits, exchange.head.method)
    try:
        buffer = await backend.receive_later(READ_SIZE, exchange.patience, parser.foresee)
    except OSError as error:
        raise BackendClosed(f"the backend's connection broke: {error.strerror}") from error
    if not buffer:
        raise BackendClosed("the backend closed without a response")
    exchange.heard()
    head = parser.parse(buffer)
    if head is None or head.status < 200:
        head, buffer = await _final_head(exchange, backend, parser, head, buffer)
        if head.status == SWITCHING_PROTOCOLS:
            await _switch(exchange, connection, head, buffer)
            return False
    rest = buffer[head.size :]
    exchange.record.status = head.status
    if head.framing is LENGTH and len(rest) == head.length and exchange.upload is None:
        # All of it came at once, and leaves so.
        data = _head(exchange, head, buffer, LENGTH) + rest
        exchange.answered = True
        sent = exchange.client.send_soon(data) if len(data) <= SMALL_MESSAGE and exchange.waits_next else 0
        if sent < len(data):
            await exchange.client.send(data[sent:], exchange.patience)
        exchange.record.message = "complete"
        return head.keep_alive
    return await _relay(exchange, backend, head, buffer)


async def _final_head(
    exchange: "Exchange",
    backend: Stream,
    parser: ResponseParser,
    head: ResponseHead | None,
    buffer: bytes,
) -> tuple[ResponseHead, bytes]:
    """The first head that is not interim, where `buffer` does not begin with it; with the buffer that does."""
    for _ in range(MOST_INTERIM):
        while head is None:
            buffer += await _more(exchange, backend)
            head = parser.parse(buffer)
        if head.status >= 200 or head.status == SWITCHING_PROTOCOLS:
            return head, buffer
        await _pass_interim(exchange, head)
        buffer = buffer[head.size :]
        head = parser.parse(buffer) if buffer else None
    raise BadResponse("more interim responses than anybody needs")


async def _more(exchange: "Exchange", backend: Stream) -> bytes:
    try:
        data = await backend.receive(READ_SIZE, exchange.patience)
    except OSError as error:
        raise BadResponse(f"the backend's connection broke in a response head: {error.strerror}") from error
    if not data:
        raise BadResponse("the backend closed in the middle of a response head")
    return data


async def _pass_interim(exchange: "Exchange", head: ResponseHead) -> None:
    if exchange.head.minor == 0:
        return  # RFC 9110 §15.2: a 1.0 client knows no interim responses.
    await exchange.client.send(write_response(head, framing=NO_BODY), exchange.patience)
    if head.status == CONTINUE and exchange.upload is not None:
        exchange.upload.go_ahead()


def _head(exchange: "Exchange", head: ResponseHead, buffer: bytes, framing: Framing) -> bytes:
    """The head as the client gets it; from here on it is settled whether its connection stays open."""
    connection = exchange.connection
    terms = connection.terms
    if head.unusual or terms.id_is_usual:
        terms.drop_id(head, buffer)
    if connection.secured is not None:
        head.lines = connection.secured.lines(head.lines)
    if connection.draining:
        exchange.close = True
    option = b"close" if exchange.close else b"" if exchange.head.minor else b"keep-alive"
    return write_response(head, terms.response_lines[head.minor] % exchange.ulid, framing=framing, connection=option)


async def _relay(exchange: "Exchange", backend: Stream, head: ResponseHead, buffer: bytes) -> bool:
    """A response still coming, or whose end is not plain to see; or one that came before its request was whole."""
    framing = head.framing
    if framing is CHUNKED or framing is CLOSE:
        framing = CHUNKED if exchange.head.minor else CLOSE
    if framing is CLOSE or exchange.uploading:
        exchange.close = True
    data = _head(exchange, head, buffer, framing)
    body = Body(backend, head.framing, head.length, exchange.connection.listener.limits, BadResponse, _cut_short)
    body.rest = buffer[head.size :]
    body.begin()
    exchange.answered = True
    await transfer(body, exchange.client, framing, data, exchange.proxy.pipes, exchange.patience)
    exchange.record.message = "complete"
    if exchange.uploading:
        exchange.linger = exchange.close = True
    return head.keep_alive and head.framing is not CLOSE and not body.unused


def _cut_short(reason: str) -> BadResponse:
    return BadResponse(f"the response was cut short: {reason}")


async def _switch(exchange: "Exchange", connection: Connection, head: ResponseHead, buffer: bytes) -> None:
    """101: from here on an opaque tunnel, half-close kept both ways."""
    if not was_asked_for(head.upgrade, exchange.upgrade):
        raise BadResponse("the backend switched to a protocol nobody asked for")
    record = exchange.record
    record.status, record.protocol = head.status, "WS"
    exchange.answered = exchange.close = True
    exchange.client.stop_watching()
    await exchange.client.send(_head(exchange, head, buffer, NO_BODY), exchange.patience)
    exchange.patience.hold()
    counters = exchange.proxy.counters
    counters.tunnels += 1
    exchange.connection.node.kind = "websocket"
    try:
        await _tunnel(exchange, connection, buffer[head.size :])
    finally:
        counters.tunnels -= 1


async def _tunnel(exchange: "Exchange", connection: Connection, rest: bytes) -> None:
    early, exchange.body.unused = exchange.body.unused, b""
    tunnel = Tunnel(
        exchange.client,
        connection.stream,
        exchange.proxy.pipes,
        idle_timeout=exchange.connection.listener.timeouts.tunnel,
        to_backend=early,
        to_client=rest,
    )
    if await relay_or_move(exchange.connection.node, connection, tunnel, exchange.about):
        exchange.moved = True
        return
    exchange.record.message = "upgraded; " + tunnel.outcome
    exchange.record.failed = tunnel.timed_out
    if tunnel.failed:
        connection.stream.abort()
        raise ClientGone(exchange.record.message)
