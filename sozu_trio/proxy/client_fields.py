"""Fields of requests that say who the client is, by its certificate: set here, and taken out of what clients send.

Whoever reads them behind us cannot tell who wrote them. So as long as any listener sets such a field, it is taken out
of every request, at whatever listener that came, and out of trailers.
"""

from urllib.parse import quote

from sozu_trio.config.listeners import HttpsListener
from sozu_trio.proxy.body import Body
from sozu_trio.proxy.forwarding import fields_unlike
from sozu_trio.tls.identity import ClientIdentity
from sozu_trio.wire.field_lines import lines_unlike
from sozu_trio.wire.heads import Field, RequestHead

_VISIBLE = "".join(map(chr, range(0x21, 0x7F))).replace("%", "")


def fields_of(identity: ClientIdentity, listener: HttpsListener) -> list[Field]:
    """What the backend is told of the client; fields without a name, and those that would be empty, are left out."""
    told = (
        (listener.client_subject_header, quote(identity.subject, safe=f"{_VISIBLE} ")),
        (listener.client_san_header, ",".join(_alternative(*each) for each in identity.alternatives)),
        (listener.client_fingerprint_header, identity.fingerprint),
    )
    return [(name.encode("ascii"), value.encode("ascii")) for name, value in told if name and value]


def _alternative(kind: str, value: str) -> str:
    """A comma within a value would look like the one between two."""
    return f"{kind}:{quote(value, safe=_VISIBLE.replace(',', ''))}"


def drop_fields(head: RequestHead, body: Body, names: frozenset[bytes]) -> None:
    """Take out of a request the fields called `names`, as PLAIN spells them."""
    head.lines = lines_unlike(head.lines, names)
    head.forwarding = fields_unlike(head.forwarding, names)
    body.unwanted = names
