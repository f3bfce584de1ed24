"""TOML values → the tables of `schema.py`, by cattrs, with every fault turned into a problem at its place.

cattrs finds all faults of a document in one go and notes on each exception where it was. The keys at fault are then
taken out and the rest is structured again: so the later checks see all that could be read, and no fault hides another.
"""

import copy
import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from enum import StrEnum
from typing import Annotated, Any, Literal, get_args, get_origin

import cattrs
from cattrs.cols import homogenous_tuple_structure_factory, mapping_structure_factory
from cattrs.errors import AttributeValidationNote, ForbiddenExtraKeysError, IterableValidationNote
from cattrs.gen import make_dict_structure_fn

from sozu_trio.config import schema
from sozu_trio.config.clusters import LoadMetric, PathType, Position
from sozu_trio.config.report import Report, an, place
from sozu_trio.config.values import READERS, Unfit

Steps = tuple[str | int, ...]
Hook = Callable[[Any, Any], Any]

_TABLES = [kind for kind in vars(schema).values() if isinstance(kind, type) and kind.__name__.endswith("Table")]


def structure(document: dict[str, Any], report: Report) -> schema.FileTable:
    """The file's tables, without whatever `report` now calls wrong. `document` is left as it is."""
    try:
        return _CONVERTER.structure(document, schema.FileTable)
    except cattrs.BaseValidationError as error:
        faults = list(_faults(error, ()))
    readable = copy.deepcopy(document)
    for steps, what in faults:
        report.wrong(_where(steps), what)
        _take_out(readable, steps)
    return _CONVERTER.structure(readable, schema.FileTable)


def keys_of(table: type) -> list[str]:
    return [each.name for each in dataclasses.fields(table)]


def _where(steps: Steps) -> str:
    where = ""
    for step in steps:
        where = place(where, step)
    return where


def _faults(error: BaseException, steps: Steps) -> Iterator[tuple[Steps, str]]:
    """Every fault under an exception of cattrs, with the steps that lead to it."""
    if isinstance(error, cattrs.BaseValidationError):
        for each in error.exceptions:
            yield from _faults(each, (*steps, *_noted(each)))
    elif isinstance(error, ForbiddenExtraKeysError):
        for key in sorted(error.extra_fields):
            yield (*steps, key), _unknown(key, error.cl)
    else:
        yield steps, str(error)


def _noted(error: BaseException) -> Steps:
    """The one step that cattrs noted on this exception: a key or an index."""
    for note in getattr(error, "__notes__", ()):
        if isinstance(note, AttributeValidationNote):
            return (note.name,)
        if isinstance(note, IterableValidationNote):
            return (note.index,)
    return ()


def _unknown(key: str, table: type) -> str:
    """A key written below the wrong header is TOML's classic slip, so other tables are looked through, too."""
    if nearest := get_close_matches(key, keys_of(table), n=1):
        return f"unknown key; did you mean {nearest[0]!r}?"
    if table is not schema.FileTable and key in keys_of(schema.FileTable):
        return f"unknown key; {key!r} is a global key and belongs before the first [header]"
    homes = [_name(other) for other in _TABLES if key in keys_of(other)]
    return f"unknown key; {key!r} is a key of {' and '.join(homes)}" if homes else "unknown key"


def _name(table: type) -> str:
    words = re.findall("[A-Z][a-z]+", table.__name__.removesuffix("Table"))
    return an(" ".join(words).lower())


def _take_out(document: Any, steps: Steps) -> None:
    """Remove the innermost key on the way to a fault. Items of arrays stay, so that indices keep their meaning."""
    innermost = max(index for index, step in enumerate(steps) if isinstance(step, str))
    for step in steps[:innermost]:
        if isinstance(step, str) and step not in document:
            return  # something around it is already gone
        document = document[step]
    document.pop(steps[innermost], None)


def _read_choice(wanted: tuple[Any, ...], value: object) -> Any:
    """One of a few strings, as a Literal or an enum lists them."""
    if isinstance(value, str) and value in wanted:
        return wanted[wanted.index(value)]
    names = [repr(str(choice)) for choice in wanted]
    raise Unfit(value, f"{', '.join(names[:-1])} or {names[-1]}")


def _literal_hook(kind: Any) -> Hook:
    return lambda value, _: _read_choice(get_args(kind), value)


def _enum_hook(kind: type[StrEnum]) -> Hook:
    return lambda value, _: _read_choice(tuple(kind), value)


def _annotated_hook(kind: Any) -> Hook:
    return _reader_hook(kind.__metadata__[0])


def _made_from(origin: Any) -> Callable[[Any], bool]:
    """A predicate for cattrs: is this kind `origin[…]`?"""
    return lambda kind: get_origin(kind) is origin


def _array_hook(kind: Any, converter: cattrs.Converter) -> Hook:
    return _checked(list, "an array", homogenous_tuple_structure_factory(kind, converter))


def _mapping_hook(kind: Any, converter: cattrs.Converter) -> Hook:
    return _checked(dict, "a table", mapping_structure_factory(kind, converter, structure_to=dict))


def _table_hook(kind: Any, converter: cattrs.Converter) -> Hook:
    return _checked(dict, "a table", make_dict_structure_fn(kind, converter))


def _checked(shape: type, want: str, structure_it: Hook) -> Hook:
    """cattrs takes whatever can be iterated or subscripted; a string where an array belongs deserves the plain fact."""

    def hook(value: Any, kind: Any) -> Any:
        if not isinstance(value, shape):
            raise Unfit(value, want)
        return structure_it(value, kind)

    return hook


def _reader_hook(read: Callable[[object], object]) -> Hook:
    return lambda value, _: read(value)


def _make_converter() -> cattrs.Converter:
    converter = cattrs.Converter(detailed_validation=True, forbid_extra_keys=True)
    converter.register_structure_hook_factory(_made_from(Literal), _literal_hook)
    converter.register_structure_hook_factory(_made_from(Annotated), _annotated_hook)
    converter.register_structure_hook_factory(_made_from(tuple), _array_hook)
    converter.register_structure_hook_factory(_made_from(Mapping), _mapping_hook)
    converter.register_structure_hook_factory(lambda kind: kind in _TABLES, _table_hook)
    for kind, read in READERS.items():
        converter.register_structure_hook(kind, _reader_hook(read))
    for choices in (LoadMetric, PathType, Position):
        converter.register_structure_hook(choices, _enum_hook(choices))
    return converter


_CONVERTER = _make_converter()
