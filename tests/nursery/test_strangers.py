"""Strangers are reaped, and our own children never: who waits for them learns how they ended."""

import os
import subprocess
import sys

REAPING = """
import ctypes, os, signal, subprocess, sys
import trio
from sozu_trio.nursery.strangers import inherits_children, reap_strangers

def orphan():
    "Have a child start another one and end; returns the id of that."
    script = "import os, sys\\nif pid := os.fork(): print(pid)\\nelse: os.close(1); os.read(int(sys.argv[1]), 1)"
    command = [sys.executable, "-c", script, str(reading)]
    return int(subprocess.run(command, stdout=subprocess.PIPE, check=True, pass_fds=[reading]).stdout)

def is_there(pid):
    return os.path.exists(f"/proc/{pid}")

async def main():
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            own = await trio.lowlevel.open_process([sys.executable, "-c", "raise SystemExit(7)"])
            await nursery.start(reap_strangers)
            strangers = [orphan() for _ in range(3)]
            later = subprocess.Popen([sys.executable, "-c", "raise SystemExit(8)"])
            held = os.pidfd_open(later.pid)
            await trio.lowlevel.wait_readable(held)
            assert all(map(is_there, strangers))
            os.close(writing)
            while any(map(is_there, strangers)):
                await trio.sleep(0.05)
            print(await own.wait(), later.wait())
            os.close(held)
            nursery.cancel_scope.cancel()

print(inherits_children())
if os.getpid() != 1:
    assert ctypes.CDLL(None).prctl(36, 1, 0, 0, 0) == 0
print(inherits_children())
reading, writing = os.pipe()
trio.run(main)
"""


def run(*prefix: str) -> list[str]:
    command = [*prefix, sys.executable, "-c", REAPING]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


def may_unshare() -> bool:
    done = subprocess.run(["unshare", "--pid", "--fork", "--mount-proc", "true"], capture_output=True, check=False)
    return done.returncode == 0


def test_a_subreaper_reaps_strangers_and_leaves_its_own_to_who_waits() -> None:
    assert run() == ["False", "True", "7", "8"]


def test_so_does_process_one() -> None:
    if os.path.exists("/usr/bin/unshare") and may_unshare():
        assert run("unshare", "--pid", "--fork", "--mount-proc") == ["True", "True", "7", "8"]
