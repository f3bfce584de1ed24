"""Certificates about to expire are told of at a start, and once at each of the thresholds."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import trio

from sozu_trio.config.addresses import Address
from sozu_trio.config.certificates import DAY, ListenerCertificate
from sozu_trio.main.events import Events
from sozu_trio.main.expiring import PERIOD, watch_expiry
from sozu_trio.routing.state import EMPTY, State, certificate_key
from tests.tls.parts import NOW, issue

pytestmark = pytest.mark.virtual_time

HERE = Address("127.0.0.1", 443)


def state_of(*days: float) -> State:
    """One with certificates that expire in so many days."""
    records = [
        ListenerCertificate(address=HERE, certificate=issue(f"{index}.example", end=NOW + each * DAY).read(None))
        for index, each in enumerate(days)
    ]
    return replace(EMPTY, certificates={certificate_key(each): each for each in records})


async def told(state: State, seconds: float) -> Sequence[dict[str, Any]]:
    """Events in that time."""
    events = Events()
    begun = trio.current_time()
    with events.listen() as hearing:
        with trio.move_on_after(seconds):
            await watch_expiry(lambda: state, events, lambda: NOW + trio.current_time() - begun)
        events.end()
        return [event async for event in hearing]


async def test_at_a_start_once_for_each_that_is_near_its_end(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    found = await told(state_of(31, 29.5, 6.5, 0.5, -1), PERIOD * 2.5)
    assert [(each["kind"], each["address"]) for each in found] == [("CERTIFICATE_EXPIRING", str(HERE))] * 4
    for each, name, when in zip(found, "1234", ("in 29 days", "in 6 days", "in 0 days", "has expired"), strict=True):
        assert each["details"].startswith(f"certificate {name}.example (")
        assert each["details"].endswith(when)
        assert each["details"] in caplog.text


async def test_at_each_threshold_once() -> None:
    found = await told(state_of(7 + 0.5 * PERIOD / DAY), PERIOD * 3.5)
    assert [each["details"].rpartition(" expires ")[2] for each in found] == ["in 7 days", "in 6 days"]


async def test_none_there_are_many_and_nobody_waits_for_them() -> None:
    assert await told(EMPTY, PERIOD * 2.5) == []
