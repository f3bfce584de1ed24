"""Frontends: added and removed, never changed in place. What they name is judged when a transaction is complete."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

from sozu_trio.config.addresses import Address
from sozu_trio.config.bodies import HttpFrontendAdd, HttpFrontendRemove, TcpFrontendAdd, TcpFrontendRemove
from sozu_trio.config.clusters import HttpFrontend, PathType, Position, TcpFrontend
from sozu_trio.config.hsts import patched_hsts
from sozu_trio.config.https_bodies import HttpsFrontendAdd
from sozu_trio.config.values import show
from sozu_trio.routing.draft import Draft
from sozu_trio.routing.refusal import Refusal, near_miss
from sozu_trio.routing.spoken import spoken
from sozu_trio.routing.state import FrontendKey, frontend_key


def add_http(draft: Draft, body: HttpFrontendAdd) -> None:
    """Raises Refusal for a rule that asks the same of a request as one that is there."""
    key = rule_of(body)
    present = draft.http_frontends.get(key)
    if present is not None:
        raise Refusal("", f"exists: the rule {spoken(key)} at {key.address} {_leads(present)}; remove it first")
    frontend = HttpFrontend(
        address=body.address,
        hostname=body.hostname,
        path=key.path,
        path_type=key.path_type,
        method=body.method,
        position=body.position or Position.TREE,
        cluster_id=body.cluster,
        tags=body.tags or MappingProxyType({}),
        hsts=patched_hsts(None, body) if isinstance(body, HttpsFrontendAdd) else None,
        max_body_size=body.max_body_size,
    )
    draft.http_frontends.put(key, frontend)


def remove_http(draft: Draft, body: HttpFrontendRemove) -> None:
    """Raises Refusal where there is none, and where it leads elsewhere than it was believed to."""
    key = rule_of(body)
    present = draft.http_frontends.get(key)
    if present is None:
        hint = partial(_near_rule, draft, key)
        raise Refusal("", f"there is no rule {spoken(key)} at {key.address}", ("http frontend", key), hint)
    believed = None if body.deny else body.cluster
    if (body.deny or body.cluster is not None) and believed != present.cluster_id:
        option, found = ("deny", "true") if body.deny else ("cluster", show(body.cluster))
        raise Refusal(option, f"found {found}; the rule {spoken(key)} at {key.address} {_leads(present)}")
    draft.http_frontends.take(key)


def add_tcp(draft: Draft, body: TcpFrontendAdd) -> None:
    """Raises Refusal where the address leads somewhere already."""
    present = draft.tcp_frontends.get(body.address)
    if present is not None:
        raise Refusal("address", f"exists: {body.address} leads to cluster {show(present.cluster_id)}; remove it first")
    frontend = TcpFrontend(address=body.address, cluster_id=body.id, tags=body.tags or MappingProxyType({}))
    draft.tcp_frontends.put(body.address, frontend)


def remove_tcp(draft: Draft, body: TcpFrontendRemove) -> None:
    """Raises Refusal where there is none, and where it leads elsewhere than it was believed to."""
    present = draft.tcp_frontends.get(body.address)
    if present is None:
        what = f"found {show(body.address)}, which leads nowhere; want the address of a tcp frontend"
        hint = partial(_near_address, draft, body.address)
        raise Refusal("address", what, ("tcp frontend", body.address), hint)
    if body.id not in (None, present.cluster_id):
        raise Refusal("id", f"found {show(body.id)}; {body.address} leads to cluster {show(present.cluster_id)}")
    draft.tcp_frontends.take(body.address)


def rule_of(body: HttpFrontendAdd | HttpFrontendRemove) -> FrontendKey:
    """What the rule asks of a request. Without a path it is any, as in the file."""
    path_type, path = PathType.PREFIX, body.path_prefix or ""
    if body.path_regex is not None:
        path_type, path = PathType.REGEX, body.path_regex
    elif body.path_equals is not None:
        path_type, path = PathType.EQUALS, body.path_equals
    return frontend_key(
        HttpFrontend(address=body.address, hostname=body.hostname, path=path, path_type=path_type, method=body.method)
    )


def _leads(frontend: HttpFrontend) -> str:
    return "denies" if frontend.cluster_id is None else f"leads to cluster {show(frontend.cluster_id)}"


def _near_rule(draft: Draft, key: FrontendKey) -> str:
    return near_miss(spoken(key), _rules_at(draft, key.address))


def _rules_at(draft: Draft, address: Address) -> Iterator[str]:
    return (spoken(key) for key in draft.http_frontends if key.address == address)


def _near_address(draft: Draft, address: Address) -> str:
    return near_miss(str(address), map(str, draft.tcp_frontends))


CHANGES: Mapping[str, Callable[[Draft, Any], None]] = {
    "frontend http add": add_http,
    "frontend http remove": remove_http,
    "frontend https add": add_http,
    "frontend https remove": remove_http,
    "frontend tcp add": add_tcp,
    "frontend tcp remove": remove_tcp,
}
