"""Names that nobody has a certificate for any more once one was replaced."""

from collections.abc import Mapping
from typing import Any

import pytest

from sozu_trio.routing.changes import apply_all
from sozu_trio.routing.state import EMPTY
from sozu_trio.routing.uncovered import uncovered
from tests.routing.asked import carried_out, read
from tests.routing.certificates import digits

AT = {"address": "127.0.0.1:3"}
ELSEWHERE = {"address": "127.0.0.1:4"}
ADDED: list[tuple[str, dict[str, Any]]] = [
    ("listener https add", AT),
    ("listener https add", ELSEWHERE),
    ("certificate add", {**ELSEWHERE, "certificate": "b,d", "key": "KEY"}),
    ("certificate add", {**AT, "certificate": "a,b,*.c", "key": "KEY"}),
    ("certificate add", {**AT, "certificate": "other", "key": "KEY"}),
]
BEFORE = carried_out(EMPTY, ADDED)


def replacing(new: str, old: str = "a,b,*.c", at: Mapping[str, str] = AT) -> tuple[str, dict[str, Any]]:
    return "certificate replace", {**at, "new-certificate": new, "new-key": "KEY", "fingerprint": digits(old)}


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ([replacing("a,b,*.c+2")], []),
        ([replacing("*,*.c")], []),
        ([replacing("x")], ["changes[0].new-certificate: no longer covered: *.c.example, a.example, b.example"]),
        ([replacing("a,x.c")], ["changes[0].new-certificate: no longer covered: *.c.example, b.example"]),
        ([replacing("a,*.c")], ["changes[0].new-certificate: no longer covered: b.example"]),
        ([replacing("a,*.c"), replacing("a", "b,d", ELSEWHERE)],
         ["changes[0].new-certificate: no longer covered: b.example",
          "changes[1].new-certificate: no longer covered: b.example, d.example"]),
        ([replacing("a,*.c"), ("certificate add", {**AT, "certificate": "b", "key": "KEY"})], []),
        ([replacing("a,*.c"), replacing("b,other", "other")], []),
        ([replacing("b,*.c", "a,b,*.c"), replacing("*.c", "b,*.c")],
         ["changes[0].new-certificate: no longer covered: a.example"]),
        ([("certificate remove", {**AT, "fingerprint": digits("other")})], []),
    ],
)  # fmt: skip
def test_what_is_told(asked: list[tuple[str, dict[str, Any]]], told: list[str]) -> None:
    changes = read(*asked)
    assert list(map(str, uncovered(BEFORE, apply_all(BEFORE, changes), changes))) == told
