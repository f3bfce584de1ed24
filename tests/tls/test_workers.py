"""What a worker imports of this package stays small."""

import subprocess
import sys

WORKERS = ("contexts", "failures", "garbage_names", "identity")


def test_workers_do_without_cryptography() -> None:
    modules = [*(f"sozu_trio.tls.{name}" for name in WORKERS)]
    code = f"import sys; import {', '.join(modules)}; print('cryptography' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert told.stdout == "False\n"
