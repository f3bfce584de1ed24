"""What a single option may be that the tables of the file do not have, or that ctl spells more loosely than they."""

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Annotated

from sozu_trio.config import schema
from sozu_trio.config.clusters import LoadBalancing, LoadMetric, PathType, Position
from sozu_trio.config.patterns import check_path, parse_host
from sozu_trio.config.values import Unfit, one_of, read_text

_TAGS = "tags, such as 'owner=web,stage=test' or an object of strings"


def name(want: str) -> Callable[[object], str]:
    """A reader of strings that are not empty."""

    def read(value: object) -> str:
        if not isinstance(value, str) or not value:
            raise Unfit(value, want)
        return value

    return read


def loose_choice(choices: Iterable[str], unbuilt: Iterable[str] = ()) -> Callable[[object], str]:
    """A reader of one of `choices` in any case, with hyphens for underscores as ctl's options have them; those that are
    not built are known too, to be refused with the reason, and never proposed.
    """
    known = {_plain(choice): choice for choice in choices}
    want = one_of(known.values())
    known |= {_plain(choice): choice for choice in unbuilt}

    def read(value: object) -> str:
        if not isinstance(value, str) or _plain(value) not in known:
            raise Unfit(value, want)
        return known[_plain(value)]

    return read


def _plain(word: str) -> str:
    return word.lower().replace("-", "_")


def read_tags(value: object) -> Mapping[str, str]:
    """`k=v,k=v`, as Sōzu's ctl takes them, or an object; a name given twice is a slip."""
    pairs = value.items() if isinstance(value, Mapping) else _split(value)
    tags: dict[str, str] = {}
    for key, text in pairs:
        if not isinstance(key, str) or not isinstance(text, str) or not key or key in tags:
            raise Unfit(value, _TAGS)
        tags[key] = text
    return MappingProxyType(tags)


def _split(value: object) -> Iterable[tuple[str, str]]:
    if not isinstance(value, str):
        raise Unfit(value, _TAGS)
    for part in filter(None, value.split(",")):
        key, equals, text = part.partition("=")
        if not equals:
            raise Unfit(value, _TAGS)
        yield key, text


def read_hostname(value: object) -> str:
    """A host pattern as it is written. Raises ValueError as `parse_host` does."""
    text = read_text(value)
    parse_host(text)
    return text


def path_of(path_type: PathType) -> Callable[[object], str]:
    """A reader of paths that rules of this type can match."""

    def read(value: object) -> str:
        text = read_text(value)
        check_path(path_type, text)
        return text

    return read


ClusterId = Annotated[str, name("the id of a cluster, such as api")]
BackendId = Annotated[str, name("the id of a backend, such as api-1")]
Policy = Annotated[str, loose_choice(LoadBalancing, schema.UNBUILT_BALANCING)]
Metric = Annotated[LoadMetric, loose_choice(LoadMetric)]
Place = Annotated[Position, loose_choice(Position)]
Hostname = Annotated[str, read_hostname]
PlainPath = Annotated[str, path_of(PathType.PREFIX)]
PathRegex = Annotated[str, path_of(PathType.REGEX)]
Tags = Annotated[Mapping[str, str], read_tags]
Pem = Annotated[str, name("the text of a PEM file")]
"""Any may hold a key: in one file for all there is one beside the certificate. So none is in a repr."""
