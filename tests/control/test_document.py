"""docs/control-protocol.md: its programs work as they stand, and its numbers are those in force."""

import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from sozu_trio.config.limits import ARRAY_ITEMS, ControlLimits
from sozu_trio.config.structure import MOST
from sozu_trio.control.client import MOST_WAITING
from sozu_trio.control.protocol import IN_MESSAGE, LONGEST_NAME
from sozu_trio.control.strict_json import DEEPEST
from sozu_trio.errors import MOST_PROBLEMS
from tests.control.conversing import open_control

PAGE = (Path(__file__).parents[2] / "docs" / "control-protocol.md").read_text()
PROGRAMS = dict(re.findall(r"```python title=(\S+)\n(.*?)```", PAGE, re.DOTALL))


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Path]:
    """The socket of a server in another thread."""
    ready = threading.Event()
    stops: list[tuple[trio.lowlevel.TrioToken, trio.CancelScope]] = []

    async def serve() -> None:
        async with open_control(tmp_path) as control:
            stops.append((trio.lowlevel.current_trio_token(), control.scope))
            ready.set()
            await trio.sleep_forever()

    thread = threading.Thread(target=trio.run, args=(serve,))
    thread.start()
    assert ready.wait(20)
    yield tmp_path / "sock"
    ((token, scope),) = stops
    token.run_sync_soon(lambda: scope.cancel(reason="the test is over"))
    thread.join()


@pytest.mark.parametrize("name", ["plain.py", "library.py"])
def test_programs_work(served: Path, name: str) -> None:
    program = PROGRAMS[name].replace("/run/sozu-trio/sozu.sock", str(served))
    assert str(served) in program
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=20, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "7 ok {}\n", "")


def test_the_library_says_what_is_wrong(tmp_path: Path) -> None:
    program = PROGRAMS["library.py"].replace("/run/sozu-trio/sozu.sock", str(tmp_path / "none"))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"no proxy listens at {tmp_path}/none ")


def test_numbers() -> None:
    limits = ControlLimits()
    for said in (
        f"{limits.request:,} bytes",
        f"failure; the next line is read {limits.after_garbage * 1000:g} ms later",
        f"| a line begun and not ended | {limits.half_line:g} s |",
        f"| no request, and none under way | {limits.idle:g} s |",
        f"| replies left unread | {limits.unread:g} s without a byte read |",
        f"| connections | {limits.clients}, the last {limits.reserved_clients} of them for root",
        f"| replies that wait to be read | {limits.replies}, or {limits.reply_bytes // 1_000_000} MB |",
        f"| an array in a body, the changes of an `apply` apart | {ARRAY_ITEMS:,} elements |",
        f"| faults of one value | {MOST} |",
        f"up to {MOST_PROBLEMS:,}; `message` holds the first {IN_MESSAGE},",
        f"At most {limits.requests} requests of one connection",
        f"a string of at most {LONGEST_NAME} characters",
        f"more than {DEEPEST}\narrays",
        f"more than {MOST_WAITING:,} replies",
    ):
        assert said in PAGE
