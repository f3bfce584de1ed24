"""Requests a second: as many as there may be, over all workers, and nothing is kept of those who have stopped."""

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from sozu_trio.config.clusters import Cluster
from sozu_trio.config.program import Settings
from sozu_trio.nursery.regions import Regions
from sozu_trio.nursery.tally import Tally
from sozu_trio.proxy import rates as rates_module
from sozu_trio.proxy.rates import Rates
from sozu_trio.testing import Client
from tests.nursery.counting import alone
from tests.proxy.parts import Net, access_log, counters_of

pytestmark = pytest.mark.virtual_time

ANN, BOB = "192.0.2.1", "192.0.2.2"


def workers(count: int, rate: int, burst: int = 0) -> tuple[list[Rates], list[Tally]]:
    regions = Regions()
    settings = Settings(max_requests_per_ip=rate, max_requests_per_ip_burst=burst)
    tallies = [Tally(regions.descriptors, regions.give(1 + number)) for number in range(count)]
    regions.close()
    return [Rates(tally, settings) for tally in tallies], tallies


def sweep(rates: Rates, now: float) -> None:
    assert list(rates.sweep(now)) is not None


async def asked(client: Client, count: int) -> list[tuple[int, bytes | None]]:
    found = [await client.get() for _ in range(count)]
    return [(each.status, each.fields.get(b"retry-after")) for each in found]


async def test_one_address_may_ask_so_often(net: Net) -> None:
    proxy = await net.proxy(await net.backend(), top="max_requests_per_ip = 2\nmax_requests_per_ip_burst = 3")
    client, other = await net.client(proxy), await net.client(proxy)
    assert await asked(client, 2) == [(200, None)] * 2
    assert await asked(other, 2) == [(200, None), (429, b"1")], "of one address"
    assert (await client.get(host="unknown.example")).status == 429, "whatever it asks for"
    await trio.sleep(1)
    assert await asked(client, 3) == [(200, None)] * 2 + [(429, b"1")], "and the connection has stayed open"
    assert (await counters_of(proxy))["http.rate_limited"] == 3
    assert sum("the client's address asks too often" in line for line in await access_log(proxy, 8)) == 3


async def test_a_cluster_may_be_asked_so_often(net: Net) -> None:
    proxy = await net.proxy(
        await net.backend(), cluster="max_requests = 1\nmax_requests_burst = 2", top="retry_after = 9"
    )
    client = await net.client(proxy)
    assert await asked(client, 3) == [(200, None)] * 2 + [(429, b"1")]
    assert (await client.get(host="unknown.example")).status == 404
    assert any("cluster api is asked too often" in line for line in await access_log(proxy, 4))


@pytest.mark.parametrize(("top", "cluster"), [("retry_after = 0", ""), ("", "retry_after = 0")])
async def test_nobody_is_told_when_where_that_is_switched_off(net: Net, top: str, cluster: str) -> None:
    proxy = await net.proxy(await net.backend(), top=top, cluster=f"max_requests = 1\n{cluster}")
    assert await asked(await net.client(proxy), 2) == [(200, None), (429, None)]


async def test_who_is_not_counted_is_told_of(net: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates_module, "MOST", 0)
    proxy = await net.proxy(await net.backend(), top="max_requests_per_ip = 1")
    assert await asked(await net.client(proxy), 3) == [(200, None)] * 3
    await trio.sleep(2)
    assert (await counters_of(proxy))["http.rate_uncounted"] == 3


async def test_what_is_not_limited_is_not_counted(net: Net) -> None:
    proxy = await net.proxy(await net.backend())
    assert await asked(await net.client(proxy), 5) == [(200, None)] * 5
    assert "http.rate_limited" not in await counters_of(proxy)


def test_how_long_to_wait() -> None:
    rates = Rates(alone(), Settings())
    slow = Cluster(cluster_id="slow", max_requests=1, max_requests_burst=2)
    assert [rates.wait_for(slow, 0) for _ in range(4)] == [0, 0, 1, 1]
    assert rates.wait_for(slow, 0.5) == 1
    assert [rates.wait_for(slow, 1) for _ in range(2)] == [0, 1]
    assert [rates.wait_for(slow, 100) for _ in range(3)] == [0, 0, 1], "no more than the burst"
    assert rates.wait_for(Cluster(cluster_id="other", max_requests=1), 100) == 0


