"""The client's body on its way to the backend, beside the response that may come at any time.

The backend may answer before it has read everything, or instead of reading it (413, 401): then a failed write is no
error of the exchange, the answer is. What the client does wrong is kept in `failure` for the exchange to raise: this
task ends by cancelling the other one.
"""

from collections.abc import Callable

import trio

from sozu_trio.errors import ClientGone, ExchangeError, RequestRefused
from sozu_trio.proxy.body import Body
from sozu_trio.proxy.patience import Patience
from sozu_trio.proxy.pipes import PipeStock
from sozu_trio.proxy.stream import Stream
from sozu_trio.proxy.transfer import transfer
from sozu_trio.wire.heads import CHUNKED, LENGTH


class Upload:
    """One body on its way; `complete` when the backend has all of it."""

    __slots__ = ("_answered", "_body", "_patience", "_pipes", "_response", "_waits", "complete", "failure", "limit")

    def __init__(
        self,
        body: Body,
        pipes: PipeStock,
        *,
        patience: Patience,
        response: Patience,
        answered: Callable[[], bool],
        waits: bool,
    ) -> None:
        """`answered` tells whether the client has been sent some of its response, `waits` whether it sends nothing
        before it is told to (RFC 9110 §10.1.1).
        """
        self._body = body
        self._pipes = pipes
        self._patience = patience
        self._response = response
        self._answered = answered
        self._waits = waits
        self.complete = False
        self.failure: ExchangeError | None = None
        self.limit = ""
        """The one that the client has passed, as counters call it."""

    async def run(self, backend: Stream, head: bytes, others: trio.CancelScope) -> None:
        """Send `head` and the body to `backend`.

        While there is a body to come the wait for the response has no deadline of its own; before the client is told
        to send, it is the backend's turn to speak.
        """
        patience = self._patience
        try:
            with patience:
                if self._waits:
                    await backend.send(head, patience)
                    await self._body.stream.wait_readable()
                    head = b""
                self._response.hold()
                await self._send(backend, head, patience)
            if patience.expired:
                self.failure = self._too_slow(patience)
        except OSError:
            pass  # The backend reads no more; what it says, if anything, is read by the response.
        except ExchangeError as error:
            # With its frames, which have this object, it would be a cycle for the garbage collector.
            self.failure = error.with_traceback(None)
        finally:
            self._response.resume()
            # It has the exchange, which has this object.
            del self._answered
        if self.failure:
            others.cancel(reason="the request body failed")

    def go_ahead(self) -> None:
        """The client has been told to send: from now on it is its turn."""
        self._response.hold()
        self._patience.expect(self._body.stream)

    async def _send(self, backend: Stream, head: bytes, patience: Patience) -> None:
        framing = CHUNKED if self._body.framing is CHUNKED else LENGTH
        await transfer(self._body, backend, framing, head, self._pipes, patience)
        self.complete = True

    def _too_slow(self, patience: Patience) -> ExchangeError | None:
        # A backend that takes nothing may still answer, and an answer that has begun goes on without the rest of its
        # request: their own deadlines run from now.
        if patience.waiting_for is not self._body.stream:
            return None
        self.limit = "body_rate" if patience.too_slow else "body_time"
        if self._answered():
            return None
        why = "came too slowly" if patience.too_slow else "took too long"
        return RequestRefused(408, f"the request body {why}")


def client_gone(reason: str) -> ClientGone:
    return ClientGone(f"in its request body: {reason}")


def too_large(most: int) -> RequestRefused:
    return RequestRefused(413, f"the request body has more than {most} bytes", limit="body_size")


def bad_body(reason: str) -> RequestRefused:
    return RequestRefused(400, reason)
