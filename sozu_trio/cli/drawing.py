"""What no table shows well: the tree of what lives, the difference a file would make, the way of a request."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from rich.console import RenderableType
from rich.text import Text
from rich.tree import Tree

from sozu_trio.cli.tables import Column, Content, member, table
from sozu_trio.cli.words import age, rule_of, word

_SIGNS = {"add": ("+", "green"), "remove": ("-", "red"), "change": ("~", "yellow"), "move": ("↕", "cyan")}

CANDIDATES = (
    Column("", lambda row: "✓" if row.get("candidate") else "✗"),
    member("backend_id", "backend"),
    member("address"),
    member("weight", right=True),
    Column("backup", lambda row: "yes" if row.get("backup") else "-", keep=False),
    Column("why not", lambda row: word(row.get("why")), keep=False),
)


def tree(content: Content) -> Iterator[RenderableType]:
    """Main with its workers under it, each node with its count and age."""
    root = Tree(_node(content["main"]))
    for child in content["main"].get("children", ()):
        _grow(root, child)
    for worker in content["workers"]:
        _grow(root, worker)
    yield root


def _grow(parent: Tree, node: Mapping[str, Any]) -> None:
    branch = parent.add(_node(node))
    for child in node.get("children", ()):
        _grow(branch, child)


def _node(node: Mapping[str, Any]) -> Text:
    text = Text(word(node["name"]), style="bold" if node.get("kind") == "process" else "")
    facts = []
    if node.get("count") is not None:
        facts.append(f"{node['count']:,}")
    if node.get("age") is not None:
        facts.append(age(node["age"]))
    return text.append(f"  {'  '.join(facts)}", style="dim") if facts else text


def plan(content: Content) -> Iterator[RenderableType]:
    """`+ cluster api` and its fields, `- …`, `~ …` with old → new, `↕ …` with its new place among the rules; then what
    to know about the file.
    """
    for change in content["changes"]:
        sign, style = _SIGNS.get(change["action"], ("?", ""))
        yield Text(f"{sign} {word(change.get('kind'))} {word(change.get('name'))}", style=style)
        for name, (old, new) in (change.get("fields") or {}).items():
            if change["action"] == "move":
                yield Text(f"    {word(name)} {word(new)}" if new is not None else "    before all others", style=style)
            elif change["action"] == "change":
                yield Text(f"    {word(name)}: ").append(word(old), "red").append(" → ").append(word(new), "green")
            elif new not in (None, "", [], {}, False):
                yield Text(f"    {word(name)}: {word(new)}", style=style)
    yield from notices(content)


def notices(content: Content) -> Iterator[RenderableType]:
    """What the reading of the file had to remark."""
    for notice in content.get("notices", ()):
        yield Text(f"note: {word(notice)}", style="yellow")


def reload(content: Content) -> Iterator[RenderableType]:
    """As plan, after the fact and without fields."""
    for members, action in (("removed", "remove"), ("added", "add"), ("changed", "change"), ("moved", "move")):
        sign, style = _SIGNS[action]
        yield from (Text(f"{sign} {word(name)}", style=style) for name in content.get(members, ()))
    yield from notices(content)
    yield Text(f"generation {word(content.get('generation'))}")


def explain(content: Content) -> Iterator[RenderableType]:
    """The way of a request from top to bottom: listener, rule, cluster, backends; then the rules that lost."""
    listener = content.get("listener")
    if listener is None:
        return
    idle = "" if listener.get("active", True) else "  (not active)"
    yield Text(f"listener  {word(listener.get('protocol'))} {word(listener.get('address'))}{idle}")
    if content.get("shown") is not None:
        yield Text(f"shown     {word(content['shown'].get('why'))}")
    if content.get("rule") is not None:
        yield Text(f"rule      {rule_of(content['rule'])}", style="green")
    if content.get("cluster") is not None:
        yield Text(f"cluster   {word(content['cluster'])}", style="green")
    yield from _backends(content)
    if content.get("lost"):
        yield Text()
        yield Text("rules that lost:")
        for lost in content["lost"]:
            yield Text(f"  {rule_of(lost['rule'])}").append(f"\n      {word(lost.get('why'))}", style="dim")


def _backends(content: Content) -> Iterable[RenderableType]:
    if content.get("backends"):
        yield Text()
        yield table(content["backends"], CANDIDATES)
    elif content.get("cluster") is not None:
        yield Text("backends  none: it would be answered 503", style="red")


def event(content: Content) -> str:
    """One event on one line: its time, its kind and what it is about."""
    known = ("time", "kind")
    first = [word(content[name]) for name in known if name in content]
    return "  ".join([*first, *(f"{word(name)}={word(value)}" for name, value in content.items() if name not in known)])


DRAWINGS: Mapping[str, Callable[[Content], Iterable[RenderableType]]] = {
    "tree": tree,
    "plan": plan,
    "reload": reload,
    "explain": explain,
}
