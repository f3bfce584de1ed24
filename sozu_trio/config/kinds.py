"""How cattrs makes tables of TOML or JSON: a strict reader for each kind of value, be it a table itself."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import cattrs
from cattrs.errors import IterableValidationError, IterableValidationNote
from cattrs.gen import make_dict_structure_fn, override

from sozu_trio.config.clusters import LoadMetric, PathType, Position
from sozu_trio.config.values import READERS, Unfit, one_of

Hook = Callable[[Any, Any], Any]
HookFactory = Callable[[Any, cattrs.Converter], Hook]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What is read of values whose sender may mean harm; None = all of it."""

    faults: int | None = None
    """Of one array or mapping; where there are so many, the rest of it is not looked at."""
    items: int | None = None
    """Of an array whose items are of a kind."""


EVERYTHING = Bounds()


def _read_choice(wanted: tuple[Any, ...], value: object) -> Any:
    """One of a few strings, as a Literal or an enum lists them."""
    if isinstance(value, str) and value in wanted:
        return wanted[wanted.index(value)]
    raise Unfit(value, one_of(wanted))


def _literal_hook(kind: Any) -> Hook:
    return lambda value, _: _read_choice(get_args(kind), value)


def _enum_hook(kind: type[StrEnum]) -> Hook:
    return lambda value, _: _read_choice(tuple(kind), value)


def _annotated_hook(kind: Any) -> Hook:
    return _reader_hook(kind.__metadata__[0])


def _optional_hook(kind: Any, converter: cattrs.Converter) -> Hook:
    return converter.get_structure_hook(next(each for each in get_args(kind) if each is not NoneType))


def _is_optional(kind: Any) -> bool:
    return get_origin(kind) in (Union, UnionType) and NoneType in get_args(kind)


def _made_from(origin: Any) -> Callable[[Any], bool]:
    """A predicate for cattrs: is this kind `origin[…]`?"""
    return lambda kind: get_origin(kind) is origin


def _array_hook_factory(bounds: Bounds) -> HookFactory:
    """Items of any kind are not looked at here, so there may be any number of them."""

    def array_hook(kind: Any, converter: cattrs.Converter) -> Hook:
        item = get_args(kind)[0]
        if item is Any:
            return _checked(list, "an array", lambda value, _: tuple(value))
        read = converter.get_structure_hook(item)

        def hook(value: list[Any], kind: Any) -> tuple[Any, ...]:
            if bounds.items is not None and len(value) > bounds.items:
                raise Unfit(value, f"one of at most {bounds.items:,} elements, not of {len(value):,}")
            return tuple(_read_each(enumerate(value), read, item, kind, bounds).values())

        return _checked(list, "an array", hook)

    return array_hook


def _mapping_hook_factory(bounds: Bounds) -> HookFactory:
    """Keys are strings, in TOML and JSON alike."""

    def mapping_hook(kind: Any, converter: cattrs.Converter) -> Hook:
        item = get_args(kind)[1]
        read = converter.get_structure_hook(item)
        return _checked(dict, "a table", lambda value, kind: _read_each(value.items(), read, item, kind, bounds))

    return mapping_hook


def _read_each(pairs: Iterable[tuple[Any, Any]], read: Hook, item: Any, kind: Any, bounds: Bounds) -> dict[Any, Any]:
    """The values of `pairs`, each read as `item`, by index or key. Raises IterableValidationError with every fault, as
    cattrs would, and makes no exception for those beyond the bound.
    """
    values, faults = {}, list[Exception]()
    for step, value in pairs:
        try:
            values[step] = read(value, item)
        except (ValueError, cattrs.BaseValidationError) as error:
            error.add_note(IterableValidationNote("", step, item))
            faults.append(error)
            if len(faults) == bounds.faults:
                break
    if faults:
        raise IterableValidationError("", faults, kind)
    return values


def _table_hook_factory(spell: Callable[[str], str]) -> HookFactory:
    def table_hook(kind: Any, converter: cattrs.Converter) -> Hook:
        names: dict[str, Any] = {each.name: override(rename=spell(each.name)) for each in dataclasses.fields(kind)}
        return _checked(dict, "a table", make_dict_structure_fn(kind, converter, **names))

    return table_hook


def _checked(shape: type, want: str, structure_it: Hook) -> Hook:
    """cattrs takes whatever can be iterated or subscripted; a string where an array belongs deserves the plain fact."""

    def hook(value: Any, kind: Any) -> Any:
        if not isinstance(value, shape):
            raise Unfit(value, want)
        return structure_it(value, kind)

    return hook


def _reader_hook(read: Callable[[object], object]) -> Hook:
    return lambda value, _: read(value)


def make_converter(spell: Callable[[str], str], bounds: Bounds = EVERYTHING) -> cattrs.Converter:
    """A converter to the dataclasses of tables; `spell` makes the key of a document from the name of a field.

    Every fault is in its exception (`cattrs.BaseValidationError`), unknown keys are faults, null is no value.
    """
    converter = cattrs.Converter(detailed_validation=True, forbid_extra_keys=True)
    converter.register_structure_hook_factory(_made_from(Literal), _literal_hook)
    converter.register_structure_hook_factory(_made_from(Annotated), _annotated_hook)
    converter.register_structure_hook_factory(_made_from(tuple), _array_hook_factory(bounds))
    converter.register_structure_hook_factory(_made_from(Mapping), _mapping_hook_factory(bounds))
    converter.register_structure_hook_factory(_is_optional, _optional_hook)
    converter.register_structure_hook_factory(dataclasses.is_dataclass, _table_hook_factory(spell))
    for kind, read in READERS.items():
        converter.register_structure_hook(kind, _reader_hook(read))
    for choices in (LoadMetric, PathType, Position):
        converter.register_structure_hook(choices, _enum_hook(choices))
    return converter
