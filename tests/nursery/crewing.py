"""A crew whose workers are tasks of the test."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from sozu_trio.config.program import Program
from sozu_trio.nursery.crew import Crew
from tests.nursery.parts import Workers

TIMEOUT = 7


@asynccontextmanager
async def running(workers: Workers) -> AsyncIterator[Crew]:
    """Three workers."""
    crew = Crew(Program(worker_timeout=TIMEOUT), workers.spawn, workers.take_lines, workers.events.append)
    async with trio.open_nursery() as nursery:
        for worker_id in range(3):
            await nursery.start(crew.keep, worker_id)
        yield crew
        await crew.stop(0)
