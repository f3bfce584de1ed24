"""A worker like any other, but that it attacks once it serves: `attacked_main.py` starts it in place of the product's.

It serves from its first generation on, and tells in its log what came of everything that `attacks.py` tries. At each
later generation it tells which modules have been imported since.
"""

import json
import logging
import sys
from typing import Any

from sozu_trio import worker_process
from tests.e2e.attacks import attempt

log = logging.getLogger("sozu_trio.attacked_worker")


class AttackingProcess(worker_process.WorkerProcess):
    """Attacks when the first generation is in force."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.modules: set[str] | None = None

    def follow(self, generation: int, settings: Any) -> None:
        super().follow(generation, settings)
        if self.modules is None:
            self.modules = set(sys.modules)
            for kind, outcomes in attempt().items():
                if isinstance(outcomes, dict):
                    for name, outcome in outcomes.items():
                        log.info("outcome %s", json.dumps([kind, name, outcome]))
        log.info("modules %s", json.dumps(sorted(set(sys.modules) - self.modules)))


def main() -> None:
    worker_process.WorkerProcess = AttackingProcess  # type: ignore[assignment, misc]
    worker_process.main()


if __name__ == "__main__":
    main()
