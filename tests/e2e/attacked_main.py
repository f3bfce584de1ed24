"""`python -m tests.e2e.attacked_main serve -c FILE`: the proxy, whose workers are `attacked_worker.py`."""

import sys

from sozu_trio import app
from sozu_trio.cli import main

if __name__ == "__main__":
    app.WORKER = "tests.e2e.attacked_worker"
    sys.exit(main())
