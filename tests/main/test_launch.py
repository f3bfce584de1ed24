"""How a process was started, so that another one can be started the same way."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sozu_trio.main.launch import in_module

ROOT = Path(__file__).parents[2]
TELL = """
import json, sys
sys.path.append({root!r})
from sozu_trio.main.launch import launched
launch = launched()
print(json.dumps([launch.executable, launch.flags, launch.arguments, launch.path, launch.title]))
"""


LONG = ["--check-hash-based-pycs", "never"]
MODULES = [
    (["-m", "tell"], []),
    (["-mtell"], []),
    (["-sm", "tell"], ["-s"]),
    (["-sBmtell"], ["-sB"]),
    (["tell.py"], []),
]


@pytest.mark.parametrize("flags", [[], ["-X", "dev", "-W", "error"], ["-Xdev", "-sWerror", "-BX", "utf8", *LONG]])
@pytest.mark.parametrize(("module", "more"), MODULES, ids=lambda words: " ".join(words))
def test_flags_and_arguments_are_told_apart(
    tmp_path: Path, flags: list[str], module: list[str], more: list[str]
) -> None:
    (tmp_path / "tell.py").write_text(TELL.format(root=str(ROOT)))
    command = [sys.executable, *flags, *module, "serve", "-m", "x"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert json.loads(run.stdout) == [sys.executable, [*flags, *more], ["serve", "-m", "x"], str(tmp_path), command]


def test_code_runs_with_that_path_in_front_unless_python_was_told_not_to(tmp_path: Path) -> None:
    code = in_module(str(tmp_path), "print(sys.path[0])")
    for flags, first in (([], str(tmp_path)), (["-P"], None)):
        run = subprocess.run([sys.executable, *flags, *code], capture_output=True, text=True, check=True)
        assert (run.stdout.strip() == first) is (first is not None)
