"""What a worker may answer: one that answers anything else makes no sense, and is killed for it.

The forms are those that `looks.py` and the handler (`proxy/doors.py`) give; whoever reads an answer relies on them.
Nothing is made of it, for it is JSON already and goes on as that. 10,000 sessions take 15 ms.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from sozu_trio.control.codec import is_number
from sozu_trio.control.messages import Ask, Kill, Look
from sozu_trio.errors import ChannelError

Fits = Callable[[Any], bool]


def check_answer(ask: Ask, content: Any) -> None:
    """Whether `content` answers `ask`. Raises ChannelError where it does not."""
    match ask:
        case Look(what=what):
            fits, asked = _ANSWERS.get(what), f"a look at {what}"
        case Kill():
            fits, asked = _is_truth, "Kill"
        case _:
            fits, asked = _is_nothing, type(ask).__name__
    if fits is None or not fits(content):
        raise ChannelError(f"no answer to {asked}: {type(content).__name__}")


def _is_nothing(value: Any) -> bool:
    return value is None


def _is_truth(value: Any) -> bool:
    return type(value) is bool


def _is_text(value: Any) -> bool:
    return type(value) is str


def _is_count(value: Any) -> bool:
    return type(value) is int and is_number(value)


def _is_empty_list(value: Any) -> bool:
    return type(value) is list and not value


def _or_nothing(fits: Fits) -> Fits:
    return lambda value: value is None or fits(value)


def _list_of(fits: Fits) -> Fits:
    return lambda value: type(value) is list and all(map(fits, value))


def _by_name(fits: Fits) -> Fits:
    return lambda value: type(value) is dict and all(map(fits, value.values()))


def _members(required: Mapping[str, Fits], optional: Mapping[str, Fits] | None = None) -> Fits:
    known = {**required, **(optional or {})}

    def fits(value: Any) -> bool:
        return (
            type(value) is dict
            and required.keys() <= value.keys() <= known.keys()
            and all(known[name](member) for name, member in value.items())
        )

    return fits


def _node(children: Fits) -> Fits:
    """Of a tree."""
    return _members({"name": _is_text, "kind": _is_text, "age": is_number, "children": children}, {"count": _is_count})


_LEAVES: Final = _list_of(_node(_is_empty_list))
_LEFT: Final = _members(dict.fromkeys(("sessions", "websocket", "tcp", "cut"), _is_count))
_FRONTEND: Final = _members(
    dict.fromkeys(("address", "hostname", "path_type", "path", "position"), _is_text)
    | dict.fromkeys(("method", "cluster"), _or_nothing(_is_text))
)
_ANSWERS: Final[Mapping[str, Fits]] = {
    "counters": _members(
        {
            "counters": _by_name(_is_count),
            "listeners": _by_name(_is_count),
            "max_connections": _is_count,
            "sheds": _list_of(_is_text),
        }
    ),
    # A worker, its listeners and services, who accepts and the connections, the sessions.
    "tree": _node(_list_of(_node(_list_of(_node(_LEAVES))))),
    "sessions": _list_of(_members({"id": _is_text, "listener": _is_text, "client": _is_text, "age": is_number})),
    "drains": _by_name(_LEFT),
    "removed": _LEFT,
    "backends": _list_of(
        _members(
            dict.fromkeys(("cluster", "backend_id", "address"), _is_text)
            | dict.fromkeys(("connections", "requests", "idle", "failures"), _is_count)
            | {"retry_in": is_number}
        )
    ),
    "route": _members(
        {
            "generation": _is_count,
            "outcome": _is_text,
            "frontend": _or_nothing(_FRONTEND),
            "cluster": _or_nothing(_is_text),
        }
    ),
}
