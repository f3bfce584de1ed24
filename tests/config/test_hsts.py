"""Strict-Transport-Security: what a table or options say, and the field that comes of it."""

from dataclasses import dataclass

import pytest

from sozu_trio.config.hsts import Hsts, patched_hsts, read_hsts
from sozu_trio.config.report import Report
from sozu_trio.config.schema import HstsTable


@dataclass
class Options:
    hsts_max_age: int | None = None
    hsts_include_subdomains: bool | None = None
    hsts_preload: bool | None = None
    hsts_disabled: bool | None = None
    hsts_force_replace_backend: bool | None = None


@pytest.mark.parametrize(
    ("hsts", "value"),
    [
        (Hsts(), "max-age=31536000"),
        (Hsts(max_age=0), "max-age=0"),
        (Hsts(include_subdomains=True, preload=True), "max-age=31536000; includeSubDomains; preload"),
        (Hsts(enabled=False, preload=True), ""),
    ],
)
def test_the_field(hsts: Hsts, value: str) -> None:
    assert hsts.value == value


def test_a_table() -> None:
    report = Report()
    assert read_hsts(None, "x", report) is None
    assert read_hsts(HstsTable(enabled=True), "x", report) == Hsts()
    table = HstsTable(enabled=False, max_age=5, include_subdomains=True, preload=True, force_replace_backend=True)
    assert read_hsts(table, "x", report) == Hsts(
        enabled=False, max_age=5, include_subdomains=True, preload=True, force_replace_backend=True
    )
    assert report.problems == []
    assert read_hsts(HstsTable(max_age=5), "listeners[0].hsts", report) is None
    assert list(map(str, report.problems)) == ["listeners[0].hsts.enabled: missing; want true or false"]


def test_options_replace_all_that_was_said() -> None:
    before = Hsts(max_age=5, preload=True)
    assert patched_hsts(before, Options()) is before
    assert patched_hsts(None, Options()) is None
    assert patched_hsts(before, Options(hsts_include_subdomains=True)) == Hsts(include_subdomains=True)
    assert patched_hsts(before, Options(hsts_disabled=True)) == Hsts(enabled=False)
    assert patched_hsts(None, Options(hsts_disabled=False, hsts_max_age=9)) == Hsts(max_age=9)
