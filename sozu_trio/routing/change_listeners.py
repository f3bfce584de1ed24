"""Listeners: added inactive, patched in place, switched on and off, removed. What leads there by address stays."""

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from functools import partial
from typing import Any, TypeVar

from sozu_trio.config.addresses import Address
from sozu_trio.config.bodies import HttpListenerBody, ListenerName, ListenerStop, TcpListenerBody, given
from sozu_trio.config.https_bodies import HttpsListenerBody
from sozu_trio.config.limits import HeadLimits
from sozu_trio.config.listeners import HttpListener, HttpsListener, Listener, TcpListener, Timeouts, protocol_of
from sozu_trio.config.report import an
from sozu_trio.config.structure import hyphened
from sozu_trio.config.values import show
from sozu_trio.routing.change_https import patched_https
from sozu_trio.routing.draft import Draft
from sozu_trio.routing.refusal import Refusal, near_miss
from sozu_trio.routing.state import ListenerKey, listener_key

H = TypeVar("H", bound=HttpListener)
Find = Callable[[Draft, Address], Listener]
"""Finds the listener at an address. Raises Refusal for none, and for one of another kind."""

_COMMON = ("public_address", "expect_proxy")
_LIMITING = ("max_body_size", "max_requests_per_connection", "min_body_rate")
_SENDING = ("sozu_id_header", "elide_x_real_ip", "send_x_real_ip", "trusted_proxies", "upgrade_protocols", "via")
_HTTP = (*_COMMON, *_SENDING, *_LIMITING)
_TIMEOUTS = {f"{each.name}_timeout": each.name for each in fields(Timeouts)}
_TCP_TIMEOUTS = {key: name for key, name in _TIMEOUTS.items() if name != "request"}
_LIMITS = {"max_head_size": "head", "max_request_line": "request_line", "max_fields": "fields"}
_TCP_KEYS = {each.name for each in fields(TcpListenerBody)}
_TLS_KEYS = {each.name for each in fields(HttpsListenerBody)} - {each.name for each in fields(HttpListenerBody)}
_DEFAULT_LINE = HeadLimits().request_line


def key_of(address: Address) -> ListenerKey:
    """The key of a listener at `address`, of any kind that is built."""
    return "tcp", address


def no_listener(draft: Draft, address: Address) -> Refusal:
    """Nothing listens at `address`."""
    what = f"found {show(address)}; there is no listener"
    hint = partial(_near_address, draft, address)
    return Refusal("address", what, ("listener", address), hint)


def add_http(draft: Draft, body: HttpListenerBody) -> None:
    """Raises Refusal."""
    _refuse_taken(draft, body.address)
    head = body.max_head_size or HeadLimits().head
    limits = HeadLimits(head=head, request_line=min(_DEFAULT_LINE, head))
    listener = HttpListener(address=body.address, timeouts=draft.settings.timeouts, limits=limits, active=False)
    _put(draft, _patched_http(listener, body))


def add_tcp(draft: Draft, body: TcpListenerBody) -> None:
    """Raises Refusal."""
    _refuse_taken(draft, body.address)
    _put(draft, _patched_tcp(TcpListener(address=body.address, timeouts=draft.settings.timeouts, active=False), body))


def update_http(draft: Draft, body: HttpListenerBody) -> None:
    """Raises Refusal."""
    _put(draft, _patched_http(_http(draft, body.address), body))


def add_https(draft: Draft, body: HttpsListenerBody) -> None:
    """Raises Refusal."""
    _refuse_taken(draft, body.address)
    head = body.max_head_size or HeadLimits().head
    limits = HeadLimits(head=head, request_line=min(_DEFAULT_LINE, head))
    listener = HttpsListener(address=body.address, timeouts=draft.settings.timeouts, limits=limits, active=False)
    _put(draft, patched_https(_patched_http(listener, body), body))


def update_https(draft: Draft, body: HttpsListenerBody) -> None:
    """Raises Refusal."""
    _put(draft, patched_https(_patched_http(_https(draft, body.address), body), body))


def update_tcp(draft: Draft, body: TcpListenerBody) -> None:
    """Raises Refusal."""
    _put(draft, _patched_tcp(_tcp(draft, body.address), body))


