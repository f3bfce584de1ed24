"""The service manager is kept informed for as long as main serves and stops.

It is looked once a second whether there is something new to say. So no part of main needs to know who wants to hear of
it, and a manager is not flooded by thousands of changes.
"""

import trio

from sozu_trio.main.service_manager import ServiceManager
from sozu_trio.nursery.supervisor import Supervisor
from sozu_trio.telemetry.plural import count

PERIOD = 1.0
"""Seconds between two looks."""
LOOK = 0.05
"""Seconds between two looks whether all workers accept: whoever has started us waits for that."""
PATIENCE = 10.0
"""Seconds a manager waits for the next word while we stop. It is asked for more each PERIOD, so our own limit,
`shutdown_timeout`, is the one that holds, unless main hangs.
"""
ADDRESSES = 6
"""Listeners that are told one by one."""


async def until_in_step(supervisor: Supervisor) -> bool:
    """Wait until every worker accepts on every listener; False where the proxy stops first."""
    while not supervisor.in_step and not supervisor.stopping.is_set():
        with trio.move_on_after(LOOK):
            await supervisor.stopping.wait()
    return supervisor.in_step


async def keep_informed(manager: ServiceManager, supervisor: Supervisor) -> None:
    """Say that we are ready, unless we stop by then, and from then on how it goes and that we live; ends when it is
    cancelled.
    """
    if not manager.there:
        return
    async with trio.open_nursery() as nursery:
        if manager.watchdog is not None:
            nursery.start_soon(_show_life, manager, manager.watchdog / 2, name="watchdog")
        await _tell(manager, supervisor)


async def _tell(manager: ServiceManager, supervisor: Supervisor) -> None:
    if not supervisor.stopping.is_set():
        manager.ready(serving(supervisor))
    while not supervisor.stopping.is_set():
        manager.status(serving(supervisor))
        with trio.move_on_after(PERIOD):
            await supervisor.stopping.wait()
    manager.stopping(stopping(supervisor))
    while True:
        manager.still_stopping(stopping(supervisor), PATIENCE)
        await trio.sleep(PERIOD)


async def _show_life(manager: ServiceManager, period: float) -> None:
    while True:
        manager.alive()
        await trio.sleep(period)


def serving(supervisor: Supervisor) -> str:
    """`generation 7, listening on 0.0.0.0:80 and 0.0.0.0:443`."""
    addresses = [str(address) for address in supervisor.listening]
    if len(addresses) > ADDRESSES:
        addresses[ADDRESSES - 1 :] = [f"{len(addresses) - ADDRESSES + 1} more"]
    *most, last = addresses or ["nothing"]
    where = f"{', '.join(most)} and {last}" if most else last
    return f"generation {supervisor.generation}, listening on {where}"


def stopping(supervisor: Supervisor) -> str:
    """`stopping, 12 sessions left`."""
    return f"stopping, {count(supervisor.counters().sessions, 'session')} left"
