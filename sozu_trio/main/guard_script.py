"""The first lines of an image of main that takes the place of another one.

They are the old image's, so they hold however broken the new code is, and must do with what every Python has. They run
the new code, and if that ends or fails before it says that there is no way back, or has not said so within a time, they
execute the old code again, with the reason. That leaves out only what ends the process at once: a crash of the
interpreter, os._exit, and being killed.
"""

from typing import Final

GUARD: Final = "_sozu_trio_guard"
"""The module, of nobody's, in which the new code finds `record`, `commit()` and `why`."""

SCRIPT: Final = """
import json, os, sys, threading, types

number = {number}
with open(number, "rb", closefd=False) as file:
    file.seek(0)
    record = json.loads(file.read())
environment = dict(os.environ)
guarded = record["failure"] is None
committed = threading.Event()
turn = threading.Lock()


def fall_back(why):
    with turn:
        if committed.is_set():
            return
        record["failure"] = guard.why or why
        os.ftruncate(number, 0)
        with open(number, "wb", closefd=False) as file:
            file.seek(0)
            file.write(json.dumps(record).encode())
        os.execve(record["old"][0], record["old"], environment)


def commit():
    with turn:
        committed.set()


def watch():
    if not committed.wait(record["limit"]):
        fall_back("it was not ready within %g s" % record["limit"])


guard = types.ModuleType({name!r})
guard.record, guard.commit, guard.why = record, commit, ""
sys.modules[{name!r}] = guard
sys.argv[1:] = record["arguments"]
if not sys.flags.safe_path:
    sys.path[0] = record["path"]
code = record["new_code" if guarded else "code"]
if code is not None:
    sys.path.insert(0, "/proc/self/fd/%d" % code)
if guarded:
    threading.Thread(target=watch, daemon=True).start()
try:
    import runpy

    runpy.run_module("sozu_trio", run_name="__main__", alter_sys=True)
    why = "it ended"
except BaseException as error:
    why = "%s: %s" % (type(error).__name__, error)
    if isinstance(error, SystemExit):
        why = "it ended with exit code %s" % error.code
    if committed.is_set() or not guarded:
        raise
    fall_back(why)
else:
    if guarded:
        fall_back(why)
"""


def script_for(record: int) -> str:
    """The script that finds its record in descriptor `record`."""
    return SCRIPT.format(number=record, name=GUARD)
