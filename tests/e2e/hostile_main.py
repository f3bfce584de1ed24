"""`python -m tests.e2e.hostile_main serve -c FILE`: the proxy, whose workers are `hostile_worker.py`."""

import sys

from sozu_trio import app
from sozu_trio.cli import main

if __name__ == "__main__":
    app.WORKER = "tests.e2e.hostile_worker"
    sys.exit(main())
