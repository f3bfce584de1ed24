"""TOML or JSON values → tables, by cattrs, with every fault turned into a problem at its place.

cattrs finds all faults of a document in one go and notes on each exception where it was. The keys at fault are then
taken out and the rest is structured again: so the later checks see all that could be read, and no fault hides another.

Classes named …Table are those of files, and their keys are spelled as their fields. All others are bodies of requests,
with the spelling of ctl's options: hyphens, and `from` for `from_`. Null is no value: a key not meant is left out.
"""

import dataclasses
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from difflib import get_close_matches
from itertools import islice
from typing import Any, TypeVar, cast, overload

import cattrs
from cattrs.errors import AttributeValidationNote, ForbiddenExtraKeysError, IterableValidationNote

from sozu_trio.config import schema
from sozu_trio.config.kinds import Bounds, make_converter
from sozu_trio.config.limits import ARRAY_ITEMS
from sozu_trio.config.report import Report, an, place
from sozu_trio.config.secrets import REDACTED, SECRETS
from sozu_trio.config.values import Unfit

MOST = 100
"""Problems told of one value, and of one table's unknown keys."""
LONGEST = 80
"""Characters shown of a key."""

Steps = tuple[str | int, ...]
_Tree = dict[str | int, "_Tree | None"]
"""Steps that lead to keys; None = the key itself."""
Spell = Callable[[str], str]
T = TypeVar("T")

_FILE_TABLES = [kind for kind in vars(schema).values() if isinstance(kind, type) and kind.__name__.endswith("Table")]


@overload
def structure(document: dict[str, Any], report: Report) -> schema.FileTable: ...


@overload
def structure(document: dict[str, Any], report: Report, table: type[T], where: str = "") -> T: ...


def structure(document: dict[str, Any], report: Report, table: type[Any] = schema.FileTable, where: str = "") -> Any:
    """The table that `document` is, without whatever `report` now calls wrong. `document` is left as it is.

    `table` can do without any of its keys; `where` is the place of the document.
    """
    style = _style_of(table)
    try:
        return style.converter.structure(document, table)
    except cattrs.BaseValidationError as error:
        faults = list(_faults(error, (), style))
    for steps, what in faults:
        report.wrong(_where(where, steps), what)
    return style.converter.structure(_without([steps for steps, _ in faults], document), table)


def structure_fields(document: Mapping[str, Any], report: Report, table: type, where: str = "") -> dict[str, Any]:
    """The fields of `table` that `document` gives and that can be read, by name; `report` gets to know of all others.

    Fields without a default must be given. Who sends it may mean harm: so an array has a bound, except in tables of
    files, and no more than `MOST` faults of one value are looked for, nor unknown keys told.
    """
    style = _style_of(table)
    read = {}
    for each in dataclasses.fields(table):
        key, kind = style.spell(each.name), cast(Any, each.type)
        if key in document:
            try:
                read[each.name] = style.bounded.structure(document[key], kind)
            except (cattrs.BaseValidationError, ValueError) as error:
                _tell(list(islice(_faults(error, (key,), style), MOST + 1)), report, where, key)
        elif each.default is dataclasses.MISSING and each.default_factory is dataclasses.MISSING:
            report.missing(place(where, key), _wanted(kind, style))
    unknown = sorted(document.keys() - set(keys_of(table)))
    for key in unknown[:MOST]:
        report.wrong(_where(where, (key,)), _unknown(key, table, look=report.found < MOST))
    if len(unknown) > MOST:
        report.wrong(where, f"{len(unknown) - MOST:,} more unknown keys")
    return read


def structure_whole(document: Mapping[str, Any], report: Report, table: type[T], where: str = "") -> T | None:
    """`document` as a table that may need some of its keys; None when anything is wrong, which `report` then knows."""
    before = report.found
    fields = structure_fields(document, report, table, where)
    return table(**fields) if report.found == before else None


def keys_of(table: type) -> list[str]:
    """The keys of a table as they are spelled where it is used."""
    spell = _style_of(table).spell
    return [spell(each.name) for each in dataclasses.fields(table)]


def hyphened(name: str) -> str:
    """`backend_id` → `backend-id`, and `from_`, which Python would not have without its mark, → `from`."""
    return name.rstrip("_").replace("_", "-")


def _tell(faults: list[tuple[Steps, str]], report: Report, where: str, key: str) -> None:
    """Of the value of `key`; one more than `MOST` stands for all that were not looked for."""
    for steps, what in faults[:MOST]:
        report.wrong(_where(where, steps), what)
    if len(faults) > MOST:
        report.wrong(place(where, key), f"found more than {MOST} faults; the rest was not looked at")


