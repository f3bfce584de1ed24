"""The fields that tell backends who a client is: nobody but the proxy may say them."""

from collections.abc import Iterable

from sozu_trio.config.client_auth import CLIENT_FIELDS
from sozu_trio.config.listeners import HttpsListener, Listener
from sozu_trio.config.plain_names import plain_name


def client_fields(listeners: Iterable[Listener]) -> frozenset[bytes]:
    """Those that any of `listeners` sets, as PLAIN spells them."""
    asking = [each for each in listeners if isinstance(each, HttpsListener) and each.tls.client_auth != "none"]
    names = (getattr(each, key) for each in asking for key in CLIENT_FIELDS)
    return frozenset(plain_name(name).encode("ascii") for name in names if name)
