"""The import ladder and the purity of `wire/` and `routing/`, read from the source of every module.

Imports under TYPE_CHECKING and inside functions count as well: they tie the layers together all the same.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "sozu_trio"
MODULES = {
    ".".join(("sozu_trio", *file.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__"): file
    for file in PACKAGE.rglob("*.py")
}

LADDER = (
    {"errors", "config"},
    {"wire", "routing"},
    {"tls", "control", "telemetry"},
    {"nursery"},
    {"proxy", "main"},
    {"app", "worker_process"},
    {"testing"},
    {"cli"},
    {"__main__"},
)
FLOOR = {part: number for number, parts in enumerate(LADDER) for part in parts}
BESIDE = {("config", "errors")}
"""The one import between neighbours: a configuration's problems are an exception of the tree."""

PURE = {"wire", "routing"}
IMPURE = {
    *("asyncio", "logging", "multiprocessing", "os", "random", "secrets", "select", "selectors"),
    *("signal", "socket", "ssl", "subprocess", "threading", "time", "trio"),
}


def part_of(module: str) -> str:
    """The package, or the top-level module, that stands on the ladder; empty for `sozu_trio` itself."""
    return module.partition(".")[2].partition(".")[0]


def imports(source: str) -> Iterator[tuple[str, str]]:
    """(module, name) of each import: the name is empty for `import module`, a relative module begins with dots."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (("." * node.level + (node.module or ""), alias.name) for alias in node.names)


def faults(module: str, source: str, known: set[str]) -> Iterator[str]:
    """What `source`, as the text of `module`, imports and must not."""
    here = part_of(module)
    for target, name in imports(source):
        if target.startswith("."):
            yield f"relative import of {target}"
        elif here in PURE and target.partition(".")[0] in IMPURE:
            yield f"{target}, which {here} must not know"
        elif target.partition(".")[0] == "sozu_trio":
            yield from faults_among_ours(here, target if f"{target}.{name}" not in known else f"{target}.{name}", known)


def faults_among_ours(here: str, target: str, known: set[str]) -> Iterator[str]:
    there = part_of(target)
    if target not in known:
        yield f"{target}, which does not exist"
    elif there in ("", here) or (here, there) in BESIDE:
        return
    elif here == "" or FLOOR[there] >= FLOOR[here]:
        yield f"{target}, which does not stand below {here or 'sozu_trio itself'}"


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_go_down(module: str) -> None:
    assert list(faults(module, MODULES[module].read_text(), set(MODULES))) == []


def test_everything_stands_on_the_ladder() -> None:
    assert {part_of(module) for module in MODULES} - {""} <= set(FLOOR)


PARTS = (
    "errors",
    "config",
    "config.limits",
    "wire",
    "wire.heads",
    "routing",
    "routing.table",
    "nursery",
    "proxy",
    "cli",
)
KNOWN = {"sozu_trio", "sozu_trio.proxy.session", *(f"sozu_trio.{part}" for part in PARTS)}


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("sozu_trio.config.limits", "from sozu_trio.errors import ConfigError"),
        ("sozu_trio.wire.heads", "import enum\nfrom sozu_trio.config import limits"),
        ("sozu_trio.wire.heads", "from sozu_trio.wire import heads"),
        ("sozu_trio.proxy.session", "import trio, socket\nimport sozu_trio.wire.heads"),
        ("sozu_trio.cli", "from sozu_trio import __version__"),
    ],
)
def test_allowed(module: str, source: str) -> None:
    assert list(faults(module, source, KNOWN)) == []


@pytest.mark.parametrize(
    ("module", "source", "fault"),
    [
        ("sozu_trio.errors", "import sozu_trio.config", "sozu_trio.config, which does not stand below errors"),
        (
            "sozu_trio.wire.heads",
            "from sozu_trio.routing import table",
            "sozu_trio.routing.table, which does not stand below wire",
        ),
        (
            "sozu_trio.nursery",
            "def late():\n  import sozu_trio.proxy",
            "sozu_trio.proxy, which does not stand below nursery",
        ),
        ("sozu_trio", "from sozu_trio import cli", "sozu_trio.cli, which does not stand below sozu_trio itself"),
        ("sozu_trio.routing.table", "from time import monotonic", "time, which routing must not know"),
        ("sozu_trio.wire.heads", "import os.path", "os.path, which wire must not know"),
        ("sozu_trio.proxy.session", "from ..wire import heads", "relative import of ..wire"),
        ("sozu_trio.proxy.session", "import sozu_trio.wire.tails", "sozu_trio.wire.tails, which does not exist"),
    ],
)
def test_refused(module: str, source: str, fault: str) -> None:
    assert list(faults(module, source, KNOWN)) == [fault]
