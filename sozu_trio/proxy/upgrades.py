"""Changes of protocol (RFC 9110 §7.8): which of those a client wants its backend is asked for, and whether the backend
has chosen one of them.
"""

from collections.abc import Container

from sozu_trio.wire.heads import NO_BODY, RequestHead


def wanted_upgrade(head: RequestHead, protocols: Container[bytes]) -> bytes:
    """What of the request's Upgrade is among `protocols`, in lower case; nothing where it has a body, whose end would
    have to come first.
    """
    if head.framing is not NO_BODY:
        return b""
    return b", ".join(token for token in _tokens(head.upgrade) if token.lower() in protocols)


def was_asked_for(chosen: bytes, asked: bytes) -> bool:
    """Whether the `chosen` protocol of a 101 is one of those the backend was `asked` for."""
    return chosen.strip(b" \t").lower() in {token.lower() for token in _tokens(asked)} - {b""}


def _tokens(upgrade: bytes) -> list[bytes]:
    return [token.strip(b" \t") for token in upgrade.split(b",")]
