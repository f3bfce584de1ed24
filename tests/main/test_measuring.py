"""Counters, all of them or those that are asked for."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.main.looking_parts import AskedMain, open_main


@pytest.fixture
async def main(tmp_path: Path) -> AsyncIterator[AskedMain]:
    async with open_main(tmp_path) as asked:
        yield asked


async def test_metrics(main: AskedMain) -> None:
    async with main.connect() as client:
        assert (await client.get("/", host="nowhere.test")).status == 404
    metrics = await main.ask("metrics get")
    assert metrics["main"]["configuration.generation"] == 1
    assert metrics["main"]["configuration.backends"] == 3
    assert metrics["main"]["process.uptime_seconds"] >= 0
    assert metrics["workers"] == {"0": metrics["total"]}
    assert metrics["total"]["http.requests"] == metrics["total"]["http.status.4xx"] == 1


async def test_metrics_by_the_beginning_of_their_names(main: AskedMain) -> None:
    metrics = await main.ask("metrics get", names=["http.status.2", "configuration.gen", "client.connections"])
    assert metrics == {
        "main": {"configuration.generation": 1},
        "workers": {"0": {"client.connections": 0, "http.status.2xx": 0}},
        "total": {"client.connections": 0, "http.status.2xx": 0},
    }
    assert (await main.answer("metrics get", {"names": ["client.connections"]})).message == "1 counter"


async def test_no_counter_is_called_so(main: AskedMain) -> None:
    answer = await main.answer("metrics get", {"names": ["none", "x"]})
    assert answer.message == "no counter has a name that begins with 'none' or 'x'"
    assert answer.content == {"main": {}, "workers": {"0": {}}, "total": {}}
