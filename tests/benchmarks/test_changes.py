"""What is changed in turn, the pace of requests, and the table of latencies."""

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import changes
from benchmarks.changes import KEPT, Stream, bars_of, paced, streaming, table, turn
from benchmarks.measure import Figures, WrongAnswer
from benchmarks.peers import HOST, many_hosts, sozu_trio
from sozu_trio.config.load import load_config

FIGURES = Figures(requests=1000, cpu=80, rate=2000, p50=1, p99=4, p999=8, rss=1)


def test_after_a_turn_all_is_as_it_was() -> None:
    verbs = [verb for verb, _ in turn(9000)]
    assert verbs.count("backend add") == verbs.count("backend remove")
    assert verbs.count("cluster add") == verbs.count("cluster remove")
    policies = [body["load-balancing-policy"] for verb, body in turn(9000) if verb == "cluster update"]
    assert policies[-1] == "round-robin"


def test_the_cluster_that_is_changed_is_the_one_asked_for(tmp_path: Path) -> None:
    sozu_trio(many_hosts(3), program=KEPT).command(tmp_path, 8080, 9000)
    config = load_config(tmp_path / "config.toml")
    (frontend,) = [each for each in config.http_frontends if each.hostname == HOST]
    assert frontend.cluster_id == changes.CLUSTER


def test_requests_have_a_pace() -> None:
    assert HOST in paced()
    assert "math.random(0, 64)" in paced()


def test_latencies_side_by_side() -> None:
    slow = replace(FIGURES, p50=2, p99=6, p999=32)
    heading, p50, p99, p999 = table([slow, FIGURES, slow], [FIGURES, FIGURES, FIGURES])
    assert len(heading) == len(p50)
    assert p50 == ("p50", "2.00", "1.00", "2.00", "1.00–2.00")
    assert p99 == ("p99", "6.00", "4.00", "1.50", "1.00–1.50")
    assert p999 == ("p99.9", "32.00", "8.00", "4.00", "1.00–4.00")


def test_bars() -> None:
    median, hold = bars_of(Stream([0.004, 0.006, 0.3], [0.001, 0.025]))
    assert (median.figure, median.is_missed) == (6, False)
    assert (hold.figure, hold.is_missed) == (25, True)


def test_a_proxy_that_is_not_there(tmp_path: Path) -> None:
    threads = threading.active_count()
    with pytest.raises(WrongAnswer, match="no proxy listens"), streaming(Stream(), tmp_path, 9000):
        pass
    assert threading.active_count() == threads


def test_what_fails_beside_the_changes_is_what_is_told(tmp_path: Path) -> None:
    with pytest.raises(WrongAnswer, match="status 503"), streaming(Stream(), tmp_path, 9000):
        raise WrongAnswer("status 503")


def test_nobody_waits_until_a_proxy_rests_to_which_changes_come() -> None:
    proxy = sozu_trio(many_hosts(3))
    assert proxy.rests
    assert not replace(proxy, beside=lambda folder, backend: streaming(Stream(), folder, backend)).rests
