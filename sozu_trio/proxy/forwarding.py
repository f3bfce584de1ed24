"""What we tell the backend about the client: X-Forwarded-*, Forwarded (RFC 7239), X-Real-IP, X-Request-Id and Sozu-Id.

From a peer in `trusted_proxies` the client's own fields are believed and added to; from anybody else they are dropped
and made anew, because whoever reads them behind us cannot tell who wrote them. All but the request's id is the same
for a whole connection and is made once.
"""

import ipaddress
from collections.abc import Container, Sequence

from sozu_trio.config.addresses import Address
from sozu_trio.config.listeners import HttpListener, protocol_of
from sozu_trio.config.plain_names import PLAIN
from sozu_trio.wire.field_lines import line_of
from sozu_trio.wire.heads import Field, RequestHead


def is_trusted(listener: HttpListener, client: Address) -> bool:
    ip = ipaddress.ip_address(client.host)
    return any(ip in ipaddress.ip_network(network, strict=False) for network in listener.trusted_proxies)


class Forwarding:
    """The fields of one client connection."""

    __slots__ = (
        "_constant",
        "_forwarded",
        "_host",
        "_id_field",
        "_identity",
        "_listener",
        "_port",
        "_proto",
        "_via",
        "trusted",
    )

    def __init__(
        self, listener: HttpListener, client: Address, destination: Address, identity: Sequence[Field] = ()
    ) -> None:
        """`identity`: what is said of the client's certificate."""
        public = listener.public_address or destination
        by = f'"[{public.host}]"' if public.is_ipv6 else public.host
        self._listener = listener
        self._identity = identity
        self._host = client.host.encode()
        self._port = b"%d" % public.port
        self._proto = protocol_of(listener).encode()
        self._forwarded = f'proto={protocol_of(listener)};for="{client}";by={by}'.encode()
        self._id_field = listener.sozu_id_header.encode()
        self._via = listener.via.encode()
        self._constant = _joined(self._made_anew())
        self.trusted = bool(listener.trusted_proxies) and is_trusted(listener, client)

    def _made_anew(self) -> list[Field]:
        fields = [
            (b"X-Forwarded-For", self._host),
            (b"X-Forwarded-Proto", self._proto),
            (b"X-Forwarded-Port", self._port),
            (b"Forwarded", self._forwarded),
        ]
        if self._listener.send_x_real_ip:
            fields.append((b"X-Real-IP", self._host))
        return [*fields, *self._identity]

    def lines(self, head: RequestHead, ulid: bytes) -> tuple[bytes, bytes]:
        """The X-Request-Id, and all there is to add to the request's own fields as `write_request` takes it."""
        request_id, first = ulid, self._constant
        if self.trusted and head.forwarding:
            request_id = next((value for name, value in head.forwarding if name == b"x-request-id" and value), ulid)
            first = _joined(self._believed(head))
        if self._via:
            first = b"%b\r\n%b" % (first, via_line(head.minor, self._via))
        return request_id, b"%b\r\nX-Request-Id: %b\r\n%b: %b" % (first, request_id, self._id_field, ulid)

    def _believed(self, head: RequestHead) -> list[Field]:
        """A trusted client's fields, with this hop appended to the lists and the rest only where it is absent."""
        sent: dict[bytes, list[bytes]] = {}
        for name, value in head.forwarding:
            sent.setdefault(name, []).append(value)
        sent.pop(b"x-request-id", None)
        client_ip = sent.pop(b"x-real-ip", [])
        fields = [
            (b"X-Forwarded-For", b", ".join([*sent.pop(b"x-forwarded-for", []), self._host])),
            (b"X-Forwarded-Proto", b", ".join(sent.pop(b"x-forwarded-proto", [self._proto]))),
            (b"X-Forwarded-Port", b", ".join(sent.pop(b"x-forwarded-port", [self._port]))),
            (b"Forwarded", b", ".join([*sent.pop(b"forwarded", []), self._forwarded])),
        ]
        if self._listener.send_x_real_ip:
            client_ip = [self._host]
        elif self._listener.elide_x_real_ip:
            client_ip = []
        fields += [(b"X-Real-IP", value) for value in client_ip]
        return [*fields, *((name, value) for name, values in sent.items() for value in values), *self._identity]


def _joined(fields: list[Field]) -> bytes:
    """Fields as they stand in a head, without the last line end."""
    return b"\r\n".join(map(line_of, fields))


def via_line(minor: int, pseudonym: bytes) -> bytes:
    """Via for a message that came as HTTP/1.`minor` (RFC 9110 §7.6.3)."""
    return b"Via: 1.%d %b" % (minor, pseudonym)


def fields_unlike(fields: Sequence[Field], names: Container[bytes]) -> list[Field]:
    """`fields` less those that are called by any of `names`, as PLAIN spells them."""
    return [field for field in fields if field[0].translate(PLAIN) not in names]
