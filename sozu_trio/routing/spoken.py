"""How a rule is spoken of wherever people read of it: in refusals, plans and events, and in what ctl shows."""

from sozu_trio.config.clusters import HttpFrontend, PathType, TcpFrontend
from sozu_trio.routing.state import FrontendKey, frontend_key


def spoken(key: FrontendKey) -> str:
    """`GET example.com/api` for one of a prefix, else `GET example.com/api (equals)`; not where it is."""
    return spelled(key.hostname, key.path_type, key.path, key.method)


def spelled(hostname: str, path_type: str, path: str, method: str | None) -> str:
    """As `spoken`, for a rule of which only the text is known."""
    kind = "" if path_type == PathType.PREFIX else f" ({path_type.lower()})"
    return f"{method} {hostname}{path}{kind}" if method else f"{hostname}{path}{kind}"


def spoken_frontend(frontend: HttpFrontend | TcpFrontend) -> str:
    """`http frontend example.com/api at 127.0.0.1:80`, `tcp frontend at 127.0.0.1:25`."""
    if isinstance(frontend, HttpFrontend):
        return f"http frontend {spoken(frontend_key(frontend))} at {frontend.address}"
    return f"tcp frontend at {frontend.address}"
