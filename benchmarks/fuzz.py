"""fuzz.py control|tls [--seconds 60] [--seed N] — `scripts/fuzz` calls it.

Exit code 1: something was not as it must be; the seed that is printed finds it again.
"""

import argparse
import random

from benchmarks import fuzz_control, fuzz_tls
from benchmarks.fuzz_beside import seconds

TARGETS = {"control": fuzz_control, "tls": fuzz_tls}


def main() -> None:
    options = command_line()
    seed = random.randrange(2**32) if options.seed is None else options.seed
    print(f"seed {seed}", flush=True)
    if wrong := TARGETS[options.target].main(options, seed):
        raise SystemExit("\n".join(f"fuzz failed: {problem}" for problem in wrong))


def command_line() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/fuzz", description="Garbage in, failures out.")
    targets = parser.add_subparsers(dest="target", required=True, metavar="|".join(TARGETS))
    control = targets.add_parser("control", help="the control socket")
    tls = targets.add_parser("tls", help="an https listener, without and with PROXY headers")
    for target in (control, tls):
        target.add_argument("--seconds", type=seconds, default=60, help="how long (60)")
        target.add_argument("--seed", type=int, help="send what the run with this seed sent (a new one each time)")
    fuzz_control.add_options(control)
    return parser.parse_args()


if __name__ == "__main__":
    main()
