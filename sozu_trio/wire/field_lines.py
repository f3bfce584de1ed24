"""Field lines: most fields of a head are passed on unread, so they stay the lines they came as.

Of a browser's thirteen fields three are read. To make pairs of all and join them again takes three times as long.
"""

from collections.abc import Callable, Container
from typing import Final

from sozu_trio.config.plain_names import PLAIN
from sozu_trio.wire.heads import Field, Line

line_of: Final[Callable[[Field], Line]] = b": ".join
"""The line of a field that has no line end in it."""


def field_of(line: Line) -> Field:
    """Name and value."""
    name, _, value = line.partition(b": ")
    return name, value


def name_of(line: Line) -> bytes:
    """In lower case."""
    return line.partition(b":")[0].lower()


def lines_without(lines: list[Line], name: bytes) -> list[Line]:
    """`lines` less those of fields called `name` (lower case)."""
    return [line for line in lines if name_of(line) != name]


def lines_unlike(lines: list[Line], names: Container[bytes]) -> list[Line]:
    """`lines` less those of fields called by any of `names`, as PLAIN spells them."""
    return [line for line in lines if line.partition(b":")[0].translate(PLAIN) not in names]