def test_a_new_limit_holds_at_once() -> None:
    (rates,), _ = workers(1, 5)
    assert [rates.wait_of(ANN, 0) for _ in range(6)] == [0] * 5 + [1]
    rates.follow(Settings(max_requests_per_ip=1))
    assert [rates.wait_of(ANN, 1) for _ in range(2)] == [0, 1]
    assert rates.wait_of(BOB, 1) == 0


def test_all_workers_take_out_of_one_bucket() -> None:
    (one, other), _ = workers(2, 2, 10)
    passed = sum((one, other)[number % 2].wait_of(ANN, number / 100) == 0 for number in range(1000))
    assert 10 + 2 * 10 - 1 <= passed <= 10 + 2 * 10 + 1


def test_a_worker_that_comes_later_begins_where_the_others_are() -> None:
    (one, other), _ = workers(2, 1, 10)
    assert [one.wait_of(ANN, 0) for _ in range(11)] == [0] * 10 + [1]
    assert other.wait_of(ANN, 0) == 1
    assert other.wait_of(BOB, 0) == 0


def test_what_is_full_again_is_forgotten() -> None:
    both, tallies = workers(2, 2, 4)
    for rates in both:
        for _ in range(2):
            rates.wait_of(ANN, 0)
    for rates in both:
        sweep(rates, 1)
        assert len(rates) == 1
    for now in (3, 4):
        for rates in both:
            sweep(rates, now)
    assert ([len(rates) for rates in both], [len(tally) for tally in tallies]) == ([0, 0], [0, 0])
    assert [both[0].wait_of(ANN, 4) for _ in range(5)] == [0, 0, 0, 0, 1]


def test_there_are_only_so_many_buckets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates_module, "MOST", 3)
    monkeypatch.setattr(rates_module, "SLICE", 2)
    (rates,), (tally,) = workers(1, 1)
    for number in range(9):
        assert rates.wait_of(f"192.0.2.{number}", 0) == 0
    assert (len(rates), len(tally), rates.uncounted) == (3, 3, 6)
    assert rates.wait_of("192.0.2.0", 0) == 1
    assert rates.wait_of("192.0.2.8", 0) == 0
    assert len(list(rates.sweep(5))) == 1, "in slices"
    assert (len(rates), len(tally)) == (0, 0)


STEPS = st.lists(st.tuples(st.integers(0, 2), st.sampled_from([0, 0.01, 0.2, 1, 5]), st.booleans()), max_size=80)


@settings(deadline=None)
@given(st.integers(1, 3), st.integers(1, 5), st.integers(1, 6), STEPS)
def test_never_more_than_the_bursts_and_what_time_brings(
    count: int, rate: int, burst: int, steps: list[tuple[int, float, bool]]
) -> None:
    """One worker is exact; of several, each may let one burst through after each pause in which counts were forgotten,
    and nothing is left after another one.
    """
    all_rates, tallies = workers(count, rate, burst)
    now, passed, level = 0.0, 0, float(burst)
    for number, pause, sweeps in steps:
        now += pause
        level = min(burst, level + pause * rate)
        rates = all_rates[number % count]
        if sweeps:
            sweep(rates, now)
        waits = rates.wait_of(ANN, now)
        if count == 1:
            assert (waits == 0) is (level >= 1) or abs(level - 1) < 1e-6
        passed += not waits
        level -= not waits
    assert passed <= count * burst + rate * now + count
    # First each sees what the others have counted, which leaves it a whole burst below 0 at most.
    for _ in range(2):
        now += 2 * burst / rate + 1
        for rates in all_rates:
            sweep(rates, now)
    assert [len(tally) for tally in tallies] == [0] * count
    assert [len(rates) for rates in all_rates] == [0] * count
