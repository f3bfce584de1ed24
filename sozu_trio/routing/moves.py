"""Rules that only change places: where the order of rules is their meaning, that is a change of its own.

A delta may put many rules again to bring one of them to its place. A person reads of as few as explain the new order.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from sozu_trio.config.addresses import Address
from sozu_trio.config.clusters import Position
from sozu_trio.routing.delta import is_ordered
from sozu_trio.routing.state import FrontendKey, State


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """`rule` came right after `before` and comes right after `after` now; None = it is the first."""

    rule: FrontendKey
    before: FrontendKey | None
    after: FrontendKey | None


Place = tuple[Address, Position]


def moves(before: State, after: State) -> Iterator[Move]:
    """Those that make the old order of the rules that stay the new one, for each address and position."""
    old = _by_place(before)
    for place, keys in _by_place(after).items():
        known = {key: number for number, key in enumerate(old.get(place, ()))}
        stay = [known[key] for key in keys if key in known]
        kept = _longest_rising(stay)
        precedes = _predecessors(old.get(place, ()))
        for previous, key in pairwise((None, *keys)):
            if key in known and known[key] not in kept:
                assert key is not None
                yield Move(rule=key, before=precedes[key], after=previous)


def _by_place(state: State) -> dict[Place, list[FrontendKey]]:
    places: dict[Place, list[FrontendKey]] = {}
    for key, frontend in state.http_frontends.items():
        if is_ordered(frontend):
            places.setdefault((frontend.address, frontend.position), []).append(key)
    return places


def _predecessors(keys: Iterable[FrontendKey]) -> dict[FrontendKey, FrontendKey | None]:
    return {key: previous for previous, key in pairwise((None, *keys)) if key is not None}


def _longest_rising(numbers: Sequence[int]) -> set[int]:
    """The most of `numbers`, all different, that can stand as they do and rise; O(n log n)."""
    ends: list[int] = []
    """The least number with which so many rising ones can end."""
    previous: dict[int, int | None] = {}
    for number in numbers:
        at = bisect_left(ends, number)
        previous[number] = ends[at - 1] if at else None
        ends[at : at + 1] = [number]
    rising = set()
    last = ends[-1] if ends else None
    while last is not None:
        rising.add(last)
        last = previous[last]
    return rising
