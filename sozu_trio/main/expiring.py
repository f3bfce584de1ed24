"""Certificates about to expire: whoever should have renewed them is told 30, 7 and 1 days before, and at a start.

A line in the log, and an event CERTIFICATE_EXPIRING; the kind is ours, as Sōzu has none.
"""

import logging
import math
import time
from collections.abc import Callable, Collection
from typing import Final

import trio

from sozu_trio.config.certificates import ListenerCertificate, days_left, expiry_passed
from sozu_trio.main.events import Event, Events
from sozu_trio.routing.spoken import spoken_certificate
from sozu_trio.routing.state import State
from sozu_trio.telemetry.plural import count

log = logging.getLogger(__name__)

PERIOD: Final = 600.0
"""Seconds between two looks."""
AT_ONCE: Final = 500
"""Certificates looked at between two checkpoints: about 2 ms."""


async def watch_expiry(state: Callable[[], State], events: Events, clock: Callable[[], float] = time.time) -> None:
    """Look again and again, for ever. `clock`: seconds since the epoch."""
    before = -math.inf
    while True:
        now = clock()
        await _look(tuple(state().certificates.values()), events, before, now)
        before = now
        await trio.sleep(PERIOD)


async def _look(records: Collection[ListenerCertificate], events: Events, before: float, now: float) -> None:
    for number, record in enumerate(records, 1):
        if any(expiry_passed(record.certificate, before, now)):
            _tell(record, events, now)
        if number % AT_ONCE == 0:
            await trio.lowlevel.checkpoint()


def _tell(record: ListenerCertificate, events: Events, now: float) -> None:
    days = days_left(record.certificate, now)
    when = f"expires in {count(days, 'day')}" if days >= 0 else "has expired"
    said = f"certificate {spoken_certificate(record)} {when}"
    log.warning("%s", said)
    events.tell(Event(kind="CERTIFICATE_EXPIRING", address=record.address, details=said))
