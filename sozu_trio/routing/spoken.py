"""How a rule is spoken of wherever people read of it: in refusals, plans and events, and in what ctl shows."""

from typing import Final

from sozu_trio.config.certificates import ListenerCertificate
from sozu_trio.config.clusters import HttpFrontend, PathType, TcpFrontend
from sozu_trio.routing.state import FrontendKey, frontend_key

NAMES: Final = 3
DIGITS: Final = 12


def spoken(key: FrontendKey) -> str:
    """`GET example.com/api` for one of a prefix, else `GET example.com/api (equals)`; not where it is."""
    return spelled(key.hostname, key.path_type, key.path, key.method)


def spelled(hostname: str, path_type: str, path: str, method: str | None) -> str:
    """As `spoken`, for a rule of which only the text is known."""
    kind = "" if path_type == PathType.PREFIX else f" ({path_type.lower()})"
    return f"{method} {hostname}{path}{kind}" if method else f"{hostname}{path}{kind}"


def spoken_certificate(record: ListenerCertificate) -> str:
    """`a.example, b.example (0123456789ab) at 127.0.0.1:443`: its first names, and how its fingerprint begins."""
    certificate = record.certificate
    names = [*certificate.names, *certificate.addresses]
    more = f" and {len(names) - NAMES} more" if len(names) > NAMES else ""
    shown = ", ".join(names[:NAMES]) or "no name"
    return f"{shown}{more} ({certificate.fingerprint[:DIGITS]}) at {record.address}"


def spoken_frontend(frontend: HttpFrontend | TcpFrontend) -> str:
    """`http frontend example.com/api at 127.0.0.1:80`, `tcp frontend at 127.0.0.1:25`."""
    if isinstance(frontend, HttpFrontend):
        return f"http frontend {spoken(frontend_key(frontend))} at {frontend.address}"
    return f"tcp frontend at {frontend.address}"
