"""Requests and replies ↔ lines of JSON. Sans-IO, strict: an unknown member is a problem that names it.

    request  {"v": 1, "id": 7, "verb": "backend add", "body": {…}}
    reply    {"v": 1, "id": 7, "status": "processing" | "ok" | "failure", "message": "…", "content": …}

What verbs there are and what their bodies hold is not known here. docs/control-protocol.md is the same for those who
write clients in other languages.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from itertools import islice
from typing import Annotated, Any, Literal, TypeVar, get_args

import cattrs
from cattrs.errors import AttributeValidationNote, ForbiddenExtraKeysError

from sozu_trio.config.report import place
from sozu_trio.config.values import Unfit, read_text, show
from sozu_trio.control.strict_json import NotJson, read_json, write_json
from sozu_trio.errors import Problem, SozuTrioError

VERSION = 1
LONGEST_NAME = 200
"""Characters of an id or a verb: they come back in replies and stand in logs."""
IN_MESSAGE = 20
"""Problems that the message of a failure names; programs find more in its content. Of a line that is no request, which
may hold a hundred thousand, no more are looked for.
"""

Id = int | str
Status = Literal["processing", "ok", "failure"]
Document = TypeVar("Document")


class NoRequest(SozuTrioError):
    """A line that is no request. `id` is the one it names, None where none could be read."""

    def __init__(self, problems: tuple[Problem, ...], id: Id | None = None) -> None:  # noqa: A002 - the member's name
        self.id = id
        self.problems = problems
        super().__init__("\n".join(map(str, problems)))


class NoReply(SozuTrioError):
    """A line that is no reply."""


def _read_version(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value != VERSION:
        raise Unfit(value, f"{VERSION}, the only version of the protocol that is spoken here")
    return VERSION


def _read_id(value: object) -> Id:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and len(value) <= LONGEST_NAME:
        return value
    raise Unfit(value, f"an integer or a string of at most {LONGEST_NAME} characters")


def _read_no_id(value: object) -> Id | None:
    return None if value is None else _read_id(value)


def _read_verb(value: object) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= LONGEST_NAME:
        raise Unfit(value, 'a verb, such as "status" or "backend add"')
    return value


def _read_body(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Unfit(value, "an object")
    return value


def _read_status(value: object) -> Status:
    for status in get_args(Status):
        if value == status:
            return status  # type: ignore[no-any-return]
    raise Unfit(value, "'processing', 'ok' or 'failure'")


def _read_content(value: object) -> Any:
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a client asks for."""

    id: Annotated[Id, _read_id]
    verb: Annotated[str, _read_verb]
    body: Annotated[Mapping[str, Any], _read_body] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What is said to the request `id`; None: to no request that could be told."""

    id: Annotated[Id | None, _read_no_id]
    status: Annotated[Status, _read_status]
    message: Annotated[str, read_text]
    content: Annotated[Any, _read_content] = None


def read_request(line: bytes) -> Request:
    """Raises NoRequest with every problem of the line, and the id where one can be told."""
    if not line.strip():
        raise NoRequest((Problem("", "an empty line; want a request, one JSON object per line"),))
    try:
        document = read_json(line)
    except NotJson as error:
        raise NoRequest((Problem("", str(error)),)) from error
    if not isinstance(document, dict):
        raise NoRequest((Problem("", str(Unfit(document, "a request, which is a JSON object"))),))
    try:
        return _structure(document, Request)
    except _Faulty as error:
        raise NoRequest(error.problems, _id_of(document)) from None


def read_reply(line: bytes) -> Reply:
    """Raises NoReply with every problem of the line."""
    try:
        return _structure(_read_body(read_json(line)), Reply)
    except (ValueError, _Faulty) as error:
        raise NoReply(f"not a reply: {error}") from error


def write_request(request: Request) -> bytes:
    """The request's line. Raises TypeError or ValueError for a body that JSON has no form for."""
    document = {"v": VERSION, "id": request.id, "verb": request.verb, "body": request.body}
    return write_json(document) + b"\n"


def write_reply(reply: Reply) -> bytes:
    """The reply's line. Raises TypeError or ValueError for content that JSON has no form for."""
    document = {"id": reply.id, "status": reply.status, "message": reply.message, "content": reply.content}
    return write_json({"v": VERSION, **document}) + b"\n"


def refusal_of(error: NoRequest) -> Reply:
    """The failure that says what is wrong with a line."""
    return Reply(id=error.id, status="failure", message=str(error), content=problems_content(error.problems))


def problems_content(problems: tuple[Problem, ...]) -> dict[str, Any]:
    """Problems as the content of a failure has them."""
    return {"problems": [{"where": problem.where, "what": problem.what} for problem in problems]}


class _Faulty(Exception):
    def __init__(self, problems: tuple[Problem, ...]) -> None:
        self.problems = problems
        super().__init__("; ".join(map(str, problems)))


def _id_of(document: Mapping[str, Any]) -> Id | None:
    try:
        return _read_no_id(document.get("id"))
    except Unfit:
        return None


def _structure(document: Mapping[str, Any], kind: type[Document]) -> Document:
    """The version is judged first: in another one the other members may mean anything."""
    try:
        _read_version(document["v"])
    except KeyError:
        raise _Faulty((Problem("v", f"missing; want {VERSION}, the version of the protocol"),)) from None
    except Unfit as error:
        raise _Faulty((Problem("v", str(error)),)) from None
    try:
        return _CONVERTER.structure({name: value for name, value in document.items() if name != "v"}, kind)
    except cattrs.BaseValidationError as error:
        problems = tuple(islice(_problems(error), IN_MESSAGE + 1))
    if len(problems) > IN_MESSAGE:
        problems = (*problems[:IN_MESSAGE], Problem("", "and more"))
    raise _Faulty(problems)


def _problems(group: cattrs.BaseValidationError) -> Iterator[Problem]:
    for error in group.exceptions:
        if isinstance(error, ForbiddenExtraKeysError):
            yield from (_unknown(name, error.cl) for name in sorted(error.extra_fields))
            continue
        where = next(note.name for note in error.__notes__ if isinstance(note, AttributeValidationNote))
        yield Problem(where, "missing" if isinstance(error, KeyError) else str(error))


def _unknown(name: str, kind: type) -> Problem:
    known = ["v", *(each.name for each in fields(kind))]
    nearest = get_close_matches(name[:LONGEST_NAME], known, n=1)
    hint = f"did you mean {nearest[0]!r}?" if nearest else f"want {', '.join(known[:-1])} and {known[-1]}"
    where = place("", name) if len(name) <= LONGEST_NAME else show(name)
    return Problem(where, f"unknown member; {hint}")


def _make_converter() -> cattrs.Converter:
    converter = cattrs.Converter(detailed_validation=True, forbid_extra_keys=True)
    converter.register_structure_hook_factory(
        lambda kind: hasattr(kind, "__metadata__"), lambda kind: lambda value, _: kind.__metadata__[0](value)
    )
    return converter


_CONVERTER = _make_converter()
