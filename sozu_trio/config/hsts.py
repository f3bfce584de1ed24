"""Strict-Transport-Security (RFC 6797): what browsers are told of hosts that are only to be visited over TLS."""

from dataclasses import dataclass
from typing import Any, Final

from sozu_trio.config.report import Report, place

DEFAULT_MAX_AGE: Final = 31_536_000
"""A year, in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hsts:
    """What a listener or a frontend says of it; a frontend that says nothing does as its listener."""

    enabled: bool = True
    max_age: int = DEFAULT_MAX_AGE
    """Seconds for which browsers remember it; 0 makes them forget."""
    include_subdomains: bool = False
    preload: bool = False
    force_replace_backend: bool = False
    """Whether ours goes out instead of one that the backend sends; else that one stays."""

    @property
    def value(self) -> str:
        """Of the field; empty for none."""
        if not self.enabled:
            return ""
        subdomains = "; includeSubDomains" if self.include_subdomains else ""
        return f"max-age={self.max_age}{subdomains}{'; preload' if self.preload else ''}"


def read_hsts(table: Any, where: str, report: Report) -> Hsts | None:
    """The record of the HstsTable at `where`; None where there is no table, or `enabled` is not said."""
    if table is None:
        return None
    if table.enabled is None:
        report.missing(place(where, "enabled"), "true or false")
        return None
    return Hsts(
        enabled=table.enabled,
        max_age=table.max_age,
        include_subdomains=table.include_subdomains,
        preload=table.preload,
        force_replace_backend=table.force_replace_backend,
    )


_OPTIONS: Final = ("max_age", "include_subdomains", "preload", "force_replace_backend")


def patched_hsts(hsts: Hsts | None, body: Any) -> Hsts | None:
    """`hsts` as the `hsts_…` options of a body ask for it: as a whole, where any of them is given."""
    given = {name: value for name in _OPTIONS if (value := getattr(body, f"hsts_{name}")) is not None}
    if body.hsts_disabled is None and not given:
        return hsts
    return Hsts(enabled=not body.hsts_disabled, **given)
