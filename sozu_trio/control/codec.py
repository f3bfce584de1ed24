"""Records ↔ JSON, strictly: an unknown or missing member is an error that names it.

Addresses and enumerations travel as their text, bytes as base 64, a listener with its `protocol`, keys as arrays; what
a Delta has nothing of is left out. The text of Lines follows as it is: JSON would cost more than all else on their way
(0.5 µs a line against 0.1). So does what tunnels hold (`held.py`).

What workers say is read more strictly still, for main acts on it: a number is a number, no text of one, and none that
could grow beyond what others can hold; what answers hold is looked at where they are waited for (`nursery/answers.py`).
"""

import json
from base64 import b64decode, b64encode
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import cattrs
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn
from cattrs.preconf.json import make_converter

from sozu_trio.config.addresses import Address, parse_address
from sozu_trio.config.listeners import HttpListener, HttpsListener, Listener, TcpListener
from sozu_trio.control.held import put_back, take_out
from sozu_trio.control.messages import REPORTS, Lines, Reply
from sozu_trio.control.moves import Offered
from sozu_trio.control.sizes import check_size
from sozu_trio.errors import ChannelError
from sozu_trio.routing.delta import Delta

Record = TypeVar("Record")
_LINES = b"Lines "
_OFFERED = b"Offered "
_PROTOCOLS: dict[str, type[Listener]] = {"http": HttpListener, "https": HttpsListener, "tcp": TcpListener}


BEYOND: Final = 1 << 63
"""No number that a worker says is as large."""


def is_number(value: object) -> bool:
    """Whether it is one that a worker may say: an integer or a float from 0 on, less than BEYOND."""
    return type(value) in (int, float) and 0 <= cast(float, value) < BEYOND


def _make_converter() -> cattrs.Converter:
    """Made as far as can be here: what cattrs generates at first use holds the loop, for backends 16 ms."""
    made = _make_plain_converter()
    _register_listeners(made)
    made.register_unstructure_hook(Delta, make_dict_unstructure_fn(Delta, made, _cattrs_omit_if_default=True))
    made.register_structure_hook(Delta, make_dict_structure_fn(Delta, made))
    return made


def _make_report_converter() -> cattrs.Converter:
    """For what workers say."""
    made = _make_plain_converter()
    for kind in (int, float, str, bool):
        made.register_structure_hook(kind, _exactly)
    return made


def _exactly(value: Any, kind: type) -> Any:
    if kind in (int, float):
        if (kind is int and type(value) is not int) or not is_number(value):
            raise ValueError(f"want a number from 0 on below 2^63, not {str(value)[:80]!r}")
    elif type(value) is not kind:
        raise ValueError(f"want {kind.__name__}, not {type(value).__name__}")
    return value


def _make_plain_converter() -> cattrs.Converter:
    made = make_converter(forbid_extra_keys=True, detailed_validation=False)
    made.register_unstructure_hook(Address, str)
    made.register_structure_hook(Address, lambda text, _: parse_address(text))
    made.register_unstructure_hook(Path, str)
    made.register_structure_hook(Path, lambda text, _: Path(text))
    # Of base 85, which would be shorter, the library's is fifty times slower.
    made.register_unstructure_hook(bytes, lambda data: b64encode(data).decode("ascii"))
    made.register_structure_hook(bytes, lambda text, _: b64decode(text, validate=True))
    # The content is JSON already, and may be long.
    made.register_unstructure_hook(
        Reply, lambda reply: {"serial": reply.serial, "failure": reply.failure, "content": reply.content}
    )
    return made


def _register_listeners(made: cattrs.Converter) -> None:
    def tagged(protocol: str, kind: type[Listener]) -> None:
        members = make_dict_unstructure_fn(kind, made)
        made.register_unstructure_hook(kind, lambda listener: {"protocol": protocol, **members(listener)})

    for protocol, kind in _PROTOCOLS.items():
        tagged(protocol, kind)
    read = {protocol: make_dict_structure_fn(kind, made) for protocol, kind in _PROTOCOLS.items()}

    def structure(document: Any, _: Any) -> Listener:
        members = dict(document)
        protocol = members.pop("protocol")
        return read[protocol](members, _PROTOCOLS[protocol])

    made.register_structure_hook(Listener, structure)


converter = _make_converter()
_report_converter = _make_report_converter()


def encode(record: object) -> bytes:
    """One JSON document, tagged with the record's class: `{"Commit": {"serial": 3}}`; or `Lines <dropped>⏎<lines>`; or
    `Offered <bytes of the document> <bytes that are held…>⏎<document><what is held>`.
    """
    if isinstance(record, Lines):
        return b"%b%d\n" % (_LINES, record.dropped) + record.lines.encode("utf-8", "backslashreplace")
    if isinstance(record, Offered):
        offered, held = take_out(record)
        document = _dump(offered)
        return b"%b%b\n" % (_OFFERED, b" ".join(b"%d" % len(part) for part in (document, *held))) + b"".join(
            (document, *held)
        )
    return _dump(record)


def _dump(record: object) -> bytes:
    return json.dumps({type(record).__name__: converter.unstructure(record)}, separators=(",", ":")).encode()


def decode(document: bytes, kinds: dict[str, type[Record]]) -> Record:
    """The record in `document`, of one of `kinds` by class name. Raises ChannelError, whatever the bytes are."""
    check_size(document)
    try:
        if document.startswith(_OFFERED):
            return _decode_offered(document, kinds)
        name, members = _parse_lines(document) if document.startswith(_LINES) else _parse(document)
        return (_report_converter if name in REPORTS else converter).structure(members, kinds[name])
    except Exception as error:
        raise ChannelError(f"not a message: {document[:80]!r} ({error!r:.400})") from error


def _decode_offered(document: bytes, kinds: dict[str, type[Record]]) -> Record:
    sizes, _, rest = document.removeprefix(_OFFERED).partition(b"\n")
    size, *lengths = map(int, sizes.split())
    name, members = _parse(rest[:size])
    record = converter.structure(members, kinds[name])
    if not isinstance(record, Offered):
        raise ValueError(f"{name} holds nothing")
    return cast(Record, put_back(record, lengths, rest[size:]))


def warm(kinds: Iterable[type]) -> None:
    """Have cattrs generate now what it would for the first record of each of `kinds`, and keep it: what it generates by
    itself it may forget as soon as it generates something else.
    """
    for kind in kinds:
        converter.register_structure_hook(kind, converter.get_structure_hook(kind))
        converter.register_unstructure_hook(kind, converter.get_unstructure_hook(kind))


def _parse(document: bytes) -> tuple[str, Any]:
    ((name, members),) = json.loads(document).items()
    return name, members


def _parse_lines(document: bytes) -> tuple[str, Any]:
    dropped, _, lines = document.removeprefix(_LINES).partition(b"\n")
    return Lines.__name__, {"lines": lines.decode(), "dropped": int(dropped)}
