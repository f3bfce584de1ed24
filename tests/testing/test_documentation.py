"""docs/testing.md: its example is complete, and passes with nothing but the extra it names."""

import re
import subprocess
import sys
from pathlib import Path

DOCUMENT = Path(__file__).parents[2] / "docs" / "testing.md"


def test_the_example_passes_as_it_stands(tmp_path: Path) -> None:
    files = re.findall(r"```\w+ title=(\S+)\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    assert [name for name, _ in files] == ["proxy.toml", "pytest.ini", "test_proxy.py", "test_change.py"]
    for name, text in files:
        tmp_path.joinpath(name).write_text(text)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 passed" in done.stdout
