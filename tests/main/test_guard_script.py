"""The first lines of a new image: whatever comes of the code behind them, somebody serves in the end."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sozu_trio.main.guard_script import script_for

OLD = "import json, sys; print('old:', json.loads(open(sys.argv[1]).read())['failure'])"


def run(folder: Path, code: str, *, limit: float = 30, failure: str | None = None) -> str:
    """What is printed where `code` is the new code, and the old one tells why it is executed."""
    package = folder / "sozu_trio"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "__main__.py").write_text(f"import sys\nguard = sys.modules['_sozu_trio_guard']\n{code}\n")
    with os.fdopen(os.memfd_create("record"), "r+b") as record:
        document: dict[str, Any] = {
            "failure": failure,
            "limit": limit,
            "old": [sys.executable, "-c", OLD, f"/proc/self/fd/{record.fileno()}"],
            "code": None,
            "new_code": None,
            "arguments": ["serve", "-c", "FILE"],
            "path": str(folder),
        }
        record.write(json.dumps(document).encode())
        record.flush()
        script = folder / "script.py"
        script.write_text(script_for(record.fileno()))
        done = subprocess.run(
            [sys.executable, str(script), "-m", "ignored"],
            pass_fds=[record.fileno()],
            capture_output=True,
            text=True,
            timeout=60,
        )
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("import nothing_of_that_name", "ModuleNotFoundError: No module named 'nothing_of_that_name'"),
        ("syntax error", "SyntaxError: invalid syntax (__main__.py, line 3)"),
        ("sys.exit(3)", "it ended with exit code 3"),
        ("pass", "it ended"),
        ("guard.why = 'because'; raise ValueError", "because"),
        ("raise KeyboardInterrupt('no')", "KeyboardInterrupt: no"),
    ],
)
def test_new_code_that_ends_or_fails_too_early_makes_room_for_the_old(tmp_path: Path, code: str, why: str) -> None:
    assert run(tmp_path, code) == f"old: {why}"


def test_new_code_that_hangs_does_too(tmp_path: Path) -> None:
    assert run(tmp_path, "import time; time.sleep(60)", limit=0.2) == "old: it was not ready within 0.2 s"


def test_once_it_has_taken_over_it_is_left_alone(tmp_path: Path) -> None:
    code = "guard.commit(); import time; time.sleep(0.5); print(sys.argv[1:]); sys.exit(1)"
    assert run(tmp_path, code, limit=0.2) == "['serve', '-c', 'FILE']"


def test_the_old_code_is_not_guarded(tmp_path: Path) -> None:
    assert run(tmp_path, "print('again:', guard.record['failure'])", failure="why") == "again: why"
