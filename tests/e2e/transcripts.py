"""Pages that show a terminal, played: every `$ ` line is run in order, and what it prints is held against the page.

In what a page shows, `…` stands for any text, a line of nothing else for any lines; the width of columns does not
count.
`toml` pieces make up the configuration, and `scripts/run` is the proxy.
"""

import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from benchmarks.processes import POLL, Process
from tests.e2e.clients import PATIENCE
from tests.e2e.parts import READY, SERVE, environment_with, wait_until

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs" / "examples"
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
OF_THE_MACHINE = "max_connections: not set: "
"""A remark about the limit of descriptors where the pages are played, which is none of theirs."""
LOGGED = 5
"""Seconds in which lines of the log come out."""
START = "scripts/run -c proxy.toml"
CTL = f'ctl() {{ {sys.executable} -m sozu_trio ctl "$@"; }}; '

NOTHING: Mapping[str, Callable[[], object]] = MappingProxyType({})


@dataclass(frozen=True)
class Piece:
    """What stands between two fences, and the word behind the first."""

    kind: str
    text: str


def pieces(page: str, begin: str = "", end: str = "\0") -> Iterator[Piece]:
    """Those between the lines `begin` and `end` of a page, which must hold both where they are given."""
    text = (ROOT / page).read_text()
    after = text[text.index(begin) :] if begin else text
    yield from (Piece(kind, body) for kind, body in FENCE.findall(after.partition(end)[0]))


def commands(console: str) -> Iterator[tuple[str, str]]:
    """(command, what it prints) of a `console` piece."""
    for each in re.split(r"^\$ ", console, flags=re.MULTILINE)[1:]:
        command, _, output = each.partition("\n")
        yield command.strip(), output


def is_shown(shown: str, printed: str) -> bool:
    """Whether `printed` is what the page shows."""
    lines = "".join(f"{line}\n" for line in plain(printed) if OF_THE_MACHINE not in line)
    pattern = "".join("(.*\n)*" if line == "…" else f"{re.escape(line).replace('…', '.*')}\n" for line in plain(shown))
    return re.fullmatch(pattern, lines) is not None


def assert_shown(shown: str, printed: str) -> None:
    assert is_shown(shown, printed), f"the page shows\n{shown}\nand it is\n{printed}"


def plain(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.rstrip().splitlines()]


def moved(text: str, ports: Mapping[int, int]) -> str:
    """With other ports."""

    def port(found: re.Match[str]) -> str:
        return f"{found[1]}{ports.get(int(found[2]), found[2])}"

    return re.sub(r'(127\.0\.0\.1:|"port":)(\d+)\b', port, text)


def copy_examples(folder: Path, ports: Mapping[int, int]) -> Path:
    """Put docs/examples into `folder`, with other ports; where they are then."""
    examples = folder / "docs" / "examples"
    examples.mkdir(parents=True)
    for each in EXAMPLES.iterdir():
        (examples / each.name).write_text(moved(each.read_text(), ports))
    return examples


class Terminal:
    """A folder with the files of docs/examples, where a page's commands are run; close it.

    `ports`: those of the page → those to use in their place. `by_hand`: how commands begin that the test does itself.
    """

    def __init__(
        self, folder: Path, ports: Mapping[int, int], by_hand: Mapping[str, Callable[[], object]] = NOTHING
    ) -> None:
        self.file = folder / "proxy.toml"
        self._by_hand = by_hand
        self._folder = folder
        self._ports = ports
        self._proxies: list[Process] = []
        copy_examples(folder, ports)

    def play(self, piece: Piece) -> None:
        """Add to the configuration, or run the commands. Fails the test where they print something else."""
        if piece.kind == "toml":
            with self.file.open("a") as file:
                file.write(moved(piece.text, self._ports) + "\n")
        elif piece.kind == "console":
            for command, shown in commands(moved(piece.text, self._ports)):
                if does_it := [do for begin, do in self._by_hand.items() if command.startswith(begin)]:
                    does_it[0]()
                elif command.startswith(START):
                    self._serve(command.removeprefix(START).split(), shown)
                else:
                    assert_shown(shown, self.run(command))

    def run(self, command: str) -> str:
        """What it prints, on standard error first."""
        run = subprocess.run(
            ["bash", "-c", CTL + command],
            cwd=self._folder,
            env=environment_with({"COLUMNS": "200"}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=2 * PATIENCE,
            check=False,
        )
        return run.stderr + run.stdout

    def _serve(self, options: list[str], shown: str) -> None:
        """Start the proxy, once the one before has ended. Fails the test where it does not print what is `shown`."""
        wait_until(lambda: all(before.exit_code is not None for before in self._proxies))
        command = [*SERVE, "-c", self.file.name, *options]
        proxy = Process(command, self._folder, environment=environment_with({}))
        self._proxies.append(proxy)
        wait_until(lambda: "sozu_trio ready" in proxy.output() or proxy.exit_code is not None, READY)
        deadline = time.monotonic() + LOGGED
        while not is_shown(shown, proxy.errors() + proxy.output()) and time.monotonic() < deadline:
            time.sleep(POLL)
        assert_shown(shown, proxy.errors() + proxy.output())

    def close(self) -> None:
        # Workers belong to the group of the main that started them.
        for proxy in self._proxies:
            proxy.kill()
