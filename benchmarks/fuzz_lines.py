"""What `scripts/fuzz control` sends: random bytes, random JSON, and requests of real verbs with something wrong with
them. The same seed gives the same lines.

Odd values come from a fixed stock, so that the requests that happen to be valid make a bounded number of things: what
the proxy is told to keep must not look like a leak.
"""

import copy
import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

FUZZED = "fuzz-1"
ADDRESS = "127.0.0.1:9"
"""Where nothing listens (the discard service), for what valid requests add."""

VERBS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("hello", {}),
    ("status", {}),
    ("cluster add", {"id": FUZZED, "load-balancing-policy": "least_loaded"}),
    ("cluster remove", {"id": FUZZED}),
    ("cluster list", {"id": FUZZED}),
    ("cluster list", {"domain": "fuzz.example"}),
    ("backend add", {"id": FUZZED, "backend-id": "b", "address": ADDRESS, "weight": 50, "backup": True}),
    ("backend remove", {"id": FUZZED, "backend-id": "b", "address": ADDRESS}),
    ("backend list", {"id": FUZZED}),
    (
        "frontend http add",
        {
            "address": ADDRESS,
            "hostname": "fuzz.example",
            "path-prefix": "/v1",
            "method": "GET",
            "tags": "a=1,b=2",
            "cluster": FUZZED,
        },
    ),
    ("frontend http add", {"address": ADDRESS, "hostname": "fuzz.example", "path-regex": "/[a-z]+", "deny": True}),
    ("frontend http remove", {"address": ADDRESS, "hostname": "fuzz.example", "path-prefix": "/v1", "cluster": FUZZED}),
    ("frontend tcp add", {"id": FUZZED, "address": ADDRESS}),
    ("frontend tcp remove", {"id": FUZZED, "address": ADDRESS}),
    ("frontend list", {"http": True, "domain": "fuzz.example"}),
    ("listener http add", {"address": ADDRESS, "front-timeout": 5}),
    ("listener http update", {"address": ADDRESS, "back-timeout": 5}),
    ("listener http remove", {"address": ADDRESS}),
    ("listener list", {"tcp": True}),
    ("certificate list", {}),
    ("state stats", {}),
    ("state dump", {}),
    ("apply", {"changes": [{"verb": "cluster add", "id": FUZZED}, {"verb": "cluster remove", "id": FUZZED}]}),
    ("plan", {}),
    ("history", {}),
    ("explain", {"url": "http://fuzz.example/v1", "method": "GET", "header": ["a=b"], "from": "192.0.2.1"}),
    ("tree", {}),
    ("session list", {}),
    ("session kill", {"session": "01J00000000000000000000000"}),
    ("metrics get", {"names": ["requests"]}),
    ("logging", {"filter": "info,sozu_trio.control=error"}),
    ("nonsense", {}),
)
"""What a proxy may be asked without harm to its traffic: without `shutdown`, `upgrade`, `rollback` and `state load`,
which may end it, and without `state save`, which writes where it is told.
"""

ODD: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 255, 256, 65536, 2**31, 2**53 + 1, 2**63 - 1, -(2**63), 0.5, -0.0, 1e308),
    *(
        "",
        " ",
        "a",
        "\0",
        "\n",
        "\x1b[2J",
        "\u202e",
        "é",
        "😀",
        "x" * 300,
        "x" * 5000,
        "../../etc/passwd",
        "%s%n",
        "(" * 50,
    ),
    *("127.0.0.1:99999", "[::1]:0", "127.0.0.1", "localhost:80", "*", "*.example", "/[", "a=b=c", "info,,", "http://"),
    *([], [[]], [None], ["a", 1], {}, {"a": {}}, {"id": "a"}, [{"verb": "apply"}]),
)
RAW = (
    *(b"", b" ", b"\r", b"null", b"[]", b"{}", b'""', b"NaN", b'{"v":1', b"{'v':1}", b"\xef\xbb\xbf{}", b"\xff\xfe{"),
    *(b"[" * 3000, b'{"a":' * 3000, b"9" * 6000, b'{"v":1,"v":1}', b'{"v":2,"id":1,"verb":"status"}', b"1e999"),
    *(b'{"v":1,"id":"\\ud800","verb":"status"}', b"GET / HTTP/1.1\r", b'{"v":1,"id":1,"verb":"status"}x', b"\0" * 50),
)

