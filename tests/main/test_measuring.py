"""Counters, all of them or those that are asked for."""

import re
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sozu_trio.telemetry.counters import GAUGES, NAMES
from tests.main.looking_parts import AskedMain, open_main
from tests.tls.parts import issue

PAGE = Path(__file__).parents[2] / "docs" / "ctl.md"
SECURED = """
[[listeners]]
protocol = "https"
address = "$https"
"""


def documented(heading: str) -> dict[str, bool]:
    """Name → whether it is called a gauge, by the table behind `heading` in the reference."""
    section = PAGE.read_text().split("#### `metrics get`")[1].split("\n####")[0]
    table = section.partition(f"\n{heading}:\n")[2].split("\nOf ")[0]
    listed = [
        (name, what.endswith(("gauge", "gauges")))
        for names, what in re.findall(r"^\| (`.*?`) \| (.*) \|$", table, re.MULTILINE)
        for name in re.findall("`(.+?)`", names)
    ]
    assert len(dict(listed)) == len(listed)
    return dict(listed)


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


async def test_the_reference_lists_every_counter_and_no_other(tmp_path: Path) -> None:
    issued = issue("a.example", begin=time.time() - 1000, end=time.time() + 1000)
    async with open_main(tmp_path, SECURED) as main:
        address = str(main.addresses["https"])
        given = {"address": address, "certificate": issued.pem.decode(), "key": issued.key_pem.decode()}
        await main.ask("certificate add", **given)
        metrics = await main.ask("metrics get")
    of_workers, of_main = documented("Of each worker, and in `total`"), documented("Of `main`")
    assert of_workers.keys() == metrics["total"].keys()
    assert {name for name, gauge in of_workers.items() if gauge} == {NAMES[each] for each in GAUGES}
    assert of_main.keys() == metrics["main"].keys()
    assert all(of_main.values())
