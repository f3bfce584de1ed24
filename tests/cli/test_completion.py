"""Scripts of completion: each shell that is here takes its own."""

import shutil
import subprocess

import pytest

from sozu_trio.cli.completion import completion
from sozu_trio.cli.ctl_questions import SHELLS


@pytest.mark.parametrize("shell", SHELLS)
def test_a_script(shell: str) -> None:
    script = completion(shell)
    assert "sozu-trio" in script
    assert "health-check" in script
    assert "load-balancing-policy" in script
    if shutil.which(shell):
        assert subprocess.run([shell, "-n"], input=script, text=True, check=False).returncode == 0


COMPLETE = """
source /dev/stdin
COMP_WORDS=(sozu-trio {words}) COMP_CWORD={last}
_shtab_sozu_trio sozu-trio
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.mark.parametrize(
    ("words", "offered"),
    [("ct", {"ctl"}), ("ctl clu", {"cluster"}), ("ctl backend a", {"add"}), ("ctl backend add --wei", {"--weight"})],
)
def test_bash_completes(words: str, offered: set[str]) -> None:
    program = COMPLETE.format(words=words, last=len(words.split()))
    done = subprocess.run(
        ["bash", "-c", program], input=completion("bash"), capture_output=True, text=True, check=False
    )
    assert {word.strip() for word in done.stdout.splitlines()} == offered
