"""docs/configuration.md is the reference of all keys: it may neither miss one nor say another status than the code."""

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from sozu_trio.config import schema, unbuilt
from sozu_trio.config.unbuilt import Refused, Rule

DOCS = Path(__file__).parents[2] / "docs"
ROW = re.compile(r"\| `(?P<key>\w+)` \|.*\| (?P<status>\w+) \|")


def section(heading: str) -> dict[str, str]:
    """The keys of one section of the reference, with their status."""
    text = (DOCS / "configuration.md").read_text(encoding="utf-8")
    body = re.split(r"^##+ (.*)$", text, flags=re.MULTILINE)
    content = body[body.index(heading) + 1]
    return {row["key"]: row["status"] for line in content.splitlines() if (row := ROW.fullmatch(line))}


def names(*tables: type) -> set[str]:
    return {each.name for table in tables for each in dataclasses.fields(table)}


@pytest.mark.parametrize(
    ("heading", "tables"),
    [
        ("Global keys", (schema.FileTable,)),
        ("`[metrics]`", (schema.MetricsTable,)),
        ("`[[listeners]]`", (schema.ListenerTable,)),
        ("`[clusters.<id>]`", (schema.ClusterTable,)),
        ("Frontends", (schema.FrontendTable,)),
        ("Backends", (schema.BackendTable,)),
        ("`health_check`", (schema.HealthCheckTable,)),
        ("`udp`", (schema.UdpTable, schema.UdpHealthTable)),
        ("`headers`", (schema.HeaderTable,)),
        ("`hsts`", (schema.HstsTable,)),
    ],
)
def test_every_key_is_there_and_no_other(heading: str, tables: tuple[type, ...]) -> None:
    assert section(heading).keys() == names(*tables)


@pytest.mark.parametrize(
    ("heading", "rules"),
    [
        ("Global keys", unbuilt.GLOBAL),
        ("`[[listeners]]`", unbuilt.LISTENER),
        ("`[clusters.<id>]`", unbuilt.CLUSTER),
        ("Frontends", unbuilt.FRONTEND),
        ("Backends", unbuilt.BACKEND),
    ],
)
def test_the_status_is_what_the_code_does(heading: str, rules: Mapping[str, Rule]) -> None:
    idle = unbuilt.IDLE_ON_LISTENER["https"] if rules is unbuilt.LISTENER else ()
    for key, status in section(heading).items():
        rule = rules.get(key, "" if key in idle else None)
        if isinstance(rule, str):
            assert (key, status) == (key, "warning")
        elif isinstance(rule, Refused):
            assert (key, status) == (key, "built" if rule.only else "refused")
        elif key not in {"hsts", "sticky_name"}:  # judged elsewhere
            assert (key, status) == (key, "built")
