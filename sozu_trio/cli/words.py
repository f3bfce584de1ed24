"""Figures and values in words that people read at a glance, safe for a terminal whoever chose them."""

from collections.abc import Mapping
from typing import Any

from sozu_trio.routing.spoken import spelled
from sozu_trio.telemetry.escape import printable

_STEPS = ((86_400, "d"), (3_600, "h"), (60, "m"), (1, "s"))


def age(seconds: float) -> str:
    """The two largest units: `350ms`, `42s`, `3m 20s`, `5h 0m`, `12d 4h`."""
    if seconds < 1:
        return f"{max(0, round(seconds * 1000))}ms"
    whole = int(seconds)
    for index, (length, unit) in enumerate(_STEPS[:-1]):
        if whole >= length:
            smaller, name = _STEPS[index + 1]
            return f"{whole // length}{unit} {whole % length // smaller}{name}"
    return f"{whole}s"


def word(value: Any) -> str:
    """A value of JSON on one line: `-` for none, `yes` and `no`, tables and arrays as `k=v` and items with commas."""
    match value:
        case None | "" | []:
            return "-"
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:g}"
        case Mapping() if not value:
            return "-"
        case Mapping():
            return ",".join(f"{printable(str(name))}={word(each)}" for name, each in value.items())
        case list() | tuple():
            return ",".join(map(word, value))
    return printable(str(value))


def lines(text: str) -> str:
    """Text of several lines with everything else that is not printable escaped."""
    return "\n".join(map(printable, text.split("\n")))


def path_of(rule: Mapping[str, Any]) -> str:
    """The path of a rule with its kind: `prefix /v1`, `regex /v[0-9]+`, `any` for no path."""
    path = rule.get("path") or ""
    kind = str(rule.get("path_type") or "PREFIX").lower()
    return f"{kind} {printable(str(path))}" if path or kind != "prefix" else "any"


def route_of(rule: Mapping[str, Any]) -> str:
    """Where a rule leads."""
    cluster = rule.get("cluster")
    return "deny" if cluster is None else printable(str(cluster))


def rule_of(rule: Mapping[str, Any]) -> str:
    """A rule on one line: `GET api.example/v1 → api`."""
    hostname, path_type, path, method = (
        str(rule.get(name) or default)
        for name, default in (("hostname", "-"), ("path_type", "PREFIX"), ("path", ""), ("method", ""))
    )
    position = rule.get("position")
    first = f"{word(position)} " if position not in (None, "TREE") else ""
    return f"{first}{printable(spelled(hostname, path_type, path, method))} → {route_of(rule)}"
