"""What a verb answered, as tables for people: one function per kind of content.

A column that says the same in every row, namely nothing, is left out; ids are never cut, whatever the width.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from sozu_trio.cli.words import age, path_of, route_of, word
from sozu_trio.telemetry.plural import count

Content = Mapping[str, Any]
Row = Mapping[str, Any]
Cell = Callable[[Row], str]

_STATES = {"RUNNING": "green", "STOPPING": "yellow", "STOPPED": "red", "NOT_ANSWERING": "red"}


@dataclass(frozen=True, slots=True)
class Column:
    """`cell` makes the text of a row; `keep`: shown also where it says nothing."""

    title: str
    cell: Cell
    right: bool = False
    keep: bool = True
    style: str = ""


def member(name: str, title: str | None = None, *, right: bool = False, keep: bool = True) -> Column:
    """A column that shows one member of the rows."""
    return Column(title or name.replace("_", " "), lambda row: word(row.get(name)), right, keep)


def sparse(name: str, title: str | None = None, *, right: bool = False) -> Column:
    """As `member`, left out where no row has anything to say."""
    return member(name, title, right=right, keep=False)


def table(rows: Sequence[Row], columns: Sequence[Column], title: str = "") -> Table:
    """`rows` under the titles of `columns`."""
    made = Table(box=None, title=title or None, title_justify="left", pad_edge=False, padding=(0, 3, 0, 0))
    cells = [[column.cell(row) for row in rows] for column in columns]
    shown = [(column, texts) for column, texts in zip(columns, cells, strict=True) if column.keep or set(texts) - {"-"}]
    for column, _ in shown:
        made.add_column(column.title.upper(), justify="right" if column.right else "left", overflow="fold")
    for number in range(len(rows)):
        made.add_row(*(Text(texts[number], style=_style(column, texts[number])) for column, texts in shown))
    return made


def _style(column: Column, text: str) -> str:
    return column.style or _STATES.get(text.upper(), "")


def _tls(tls: Row | None) -> str:
    """Whether it is spoken to backends, and whether they are believed without a look."""
    return "-" if tls is None else "yes" if tls["verify"] else "unverified"


CLUSTERS = (
    member("cluster_id", "cluster"),
    member("protocol"),
    member("load_balancing", "balancing"),
    sparse("load_metric", "metric"),
    Column("tls", lambda row: _tls(row.get("tls")), keep=False),
    Column("frontends", lambda row: str(len(row.get("frontends", ()))), True),
    Column("backends", lambda row: str(len(row.get("backends", ()))), True),
    member("origin"),
)
FRONTENDS = (
    member("protocol"),
    member("address"),
    Column("hostname", lambda row: word(row.get("hostname")), keep=False),
    Column("path", lambda row: path_of(row) if "hostname" in row else "-", keep=False),
    sparse("method"),
    Column("position", lambda row: word(row.get("position")), keep=False),
    Column("cluster", route_of),
    sparse("tags"),
    member("origin"),
)
BACKENDS = (
    member("cluster"),
    member("backend_id", "backend"),
    member("address"),
    member("weight", right=True),
    Column("backup", lambda row: "yes" if row.get("backup") else "-", keep=False),
    Column("connections", lambda row: _sum(row, "connections"), True),
    Column("requests", lambda row: _sum(row, "requests"), True),
    Column("idle", lambda row: _sum(row, "idle"), True),
    Column("failures", lambda row: _sum(row, "failures"), True, keep=False),
    Column("retry in", lambda row: _retry(row), True, keep=False),
    member("origin"),
)
_LIVE = ("connections", "requests", "idle", "failures", "retry in")
CLUSTER_BACKENDS = tuple(column for column in BACKENDS if column.title not in _LIVE)
"""What workers know of backends, `backend list` asks them."""
LISTENERS = (
    member("protocol"),
    member("address"),
    member("active"),
    member("sessions", right=True),
    sparse("public_address", "public address"),
    Column("PROXY", lambda row: "yes" if row.get("expect_proxy") else "-", keep=False),
    Column("client certificates", lambda row: _client_auth(row), keep=False),
    Column("timeouts (front/back/connect/request)", lambda row: _timeouts(row), keep=False),
    member("origin"),
)
WORKERS = (
    member("id", "worker", right=True),
    member("pid", right=True),
    member("state"),
    member("generation", right=True),
    member("sessions", right=True),
    sparse("sandbox"),
    sparse("unsandboxed"),
)
REPLACED = (
    *(
        member("id", "worker", right=True),
        member("before", "pid before", right=True),
        member("after", "pid", right=True),
    ),
    *(member("moved", right=True), member("left", right=True)),
)
LEAVING = (
    *(member("id", "worker", right=True), member("pid", right=True), member("state"), member("sessions", right=True)),
    member("seconds_left", "seconds left", right=True),
)
GENERATIONS = (
    member("generation", right=True),
    member("time"),
    member("uid", right=True),
    member("pid", right=True),
    member("process"),
    member("objects", right=True),
    member("what"),
)
SESSIONS = (
    member("id", "session"),
    member("worker", right=True),
    member("listener"),
    member("client"),
    Column("age", lambda row: age(row.get("age", 0)), True),
)
MAIN_METRICS = (member("name"), member("total", "main", right=True))
CERTIFICATES = (
    member("fingerprint"),
    member("address", "listener"),
    Column("names", lambda row: word([*row.get("names", ()), *row.get("addresses", ())])),
    member("key_kind", "key"),
    member("days_left", "days left", right=True),
    Column("default", lambda row: "yes" if row.get("default") else "-", keep=False),
    member("origin"),
)
SHOWN = (
    member("listener"),
    Column("fingerprints", lambda row: word([each["fingerprint"] for each in row.get("certificates", ())])),
    member("by"),
    member("why"),
)


def _sum(row: Row, name: str) -> str:
    workers = row.get("workers")
    return str(sum(each.get(name) or 0 for each in workers)) if workers else "-"


def _retry(row: Row) -> str:
    waits = [each["retry_in"] for each in row.get("workers", ()) if each.get("retry_in")]
    return age(max(waits)) if waits else "-"


def _client_auth(row: Row) -> str:
    client_auth = row.get("client_auth", "none")
    return "-" if client_auth == "none" else word(f"{client_auth}, {row.get('client_ca')}")


def _timeouts(row: Row) -> str:
    named = [row.get(f"{name}_timeout") for name in ("front", "back", "connect", "request")]
    return "/".join(map(word, named)) if any(each is not None for each in named) else "-"


def listing(name: str, columns: Sequence[Column]) -> Callable[[Content], Iterable[RenderableType]]:
    """A view of a content that is one list."""

    def view(content: Content) -> Iterable[RenderableType]:
        if content[name]:
            yield table(content[name], columns)

    return view


def pairs(content: Mapping[str, Any]) -> Table:
    """Names and values, one pair per line."""
    made = Table(box=None, show_header=False, pad_edge=False, padding=(0, 3, 0, 0))
    made.add_column(style="dim", overflow="fold")
    made.add_column(overflow="fold")
    for name, value in content.items():
        made.add_row(Text(word(name).replace("_", " ")), Text(word(value)))
    return made


def status(content: Content) -> Iterable[RenderableType]:
    """Main on one line, its workers, and those that have a successor and only drain."""
    main = content["main"]
    parts = [f"main {main['pid']}", f"version {main['version']}", f"generation {main['generation']}"]
    if "uptime" in main:
        parts.append(f"up {age(main['uptime'])}")
    parts += [
        f"{title} {main[name]}" for name, title in (("config", "file"), ("command_socket", "socket")) if main.get(name)
    ]
    yield Text(word("  ".join(parts)))
    yield table(content["workers"], WORKERS)
    if content.get("leaving"):
        yield Text()
        yield table(content["leaving"], LEAVING)


def clusters(content: Content) -> Iterable[RenderableType]:
    """All clusters in one table; a single one in full."""
    found = content["clusters"]
    if len(found) != 1:
        yield from listing("clusters", CLUSTERS)(content)
        return
    rest = {name: value for name, value in found[0].items() if name not in ("frontends", "backends")}
    yield pairs(rest)
    for name, columns in (("frontends", FRONTENDS), ("backends", CLUSTER_BACKENDS)):
        if found[0].get(name):
            yield Text()
            yield table(found[0][name], columns)


def metrics(content: Content) -> Iterable[RenderableType]:
    """Counters by name, with a column per worker and the sum. Those that never counted anything are only counted."""
    workers, totals = content.get("workers", {}), content.get("total", {})
    rows = [{"name": name} for name, value in totals.items() if value]
    silent = len(totals) - len(rows)
    if content.get("main"):
        yield table([{"name": name, "total": value} for name, value in content["main"].items()], MAIN_METRICS)
        yield from [Text()] * bool(totals)
    if rows:
        columns = (_of_worker(each, workers[each]) for each in workers)
        yield table(rows, (member("name"), *columns, _of_worker("", totals)))
        yield from [Text()] * bool(silent)
    if silent:
        yield Text(f"{count(silent, 'counter')}{' more' * bool(rows)}: 0 everywhere (--json has them all)")


def _of_worker(worker: str, values: Mapping[str, Any]) -> Column:
    return Column(f"worker {worker}" if worker else "total", lambda row: word(values.get(row["name"])), True)


def facts(content: Content) -> Iterable[RenderableType]:
    """Whatever is left: a line for each member; a list on lines of its own."""
    yield pairs({name: value for name, value in content.items() if not isinstance(value, list)})
    for name, value in content.items():
        if isinstance(value, list) and value:
            yield Text()
            yield Text(f"{word(name)}:")
            yield from (Text(f"  {word(each)}") for each in value)


TABLES: Mapping[str, Callable[[Content], Iterable[RenderableType]]] = {
    "status": status,
    "cluster list": clusters,
    "frontend list": listing("frontends", FRONTENDS),
    "backend list": listing("backends", BACKENDS),
    "listener list": listing("listeners", LISTENERS),
    "certificate list": listing("certificates", CERTIFICATES),
    "certificate query": listing("shown", SHOWN),
    "history": listing("generations", GENERATIONS),
    "session list": listing("sessions", SESSIONS),
    "metrics get": metrics,
    "upgrade": listing("workers", REPLACED),
}
