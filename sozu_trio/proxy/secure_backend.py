"""TLS on a connection to a backend that has just been made."""

import ssl

import trio

from sozu_trio.errors import HandshakeFailed
from sozu_trio.proxy.backends import BackendState
from sozu_trio.proxy.stream import Stream
from sozu_trio.proxy.tls_stream import TlsStream
from sozu_trio.tls.client_contexts import ClientTls
from sozu_trio.tls.client_failures import backend_failure


async def secure(plain: Stream, state: BackendState, tls: ClientTls, opening: bytes, *, http: bool) -> TlsStream:
    """`plain` with TLS, after the handshake; how long that may take is the caller's to say. `opening` goes before it.

    Raises HandshakeFailed, or OSError where descriptors ran out; nothing is left open then.
    """
    try:
        if opening:
            await plain.send(opening)
        for _ in tls.prepare(http=http):
            await trio.lowlevel.checkpoint()
        # What resumes a session is not verified again: it must have been by what is asked now.
        session = state.session if tls is state.tls else None
        sock = tls.wrap(plain.sock, state.backend.address.host, http=http, session=session)
    except BaseException as error:
        plain.abort()
        if isinstance(error, ssl.SSLError | ConnectionError):
            raise backend_failure(error) from error
        raise
    stream = TlsStream(sock, plain.timeout)
    try:
        await stream.handshake()
        tls.check(sock)
    except BaseException as error:
        stream.abort()
        if isinstance(error, HandshakeFailed):
            # What was remembered may be what it does not like.
            state.session = None
        raise
    return stream
