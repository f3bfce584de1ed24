"""The fields that tell backends who a client is: nobody but the proxy may say them."""

from collections.abc import Iterable

from sozu_trio.config.client_auth import CLIENT_FIELDS, plain_name
from sozu_trio.config.listeners import HttpsListener, Listener


def client_fields(listeners: Iterable[Listener]) -> frozenset[bytes]:
    """Those that any of `listeners` sets, in lower case and with hyphens for underscores."""
    asking = [each for each in listeners if isinstance(each, HttpsListener) and each.tls.client_auth != "none"]
    names = (getattr(each, key) for each in asking for key in CLIENT_FIELDS)
    return frozenset(plain_name(name).encode("ascii") for name in names if name)
