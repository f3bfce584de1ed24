"""The limit of connections per client address: shown as it is in force, changed and kept."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.main.looking_parts import AskedMain, open_main


@pytest.fixture
async def main(tmp_path: Path) -> AsyncIterator[AskedMain]:
    async with open_main(tmp_path) as asked:
        yield asked


async def test_the_limit_as_it_is_in_force(main: AskedMain) -> None:
    off = {"limit": 0, "retry_after": 60, "clusters": []}
    assert await main.ask("connection-limit show") == off
    await main.ask("connection-limit set", limit=5)
    assert await main.ask("connection-limit show") == {**off, "limit": 5}
    assert main.parts.transactions.state.settings.max_connections_per_ip == 5
    await main.ask("connection-limit remove")
    assert await main.ask("connection-limit show") == off


async def test_clusters_that_say_something_of_their_own(main: AskedMain) -> None:
    await main.apply(
        {"verb": "connection-limit set", "limit": 5},
        {"verb": "cluster update", "id": "api", "max-connections-per-ip": 0},
        {"verb": "cluster update", "id": "relay", "retry-after": 3},
    )
    assert (await main.ask("connection-limit show"))["clusters"] == [
        {"cluster": "api", "limit": 0, "retry_after": 60},
        {"cluster": "relay", "limit": 5, "retry_after": 3},
    ]


async def test_what_is_no_limit(main: AskedMain) -> None:
    assert "limit: missing" in await main.refusal("connection-limit set")
    assert "limit: found -1" in await main.refusal("connection-limit set", {"limit": -1})
