"""Clients of our own, where wrk cannot do or check what is asked for: threads that ask again and again.

They cost more than wrk does. That lowers requests per second, and leaves the relay's CPU per request as it is.
"""

import statistics
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from benchmarks.measure import Load, WrongAnswer

PATIENCE = 10
"""Seconds anything may take."""

Ask = Callable[[], None]
"""One request and the whole answer. Raises OSError, WrongAnswer."""
Client = Callable[[], AbstractContextManager[Ask]]
"""A client's life, in a thread of its own; what it begins with may raise as Ask does."""


@dataclass
class Seen:
    """What the clients have seen, all of them together."""

    seconds: list[float] = field(default_factory=list)
    """Of each request, from the first step towards it to the end of its answer."""
    trouble: list[Exception] = field(default_factory=list)


def load_by(clients: Sequence[Client], seconds: float) -> Load:
    """Have all of them ask for so long, each at least once. Raises WrongAnswer."""
    seen, began = Seen(), time.monotonic()
    threads = [threading.Thread(target=come, args=(client, began + seconds, seen)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.monotonic() - began
    if seen.trouble:
        raise WrongAnswer(str(seen.trouble[0]) or repr(seen.trouble[0])) from seen.trouble[0]
    milliseconds = [1000 * each for each in seen.seconds]
    return Load(
        requests=len(milliseconds),
        rate=len(milliseconds) / took,
        p50=statistics.median(milliseconds),
        p99=slowest(milliseconds, 100),
        p999=slowest(milliseconds, 1000),
    )


def slowest(latencies: Sequence[float], of: int) -> float:
    """What only one `of` so many exceeds; of fewer, never more than was seen."""
    return statistics.quantiles(latencies, n=of, method="inclusive")[-1] if len(latencies) > 1 else latencies[0]


def come(client: Client, deadline: float, seen: Seen) -> None:
    """One client, at least once, and again and again; the first trouble, of whichever, ends it."""
    try:
        with client() as ask:
            while not seen.trouble:
                began = time.monotonic()
                ask()
                seen.seconds.append(time.monotonic() - began)
                if time.monotonic() >= deadline:
                    return
    except (OSError, WrongAnswer) as error:
        seen.trouble.append(error)
