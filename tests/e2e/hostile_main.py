"""`python -m tests.e2e.hostile_main MODULE serve -c FILE`: the proxy, whose workers are those of MODULE.

`hostile_worker` lies to main, `hostile_sibling` uses what they share.
"""

import sys

from sozu_trio import app
from sozu_trio.cli import main

if __name__ == "__main__":
    app.WORKER = f"tests.e2e.{sys.argv.pop(1)}"
    sys.exit(main())
