"""Certificates of clients: what keys of a listener say of them, and what of that does not fit together.

The authorities that sign them stand in a file. Main reads it (`main/client_authorities.py`), the records have its text.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sozu_trio.config.addresses import Address
from sozu_trio.config.plain_names import plain_name
from sozu_trio.config.report import Report, an, place
from sozu_trio.config.schema import ListenerTable
from sozu_trio.config.values import ClientAuth, show

CLIENT_FIELDS: Final = ("client_subject_header", "client_san_header", "client_fingerprint_header")
"""Keys with the names of fields in which the backend is told who the client is."""
_RESERVED: Final = frozenset(
    {
        *("connection", "content-length", "expect", "forwarded", "host", "http2-settings", "keep-alive"),
        *("max-forwards", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "via"),
        *("x-forwarded-for", "x-forwarded-port", "x-forwarded-proto", "x-real-ip", "x-request-id"),
    }
)
"""Fields that the proxy writes itself, or that frame a message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorityFile:
    """Where the configuration says that the authorities of a listener's clients are; the path is absolute."""

    where: str
    """The place in the file of the key that names it."""
    address: Address
    """The listener's."""
    path: Path


def check_client_auth(
    where: str, report: Report, *, client_auth: ClientAuth, has_authorities: bool, spell: Callable[[str], str] = str
) -> None:
    """Each of the two keys needs the other. `spell` makes of a key of the file what it is called at `where`."""
    if client_auth == "none" and has_authorities:
        what = f"found authorities, which do nothing alone; want {spell('client_auth')} 'optional' or 'required'"
        report.wrong(place(where, spell("client_ca")), what)
    if client_auth != "none" and not has_authorities:
        want = f"a PEM file of the authorities that sign certificates of clients, as {spell('client_auth')} is"
        report.missing(place(where, spell("client_ca")), f"{want} {show(client_auth)}")


def check_client_fields(
    where: str, report: Report, names: Mapping[str, str], spell: Callable[[str], str] = str
) -> None:
    """`names` by key: those of CLIENT_FIELDS, and of other fields that the proxy adds. Empty ones mean nothing."""
    firsts: dict[str, str] = {}
    for key, name in names.items():
        plain = plain_name(name)
        first = firsts.setdefault(plain, key) if name else key
        if first != key:
            what = f"found {show(name)}, which is {spell(first)} as well; want another name"
            report.wrong(place(where, spell(key)), what)
        elif key in CLIENT_FIELDS and plain in _RESERVED:
            what = f"found {show(name)}, which has a meaning of its own; want another name, such as X-Client-Subject"
            report.wrong(place(where, spell(key)), what)


def field_names(record: Any) -> dict[str, str]:
    """What `check_client_fields` wants, of a listener or the table of one."""
    return {key: getattr(record, key) for key in ("sozu_id_header", *CLIENT_FIELDS)}


def refuse_client_auth(table: ListenerTable, where: str, report: Report) -> None:
    """On a listener that speaks no TLS: whoever writes this relies on it."""
    for key, nothing in (("client_auth", "none"), ("client_ca", None)):
        value = getattr(table, key)
        if value != nothing:
            what = f"found {show(value)}; want this key left out, or protocol = 'https': {an(str(table.protocol))}"
            report.wrong(place(where, key), f"{what} listener is shown no certificates")