LARGE: tuple[tuple[str, dict[str, Any]], ...] = (
    ("apply", {"changes": [{}] * 400_000}),
    ("apply", {"changes": [1] * 600_000}),
    ("apply", {"changes": [{"verb": "cluster add", "id": 7, "weight": 1}] * 30_000}),
    ("explain", {"url": "http://fuzz.example/", "header": [7] * 500_000}),
    ("explain", {"url": "http://fuzz.example/", "header": ["no field"] * 100_000}),
    ("metrics get", {"names": [[]] * 400_000}),
    ("frontend http add", {"address": ADDRESS, "hostname": "a", "tags": {f"{number}": 1 for number in range(100_000)}}),
    ("status", {f"{number:0>9}": number for number in range(80_000)}),
)
"""Requests just short of what a line may have, with more faults than anybody wants to read of."""


@dataclass(frozen=True, slots=True)
class Shot:
    """One line, or several, with the last line feed, and what may come of it."""

    data: bytes
    may_succeed: bool
    """False: whatever comes back must be a failure."""


class Shots:
    """An endless supply."""

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed)
        self._number = 0

    def next(self) -> Shot:
        kinds: tuple[Callable[[], Shot], ...] = (self._bytes, self._raw, self._json, self._request, self._broken)
        return self._random.choices(kinds, weights=(2, 1, 2, 6, 2))[0]()

    def large(self) -> Shot:
        self._number += 1
        verb, body = self._random.choice(LARGE)
        return Shot(written({"v": 1, "id": self._number, "verb": verb, "body": body}), may_succeed=False)

    def _bytes(self) -> Shot:
        size = self._random.choice((1, 10, 100, 1000))
        return Shot(self._random.randbytes(size) + b"\n", may_succeed=False)

    def _raw(self) -> Shot:
        return Shot(self._random.choice(RAW) + b"\n", may_succeed=False)

    def _json(self) -> Shot:
        """Any document, now and then one that looks like a request for a verb that nobody has."""
        document = self._document(4)
        if self._random.random() < 0.3 and isinstance(document, dict):
            document |= {"v": 1, "id": self._odd(), "verb": "x"}
        return Shot(written(document), may_succeed=False)

    def _odd(self) -> Any:
        return copy.deepcopy(self._random.choice(ODD))

    def _document(self, depth: int) -> Any:
        draw = self._random.random()
        if depth == 0 or draw < 0.4:
            return self._odd()
        inner = [self._document(depth - 1) for _ in range(self._random.randrange(4))]
        if draw < 0.6:
            return inner
        return {self._random.choice(("v", "id", "body", "status", "\0", "é")): each for each in inner}

    def _request(self) -> Shot:
        """A request of a real verb, one time in five as it should be."""
        self._number += 1
        verb, body = self._random.choice(VERBS)
        document: dict[str, Any] = {"v": 1, "id": self._number, "verb": verb, "body": copy.deepcopy(body)}
        if self._random.random() < 0.8:
            for _ in range(self._random.choice((1, 1, 1, 2, 5))):
                self._spoil(document["body"] if self._random.random() < 0.8 and "body" in document else document)
        return Shot(written(document), may_succeed=True)

    def _spoil(self, table: Any) -> None:
        if not isinstance(table, dict):
            return
        name = self._random.choice([*table, "unknown"])
        draw = self._random.random()
        if draw < 0.5:
            table[name] = self._odd()
        elif draw < 0.7:
            table.pop(name, None)
        elif draw < 0.85:
            table[name[:-1]] = table.pop(name, None)
        else:
            table[name] = [table.get(name)]

    def _broken(self) -> Shot:
        """The bytes of a request with some cut out or changed."""
        data = bytearray(self._request().data[:-1])
        at = self._random.randrange(len(data))
        if self._random.random() < 0.5:
            del data[at : at + self._random.choice((1, 3, 1000))]
        else:
            data[at] = self._random.randrange(256)
        return Shot(bytes(data) + b"\n", may_succeed=True)


def written(document: Any) -> bytes:
    return json.dumps(document).encode() + b"\n"
