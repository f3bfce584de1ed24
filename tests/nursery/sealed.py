"""Python that runs in a process of its own, since nobody gets out of a sandbox again."""

import subprocess
import sys

PATIENCE = 60
"""Seconds."""


def run(code: str) -> str:
    """What `code` prints. Fails with its traceback when it fails."""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
