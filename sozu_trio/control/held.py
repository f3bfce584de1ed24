"""What tunnels hold travels as it is behind the JSON of an Offered: as base 64 in it, a MiB would hold the loop for
25 ms.
"""

import dataclasses
from collections.abc import Iterator

from sozu_trio.control.moves import Offered, Parcel, Way


def take_out(offered: Offered) -> tuple[Offered, list[bytes]]:
    """`offered` without what its tunnels hold, and that: of each, to its backend and to its client."""
    ways = [way for parcel in offered.parcels for way in _ways(parcel)]
    empty = iter([b""] * len(ways))
    return _filled(offered, empty), [way.held for way in ways]


def put_back(offered: Offered, lengths: list[int], held: bytes) -> Offered:
    """What `take_out` was given: `held` is all that it took out, and `lengths` where it is to be cut. Raises ValueError
    where these do not match.
    """
    ways = sum(len(_ways(parcel)) for parcel in offered.parcels)
    if len(lengths) != ways or sum(lengths) != len(held) or min(lengths, default=0) < 0:
        raise ValueError(f"{len(held)} bytes for {ways} ways that hold {lengths}")
    return _filled(offered, _cut(lengths, held))


def _cut(lengths: list[int], held: bytes) -> Iterator[bytes]:
    start = 0
    for length in lengths:
        yield held[start : start + length]
        start += length


def _ways(parcel: Parcel) -> tuple[Way, ...]:
    return () if parcel.tunnelled is None else (parcel.tunnelled.to_backend, parcel.tunnelled.to_client)


def _filled(offered: Offered, held: Iterator[bytes]) -> Offered:
    return Offered(parcels=tuple(_fill(parcel, held) for parcel in offered.parcels))


def _fill(parcel: Parcel, held: Iterator[bytes]) -> Parcel:
    if parcel.tunnelled is None:
        return parcel
    to_backend, to_client = (dataclasses.replace(way, held=next(held)) for way in _ways(parcel))
    return dataclasses.replace(
        parcel, tunnelled=dataclasses.replace(parcel.tunnelled, to_backend=to_backend, to_client=to_client)
    )
