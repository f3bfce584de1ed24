"""What a listener's keys ask of TLS, in words OpenSSL understands, and a clear answer to what cannot be honoured.

Python's `ssl` reaches less of OpenSSL than rustls offers Sōzu: it takes the suites of TLS 1.3 as they are, and before
3.15 either one group or OpenSSL's own list.
"""

import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Final

from sozu_trio.config import cipher_names, group_names
from sozu_trio.config.report import Report, place
from sozu_trio.config.values import ClientAuth, TlsVersion

MOST_TICKETS: Final = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsSettings:
    """How a listener speaks TLS, apart from its certificates."""

    versions: tuple[TlsVersion, ...] = ("TLS_V12", "TLS_V13")
    """At least one."""
    ciphers: tuple[str, ...] = cipher_names.DEFAULT_TLS12
    """For TLS 1.2, by OpenSSL's names; the first that the client has too is taken."""
    groups: tuple[str, ...] = ()
    """By OpenSSL's names; empty: its own list."""
    alpn: tuple[str, ...] = ("http/1.1",)
    """Protocols, the preferred one first; empty: the extension is not answered."""
    tickets: int = 4
    """Sent after a handshake of TLS 1.3, so that the client may resume later on; 0 to 255."""
    client_auth: ClientAuth = "none"
    """Whether clients are asked for a certificate, and whether one that shows none is refused."""
    client_ca: str = field(default="", repr=False)
    """PEM: the authorities that sign those. Empty where none is asked for, or main has yet to read the file."""


def read_settings(
    where: str,
    report: Report,
    *,
    versions: Sequence[TlsVersion],
    ciphers: Sequence[str] | None,
    groups: Sequence[str] | None,
    alpn: Sequence[str],
    tickets: int,
    spell: Callable[[str], str] = str,
) -> TlsSettings:
    """The settings of the listener at `where`, without what it says of certificates of clients. What is wrong, or means
    less than it says, goes to the report; with problems in it, what comes back is not to be used. `spell` makes of a
    key of the file what it is called at `where`.
    """
    if not versions:
        report.wrong(place(where, spell("tls_versions")), "no version; want TLS_V12, TLS_V13 or both")
    if tickets > MOST_TICKETS:
        report.wrong(place(where, spell("send_tls13_tickets")), f"found {tickets}; want at most {MOST_TICKETS}")
    return TlsSettings(
        versions=tuple(dict.fromkeys(versions)),
        ciphers=_ciphers(place(where, spell("cipher_list")), report, ciphers, versions),
        groups=() if groups is None else _groups(place(where, spell("groups_list")), report, groups),
        alpn=_alpn(place(where, spell("alpn_protocols")), report, alpn),
        tickets=tickets,
    )


def _alpn(where: str, report: Report, given: Sequence[str]) -> tuple[str, ...]:
    """What is offered: HTTP/2 is Sōzu's default and not built yet, so to name it is no mistake."""
    if "h2" in given:
        report.info(where, "h2 is not offered yet: HTTP/2 is not built")
    offered = tuple(name for name in dict.fromkeys(given) if name != "h2")
    if given and not offered:
        report.wrong(where, "found h2 alone; want http/1.1 as well, or nothing; not built yet: HTTP/2")
    return offered


def _ciphers(
    where: str, report: Report, given: Sequence[str] | None, versions: Sequence[TlsVersion]
) -> tuple[str, ...]:
    if given is None:
        return cipher_names.DEFAULT_TLS12
    names = [name for index, each in enumerate(given) if (name := _cipher(place(where, index), report, each))]
    if len(names) == len(given):
        _check_tls13(where, report, [name for name in names if name in cipher_names.TLS13], versions)
    chosen = [name for name in dict.fromkeys(names) if name not in cipher_names.TLS13]
    there = set(_there(chosen))
    for name in chosen:
        if name not in there:
            report.warn(where, f"{name} is not in {ssl.OPENSSL_VERSION}, or is too weak for it; it is skipped")
    if "TLS_V12" in versions and not there and len(names) == len(given):
        report.wrong(where, 'no suite for TLS 1.2 is left; want one, or tls_versions = ["TLS_V13"]')
    return tuple(name for name in chosen if name in there)


def _cipher(where: str, report: Report, name: str) -> str | None:
    known = cipher_names.OPENSSL_NAMES.get(name)
    if known is None:
        report.wrong(where, f"unknown cipher suite {name!r}; {_instead(name, cipher_names.OPENSSL_NAMES)}")
    return known


def _check_tls13(where: str, report: Report, named: Sequence[str], versions: Sequence[TlsVersion]) -> None:
    if "TLS_V13" not in versions:
        if named:
            report.warn(where, "its suites for TLS 1.3 mean nothing, because tls_versions is without TLS_V13")
    elif not named:
        report.warn(where, f"TLS 1.3 uses {', '.join(cipher_names.TLS13)} all the same; tls_versions can do without it")
    elif missing := [name for name in cipher_names.TLS13 if name not in named]:
        report.wrong(
            where,
            "Python's ssl cannot choose among the suites of TLS 1.3;"
            f" want all three or none of them, here {', '.join(missing)} as well",
        )


def _there(names: Sequence[str]) -> list[str]:
    """Those for TLS 1.2 that this OpenSSL has, at its security level."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.set_ciphers(":".join(names))
    except ssl.SSLError:  # None of them.
        return []
    return [each["name"] for each in context.get_ciphers() if each["name"] in names]


def _groups(where: str, report: Report, given: Sequence[str]) -> tuple[str, ...]:
    known: list[str] = []
    for index, name in enumerate(given):
        group = group_names.OPENSSL_NAMES.get(name)
        if group is not None and _has_group(group):
            known.append(group)
        else:
            report.warn(place(where, index), f"{ssl.OPENSSL_VERSION} knows no group {name!r}; it is skipped")
    groups = tuple(dict.fromkeys(known))
    if not groups:
        report.wrong(where, f"no group is left; {_instead('', group_names.OPENSSL_NAMES)}")
    elif not can_choose_groups() and (len(groups) > 1 or not _can_choose(groups[0])):
        return _not_chosen(where, report, groups)
    return groups


def _not_chosen(where: str, report: Report, groups: tuple[str, ...]) -> tuple[str, ...]:
    if set(groups) >= group_names.DEFAULT:
        report.info(where, "Python's ssl cannot choose several groups: OpenSSL's own list is used, which has these")
    else:
        *wanted, last = sorted(group_names.DEFAULT)
        failing = "several groups; want a single one" if len(groups) > 1 else f"{groups[0]} alone; want another one"
        own = f"a list with {', '.join(wanted)} and {last}, which stands for OpenSSL's own list"
        report.wrong(where, f"Python's ssl cannot choose {failing}, or {own}")
    return ()


def can_choose_groups() -> bool:
    """Whether this Python can set a list of groups (3.15)."""
    return hasattr(ssl.SSLContext, "set_groups")


def _has_group(group: str) -> bool:
    """Whether OpenSSL has it."""
    return group in group_names.MONTGOMERY or _can_choose(group)


def _can_choose(group: str) -> bool:
    """Whether this Python can have it used, and no other one."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).set_ecdh_curve(group)
    except (ValueError, ssl.SSLError):
        return False
    return True


def _instead(name: str, known: Sequence[str] | dict[str, str]) -> str:
    nearest = get_close_matches(name, known, n=1) if len(name) < 80 else []
    return f"did you mean {nearest[0]!r}?" if nearest else f"known are {', '.join(sorted(known))}"