def update(draft: Draft, body: HttpsListenerBody) -> None:
    """A listener of any kind. Raises Refusal, too, for what its kind does not have."""
    listener = _either(draft, body.address)
    if isinstance(listener, HttpsListener):
        update_https(draft, body)
        return
    protocol = protocol_of(listener)
    said = [each.name for each in fields(body) if getattr(body, each.name) is not None]
    foreign = [name for name in said if name in _TLS_KEYS or (protocol == "tcp" and name not in _TCP_KEYS)]
    if foreign:
        what = f"{body.address} is {an(protocol)} listener, which has no {' and no '.join(map(hyphened, foreign))}"
        raise Refusal(hyphened(foreign[0]), what)
    patched = _patched_http(listener, body) if isinstance(listener, HttpListener) else _patched_tcp(listener, body)
    _put(draft, patched)


def activate(draft: Draft, body: ListenerName, find: Find) -> None:
    """One that is active stays so. Raises Refusal."""
    _put(draft, replace(find(draft, body.address), active=True))


def deactivate(draft: Draft, body: ListenerStop, find: Find) -> None:
    """One that is inactive stays so. Raises Refusal."""
    _put(draft, replace(find(draft, body.address), active=False))


def remove(draft: Draft, body: ListenerStop, find: Find) -> None:
    """Frontends at its address stay and wait for its return. Raises Refusal."""
    draft.listeners.take(listener_key(find(draft, body.address)))


def _either(draft: Draft, address: Address) -> Listener:
    listener = draft.listeners.get(key_of(address))
    if listener is None:
        raise no_listener(draft, address)
    return listener


def _http(draft: Draft, address: Address) -> HttpListener:
    listener = _either(draft, address)
    if not isinstance(listener, HttpListener) or isinstance(listener, HttpsListener):
        raise _other_kind(listener, "http")
    return listener


def _https(draft: Draft, address: Address) -> HttpsListener:
    listener = _either(draft, address)
    if not isinstance(listener, HttpsListener):
        raise _other_kind(listener, "https")
    return listener


def _tcp(draft: Draft, address: Address) -> TcpListener:
    listener = _either(draft, address)
    if not isinstance(listener, TcpListener):
        raise _other_kind(listener, "tcp")
    return listener


def _other_kind(listener: Listener, wanted: str) -> Refusal:
    found = f"found {show(listener.address)}, {an(protocol_of(listener))} listener"
    return Refusal("address", f"{found}; want {an(wanted)} listener")


def _refuse_taken(draft: Draft, address: Address) -> None:
    present = draft.listeners.get(key_of(address))
    if present is not None:
        there = f"{an(protocol_of(present))} listener at {address}"
        raise Refusal("address", f"exists: {there}; update it, or remove it first")


def _put(draft: Draft, listener: Listener) -> None:
    """Raises Refusal for two things that exclude each other, as in the file."""
    if listener.expect_proxy and listener.public_address is not None:
        what = f"expect-proxy is true and public-address {show(listener.public_address)}; want only one of both"
        raise Refusal("expect-proxy", what)
    draft.listeners.put(listener_key(listener), listener)


def _patched_http(listener: H, body: HttpListenerBody) -> H:
    timeouts, limits = _renamed(body, _TIMEOUTS), _renamed(body, _LIMITS)
    listener = replace(listener, **given(body, _HTTP))
    listener = replace(
        listener, timeouts=replace(listener.timeouts, **timeouts), limits=replace(listener.limits, **limits)
    )
    head, line = listener.limits.head, listener.limits.request_line
    if line > head:
        key = "max-head-size" if body.max_request_line is None else "max-request-line"
        raise Refusal(key, f"max-request-line would be {line} and max-head-size {head}; want at most that")
    return listener


def _patched_tcp(listener: TcpListener, body: HttpListenerBody | TcpListenerBody) -> TcpListener:
    timeouts = replace(listener.timeouts, **_renamed(body, _TCP_TIMEOUTS))
    return replace(listener, **given(body, _COMMON), timeouts=timeouts)


def _renamed(body: Any, names: Mapping[str, str]) -> dict[str, Any]:
    return {names[name]: value for name, value in given(body, tuple(names)).items()}


def _near_address(draft: Draft, address: Address) -> str:
    return near_miss(str(address), (str(key[1]) for key in draft.listeners))


CHANGES: Mapping[str, Callable[[Draft, Any], None]] = {
    "listener http add": add_http,
    "listener http update": update_http,
    "listener https add": add_https,
    "listener https update": update_https,
    "listener tcp add": add_tcp,
    "listener tcp update": update_tcp,
    "listener update": update,
    **{
        f"listener {kind}{action}": partial(change, find=find)
        for kind, find in (("http ", _http), ("https ", _https), ("tcp ", _tcp), ("", _either))
        for action, change in (("activate", activate), ("deactivate", deactivate), ("remove", remove))
    },
}
