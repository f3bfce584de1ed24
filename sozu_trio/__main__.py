"""`python -m sozu_trio`."""

from sozu_trio.cli import main

raise SystemExit(main())
