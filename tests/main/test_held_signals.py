"""A signal that comes while main is about to be replaced is not lost, whichever thread takes it."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("what", ["kept", "threads"])
def test_in_a_process_with_no_threads_but_trio_s(what: str) -> None:
    """pytest may have threads of its own, which take signals."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.main.signalled", what], timeout=60, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