def _where(where: str, steps: Steps) -> str:
    for step in steps:
        where = place(where, step if isinstance(step, int) or len(step) <= LONGEST else f"{step[: LONGEST - 1]}…")
    return where


def _faults(error: BaseException, steps: Steps, style: "_Style") -> Iterator[tuple[Steps, str]]:
    """Every fault under an exception of cattrs, with the steps that lead to it; no secret is shown."""
    if isinstance(error, cattrs.BaseValidationError):
        for each in error.exceptions:
            yield from _faults(each, (*steps, *_noted(each, style)), style)
    elif isinstance(error, ForbiddenExtraKeysError):
        for key in sorted(error.extra_fields):
            yield (*steps, key), _unknown(key, error.cl)
    else:
        yield steps, _without_secret(steps, str(error))


def _without_secret(steps: Steps, what: str) -> str:
    if not any(isinstance(step, str) and step.replace("-", "_") in SECRETS for step in steps):
        return what
    return f"found {REDACTED}; want {what.rpartition('; want ')[2]}"


def _noted(error: BaseException, style: "_Style") -> Steps:
    """The one step that cattrs noted on this exception: a key or an index."""
    for note in getattr(error, "__notes__", ()):
        if isinstance(note, AttributeValidationNote):
            return (style.spell(note.name),)
        if isinstance(note, IterableValidationNote):
            return (note.index,)
    return ()


def _wanted(kind: Any, style: "_Style") -> str:
    """What a reader says of a value that nothing takes."""
    try:
        style.converter.structure(None, kind)
    except Unfit as unfit:
        return unfit.want
    return "a value"


def _unknown(key: str, table: type, *, look: bool = True) -> str:
    """A key written below the wrong header is TOML's classic slip, so other tables are looked through, too. To `look`
    for a key that is meant takes up to 1 ms.
    """
    known = keys_of(table)
    if look and len(key) <= LONGEST and (nearest := get_close_matches(key, known, n=1)):
        return f"unknown key; did you mean {nearest[0]!r}?"
    if table not in _FILE_TABLES:
        return f"unknown key; known are {', '.join(known)}" if known else "unknown key; none is known"
    if table is not schema.FileTable and key in keys_of(schema.FileTable):
        return f"unknown key; {key!r} is a global key and belongs before the first [header]"
    homes = [_name(other) for other in _FILE_TABLES if key in keys_of(other)]
    return f"unknown key; {key!r} is a key of {' and '.join(homes)}" if homes else "unknown key"


def _name(table: type) -> str:
    words = re.findall("[A-Z][a-z]+", table.__name__.removesuffix("Table"))
    return an(" ".join(words).lower())


def _without(faults: Iterable[Steps], document: Any) -> Any:
    """A copy that lacks, for each fault, the innermost key on the way to it.

    Items of arrays stay, so that indices keep their meaning.
    """
    tree: _Tree = {}
    for steps in faults:
        innermost = max(index for index, step in enumerate(steps) if isinstance(step, str))
        _plant(tree, steps[: innermost + 1])
    return _pruned(document, tree)


def _plant(tree: _Tree, steps: Steps) -> None:
    for step in steps[:-1]:
        branch = tree.setdefault(step, {})
        if branch is None:
            return  # something around it is to go already
        tree = branch
    tree[steps[-1]] = None


def _pruned(value: Any, tree: _Tree) -> Any:
    copied = value.copy()
    for step, branch in tree.items():
        if branch is None:
            copied.pop(step, None)
        else:
            copied[step] = _pruned(copied[step], branch)
    return copied


@dataclasses.dataclass(frozen=True, slots=True)
class _Style:
    """How keys are spelled, and the converters that read them so."""

    spell: Spell
    converter: cattrs.Converter
    """Finds all faults, for files."""
    bounded: cattrs.Converter
    """For what may be sent by anybody; what a file could say is all read, since a saved state repeats it."""


_AS_IT_IS = _Style(str, make_converter(str), make_converter(str, Bounds(faults=MOST + 1)))
_HYPHENED = _Style(
    hyphened, make_converter(hyphened), make_converter(hyphened, Bounds(faults=MOST + 1, items=ARRAY_ITEMS))
)


def _style_of(table: type) -> _Style:
    return _AS_IT_IS if table.__name__.endswith("Table") else _HYPHENED
