"""What the value of a key is in JSON: text, a number, true or false, an array, an object.

The tables of verbs that are not built yet leave that open; there the same key of another table says it.
"""

import types
from collections.abc import Iterator, Mapping
from dataclasses import Field, fields
from typing import Annotated, Any, Union, get_args, get_origin

from sozu_trio.config import schema
from sozu_trio.config.verbs import BODIES

_SOZUS: Mapping[str, Any] = {
    "reset_alpn": bool,
    "tls_cipher_list": tuple,
    "hsts_max_age": int,
    "hsts_include_subdomains": bool,
    "hsts_preload": bool,
    "hsts_disabled": bool,
    "hsts_force_replace_backend": bool,
}
"""Options that only Sōzu's ctl has, so no table says their kind."""


def kind_of(field: "Field[Any]") -> type:
    """bool, int, float, tuple, Mapping, or a type whose values are text."""
    return plain(_KINDS.get(field.name, str) if field.type is Any else field.type)


def plain(kind: Any) -> type:
    """The type that an annotation stands for, without None, ranges and what is inside."""
    if get_origin(kind) in (Union, types.UnionType):
        return plain(next(each for each in get_args(kind) if each is not types.NoneType))
    if get_origin(kind) is Annotated:
        return plain(get_args(kind)[0])
    found: type = get_origin(kind) or kind
    return found


def _known() -> Iterator[tuple[str, Any]]:
    for table in (schema.ListenerTable, schema.FrontendTable, schema.HealthCheckTable, *BODIES.values()):
        yield from ((each.name, each.type) for each in fields(table) if each.type is not Any)


_KINDS: Mapping[str, Any] = {**_SOZUS, **dict(_known())}
