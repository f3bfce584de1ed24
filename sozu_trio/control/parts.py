"""Cutting a difference of States into pieces of bounded size, for whoever must not hold a loop or a line for long."""

from collections.abc import Iterable, Iterator
from dataclasses import fields
from typing import Any

from sozu_trio.routing.delta import Delta

_TUPLES = [each.name for each in fields(Delta) if each.name not in ("settings", "declared")]
"""First what goes, then what is put: the order in which a Delta is carried out."""


def cut(delta: Delta, size: int, certificates: int | None = None) -> Iterator[Delta]:
    """Deltas of at most `size` records each that do together, one after the other, what `delta` does.

    `certificates`: how many one of them puts at most, as they are larger than other records; None = `size`.
    """
    most = {"certificates": size if certificates is None else certificates}
    if len(delta) + len(delta.declared or ()) <= size and len(delta.certificates) <= most["certificates"]:
        yield delta
        return
    for name in _TUPLES:
        records, step = getattr(delta, name), most.get(name, size)
        for start in range(0, len(records), step):
            yield _one(name, records[start : start + step])
    if delta.settings is not None:
        yield Delta(settings=delta.settings)
    if delta.declared is not None:
        for part in cut(delta.declared, size, certificates):
            yield Delta(declared=part)


def joined(parts: Iterable[Delta]) -> Delta:
    """The one Delta that `parts` were cut from."""
    members: dict[str, list[Any]] = {name: [] for name in _TUPLES}
    settings = None
    declared = []
    for part in parts:
        for name, records in members.items():
            records += getattr(part, name)
        settings = part.settings or settings
        if part.declared is not None:
            declared.append(part.declared)
    whole = {name: tuple(records) for name, records in members.items()}
    return Delta(settings=settings, declared=joined(declared) if declared else None, **whole)


def _one(name: str, records: tuple[Any, ...]) -> Delta:
    members: dict[str, Any] = {name: records}
    return Delta(**members)
