"""Connections that a change of their listener ends, because its clients must do now what they have not done: speak
another protocol, or show another certificate.

A tunnel goes on: a tcp session and a connection that was upgraded say nothing any more that a listener understands.
"""

from collections.abc import Mapping

from sozu_trio.config.listeners import HttpsListener, Listener, protocol_of
from sozu_trio.routing.state import ListenerKey

END = "-----END CERTIFICATE-----"


def is_outdated(began: Listener, now: Listener | None, *, is_known: bool) -> bool:
    """Whether a connection that came to a listener as it `began` ends where that is `now` another one; None: removed,
    which is a stop with a grace of its own. `is_known`: it has shown a certificate.
    """
    if now is None or now is began:
        return False
    if protocol_of(began) != protocol_of(now):
        return True
    if not isinstance(began, HttpsListener) or not isinstance(now, HttpsListener) or now.tls.client_auth == "none":
        return False
    if not is_known:
        return now.tls.client_auth == "required"
    return not _authorities(began) <= _authorities(now)


def _authorities(listener: HttpsListener) -> frozenset[str]:
    # Main has written each of them in the one form that there is.
    text = listener.tls.client_ca
    return frozenset(each.strip() for each in text.split(END))


def turned(before: Mapping[ListenerKey, Listener], after: Mapping[ListenerKey, Listener]) -> list[ListenerKey]:
    """The listeners that some of their connections may be outdated at."""
    return [
        key
        for key, listener in before.items()
        if any(is_outdated(listener, after.get(key), is_known=known) for known in (True, False))
    ]
