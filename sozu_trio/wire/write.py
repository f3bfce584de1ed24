"""Heads to bytes: what the next hop reads. Framing and Connection are made here, never copied from what came in.

Nothing is checked on the way out: a head that was parsed cannot hold a line end, and whoever adds a field answers for
it.
"""

from sozu_trio.wire.heads import CHUNKED, CLOSE, LENGTH, Framing, RequestHead, ResponseHead

_head = b"\r\n".join
"""The methods of a constant are looked up once, not for every head."""


def write_request(head: RequestHead, extra: bytes = b"", *, upgrade: bytes = b"") -> bytes:
    """The request as HTTP/1.1, Host first (RFC 9110 §7.2), then its fields, `extra`, framing and hop-by-hop fields.

    `extra` is field lines, ready made and joined by CRLF: most of them are the same for a whole connection.
    `head.forwarding` is not written; what of it is to be believed belongs in `extra`. `upgrade` is what to ask the
    backend for, empty to leave the client's Upgrade out. Max-Forwards is written one less than it came.
    """
    lines = [b"%b %b HTTP/1.1\r\nHost: %b" % (head.method, head.target, head.authority), *head.lines]
    if extra:
        lines.append(extra)
    framing = head.framing
    if framing is LENGTH:
        lines.append(b"Content-Length: %d" % head.length)
    elif framing is CHUNKED:
        lines.append(b"Transfer-Encoding: chunked")
    if head.expects_continue:
        lines.append(b"Expect: 100-continue")
    if head.max_forwards >= 0:
        lines.append(b"Max-Forwards: %d" % max(0, head.max_forwards - 1))
    if upgrade:
        lines.append(b"Upgrade: " + upgrade)
    if head.te_trailers:
        lines.append(b"TE: trailers")
    if upgrade or head.te_trailers:
        lines.append(b"Connection: " + _options(upgrade=bool(upgrade), te=head.te_trailers))
    lines.append(b"\r\n")
    return _head(lines)


def _options(*, upgrade: bool, te: bool) -> bytes:
    if upgrade:
        return b"upgrade, TE" if te else b"upgrade"
    return b"TE"


def write_response(
    head: ResponseHead,
    extra: bytes = b"",
    *,
    framing: Framing,
    connection: bytes = b"",
) -> bytes:
    """The response as HTTP/1.1: its fields, `extra`, framing as it will be sent, and Connection.

    `framing` is the client's side's and may differ from the backend's. Content-Length is written for `LENGTH` and
    `NONE` where the backend declared one, and never for 1xx and 204 (RFC 9110 §8.6). A
    101 names what `head.upgrade` switches to; for others `connection` is written where it is not empty.
    """
    status, length = head.status, head.length
    lines = [b"HTTP/1.1 %d %b" % (status, head.reason), *head.lines]
    if extra:
        lines.append(extra)
    if framing is CHUNKED:
        lines.append(b"Transfer-Encoding: chunked")
    elif length >= 0 and framing is not CLOSE and status >= 200 and status != 204:
        lines.append(b"Content-Length: %d" % length)
    if status == 101:
        lines.append(b"Upgrade: %b\r\nConnection: upgrade" % head.upgrade)
    elif connection:
        lines.append(b"Connection: " + connection)
    lines.append(b"\r\n")
    return _head(lines)
