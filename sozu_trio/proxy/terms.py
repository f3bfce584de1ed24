"""What all HTTP connections of a listener go by, worked out once and not for each of them."""

from sozu_trio.config.listeners import HttpListener
from sozu_trio.config.plain_names import PLAIN, plain_name
from sozu_trio.proxy.connect import BackendTimeouts
from sozu_trio.proxy.forwarding import via_line
from sozu_trio.wire.field_lines import lines_unlike
from sozu_trio.wire.field_names import USUAL
from sozu_trio.wire.heads import RequestHead, ResponseHead


class Terms:
    """Those of one listener as it is configured."""

    __slots__ = (
        "backend_timeouts",
        "first_timeout",
        "id_field",
        "id_is_usual",
        "listener",
        "response_lines",
        "upgrade_protocols",
    )

    def __init__(self, listener: HttpListener) -> None:
        self.listener = listener
        self.upgrade_protocols = frozenset(protocol.encode() for protocol in listener.upgrade_protocols)
        self.id_field = plain_name(listener.sozu_id_header).encode()
        """As PLAIN spells it."""
        self.id_is_usual = self.id_field in USUAL
        self.response_lines = _response_lines(listener.sozu_id_header.encode(), listener.via.encode())
        """What each response gets beside its own fields, with a place for the request's id: one that came as HTTP/1.0,
        and one that came as HTTP/1.1.
        """
        timeouts = listener.timeouts
        self.first_timeout = min((limit for limit in (timeouts.front, timeouts.request) if limit), default=0.0)
        """Seconds for the first byte of a connection: who has sent none yet gets no longer than a head may take."""
        self.backend_timeouts = BackendTimeouts(timeouts.connect, timeouts.back)

    def drop_id(self, head: RequestHead | ResponseHead, buffer: bytes) -> None:
        """Leave out somebody else's id, however it is spelt; `head` stands at the start of `buffer`.

        To be spared where neither the head is unusual nor the name of the id is a usual one.
        """
        if self.id_field in buffer[: head.size].translate(PLAIN):
            head.lines = lines_unlike(head.lines, (self.id_field,))


def _response_lines(name: bytes, via: bytes) -> tuple[bytes, bytes]:
    return _lines_of(0, name, via), _lines_of(1, name, via)


def _lines_of(minor: int, name: bytes, via: bytes) -> bytes:
    lines = b"%b: \0" % name if not via else b"%b: \0\r\n%b" % (name, via_line(minor, via))
    return lines.replace(b"%", b"%%").replace(b"\0", b"%b")
