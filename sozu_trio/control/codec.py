"""Records ↔ JSON, strictly: an unknown or missing member is an error that names it.

Addresses and enumerations travel as their text, a State as the lists it is declared from. The text of Lines follows as
it is: JSON would cost more than all else on their way (0.5 µs a line against 0.1).
"""

import json
from pathlib import Path
from typing import Any, TypeVar

import cattrs
from cattrs.preconf.json import make_converter

from sozu_trio.config.addresses import Address, parse_address
from sozu_trio.config.clusters import Backend, Cluster, HttpFrontend, TcpFrontend
from sozu_trio.config.listeners import HttpListener, Listener, TcpListener
from sozu_trio.control.messages import Lines
from sozu_trio.errors import ChannelError
from sozu_trio.routing.state import State, declare

Record = TypeVar("Record")
_LINES = b"Lines "


def _unstructure_listener(listener: Listener) -> dict[str, Any]:
    protocol = "http" if isinstance(listener, HttpListener) else "tcp"
    return {"protocol": protocol, **converter.unstructure(listener)}


def _structure_listener(document: Any, _: Any) -> Listener:
    members = dict(document)
    kind = {"http": HttpListener, "tcp": TcpListener}[members.pop("protocol")]
    listener: Listener = converter.structure(members, kind)
    return listener


def _unstructure_state(state: State) -> dict[str, Any]:
    return {
        "listeners": [_unstructure_listener(listener) for listener in state.listeners.values()],
        "clusters": converter.unstructure(list(state.clusters.values())),
        "http_frontends": converter.unstructure(list(state.http_frontends.values())),
        "tcp_frontends": converter.unstructure(list(state.tcp_frontends.values())),
        "backends": converter.unstructure([b for members in state.backends.values() for b in members.values()]),
    }


def _structure_state(document: Any, _: Any) -> State:
    if unknown := document.keys() - {"listeners", "clusters", "http_frontends", "tcp_frontends", "backends"}:
        raise ValueError(f"a State has no {sorted(unknown)}")
    return declare(
        listeners=[_structure_listener(listener, Listener) for listener in document["listeners"]],
        clusters=converter.structure(document["clusters"], list[Cluster]),
        http_frontends=converter.structure(document["http_frontends"], list[HttpFrontend]),
        tcp_frontends=converter.structure(document["tcp_frontends"], list[TcpFrontend]),
        backends=converter.structure(document["backends"], list[Backend]),
    )


def _make_converter() -> cattrs.Converter:
    made = make_converter(forbid_extra_keys=True, detailed_validation=False)
    made.register_unstructure_hook(Address, str)
    made.register_structure_hook(Address, lambda text, _: parse_address(text))
    made.register_unstructure_hook(Path, str)
    made.register_structure_hook(Path, lambda text, _: Path(text))
    made.register_unstructure_hook(State, _unstructure_state)
    made.register_structure_hook(State, _structure_state)
    return made


converter = _make_converter()


def encode(record: object) -> bytes:
    """One JSON document, tagged with the record's class: `{"Commit": {"serial": 3}}`; or `Lines <dropped>⏎<lines>`."""
    if isinstance(record, Lines):
        return b"%b%d\n" % (_LINES, record.dropped) + record.lines.encode("utf-8", "backslashreplace")
    return json.dumps({type(record).__name__: converter.unstructure(record)}, separators=(",", ":")).encode()


def decode(document: bytes, kinds: dict[str, type[Record]]) -> Record:
    """The record in `document`, of one of `kinds` by class name. Raises ChannelError, whatever the bytes are."""
    try:
        name, members = _parse_lines(document) if document.startswith(_LINES) else _parse(document)
        return converter.structure(members, kinds[name])
    except Exception as error:
        raise ChannelError(f"not a message: {document[:80]!r} ({error!r})") from error


def _parse(document: bytes) -> tuple[str, Any]:
    ((name, members),) = json.loads(document).items()
    return name, members


def _parse_lines(document: bytes) -> tuple[str, Any]:
    dropped, _, lines = document.removeprefix(_LINES).partition(b"\n")
    return Lines.__name__, {"lines": lines.decode(), "dropped": int(dropped)}
