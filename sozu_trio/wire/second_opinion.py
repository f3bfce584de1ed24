"""h11 reads the heads that the recogniser left to the line judge, and has to read the same.

The judge is ours and stricter than h11; h11 is the authority on what HTTP/1.1 means. So what h11 refuses is refused
with the status it hints at, and should it ever read other fields than we did, the message is one that can be read in
two ways. Content-Length is compared by neither name nor value: h11 merges equal ones, and framing.py has settled it
already.
"""

from collections.abc import Iterable

import h11

from sozu_trio.errors import BadResponse, RequestRefused
from sozu_trio.wire.field_lines import field_of
from sozu_trio.wire.heads import Field
from sozu_trio.wire.recognise import RequestParts, ResponseParts


def confirm_request(head: bytes, parts: RequestParts) -> None:
    """Return if h11 reads the complete `head` as `parts`. Raises RequestRefused with h11's status, else 400."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=len(head))
    connection.receive_data(head)
    try:
        event = connection.next_event()
    except h11.RemoteProtocolError as error:
        raise RequestRefused(error.error_status_hint, str(error)) from error
    read = parts.method, parts.target, _ours(parts)
    if not isinstance(event, h11.Request) or (event.method, event.target, _named(event)) != read:
        raise RequestRefused(400, "h11 reads this head in another way")


def confirm_response(head: bytes, parts: ResponseParts, method: bytes) -> None:
    """Return if h11 reads `head`, white space before colons removed, as `parts`. Raises BadResponse."""
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=len(head))
    # h11 lets nobody switch protocols unasked; whether the client asked is the proxy's to know.
    asked = [("Host", "backend"), ("Connection", "upgrade"), ("Upgrade", "any")]
    connection.send(h11.Request(method=method, target="/", headers=asked))
    connection.receive_data(head)
    try:
        event = connection.next_event()
    except h11.RemoteProtocolError as error:
        raise BadResponse(str(error)) from error
    if not isinstance(event, h11.Response | h11.InformationalResponse):
        raise BadResponse("h11 reads this head in another way")
    if (event.status_code, event.reason, _named(event)) != (parts.status, parts.reason, _ours(parts)):
        raise BadResponse("h11 reads this head in another way")


def _ours(parts: RequestParts | ResponseParts) -> list[Field]:
    return _comparable(map(field_of, parts.lines))


def _named(event: h11.Request | h11.Response | h11.InformationalResponse) -> list[Field]:
    return _comparable([(bytes(name), bytes(value)) for name, value in event.headers.raw_items()])


def _comparable(fields: Iterable[Field]) -> list[Field]:
    """h11 lower-cases the value of Transfer-Encoding and merges Content-Length."""
    return [
        (name, value.lower() if name.lower() == b"transfer-encoding" else value)
        for name, value in fields
        if name.lower() != b"content-length"
    ]
