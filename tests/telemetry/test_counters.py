"""Counters: names, snapshot and sum."""

from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sozu_trio.telemetry.counters import CIPHER_COUNTERS, GAUGES, NAMES, Counters, read_counters

WIDTH = len(Counters().numbers())


def test_every_counter_has_a_name_of_its_own() -> None:
    assert {field.name for field in fields(Counters)} == {*NAMES, "by_status", "by_cipher"}
    assert len({*NAMES.values(), *CIPHER_COUNTERS}) == len(NAMES) + len(CIPHER_COUNTERS)


def test_a_snapshot_has_every_name_from_the_start() -> None:
    snapshot = Counters().snapshot()
    assert set(snapshot.values()) == {0}
    assert {*NAMES.values(), *CIPHER_COUNTERS} < set(snapshot)


def test_a_snapshot_shows_what_was_counted() -> None:
    counters = Counters(sessions=2, refused=1, requests=7, bytes_in=100)
    for status in (0, 100, 200, 204, 301, 404, 503, 999):
        counters.by_status[status // 100] += 1
    shown = {name: value for name, value in counters.snapshot().items() if value}
    assert shown == {
        "client.connections": 2,
        "listener.connection_capped": 1,
        "http.requests": 7,
        "bytes_in": 100,
        "http.status.none": 1,
        "http.status.1xx": 1,
        "http.status.2xx": 2,
        "http.status.3xx": 1,
        "http.status.4xx": 1,
        "http.status.5xx": 1,
        "http.status.other": 1,
    }


def test_counters_of_several_workers_add_up() -> None:
    total, one, two = Counters(), Counters(requests=3, sessions=1), Counters(requests=4, retries=1)
    one.by_status[2], two.by_status[2] = 3, 4
    total.add(one)
    total.add(two)
    assert (total.requests, total.sessions, total.retries, total.by_status[2]) == (7, 1, 1, 7)
    assert (one.requests, one.by_status[2]) == (3, 3)


def test_of_a_maximum_the_larger_one_stays() -> None:
    total = Counters(longest_hold=5)
    for longest in (7, 3):
        total.add(Counters(longest_hold=longest))
    assert total.snapshot()["configuration.longest_hold_us"] == 7


@given(st.lists(st.integers(0, 1 << 60), min_size=WIDTH, max_size=WIDTH))
def test_counters_travel_as_numbers(numbers: list[int]) -> None:
    counters = read_counters(numbers)
    assert counters.numbers() == tuple(numbers)
    assert sum(counters.snapshot().values()) == sum(numbers)


def test_each_counter_travels_as_itself() -> None:
    for attribute in NAMES:
        alone = Counters()
        setattr(alone, attribute, 7)
        assert read_counters(alone.numbers()) == alone
    alone = Counters(by_status=list(range(10)), by_cipher=list(range(len(CIPHER_COUNTERS))))
    assert read_counters(alone.numbers()) == alone


def test_ciphers_are_counted_by_the_names_sozu_has_for_them() -> None:
    total, other = Counters(), Counters()
    agreed = ("TLS_AES_256_GCM_SHA384", "ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256", "AES128-SHA", "?")
    for cipher in agreed:
        total.agreed_on(cipher)
    other.agreed_on("AES128-SHA")
    total.add(other)
    assert {name: value for name, value in total.snapshot().items() if value} == {
        "tls.cipher.TLS13_AES_256_GCM_SHA384": 1,
        "tls.cipher.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": 2,
        "tls.cipher.TLS_RSA_WITH_AES_128_CBC_SHA": 2,
        "tls.cipher.other": 1,
    }


@pytest.mark.parametrize("numbers", [[], [0] * (WIDTH - 1), [0] * (WIDTH + 1), [-1] * WIDTH])
def test_other_numbers_are_no_counters(numbers: list[int]) -> None:
    with pytest.raises(ValueError, match=f"want {WIDTH} counters"):
        read_counters(numbers)


def test_failed_handshakes_are_counted_by_their_kind() -> None:
    counters = Counters()
    for kind in ("not_tls", "timeout", "timeout", "invalid_certificate", "what nobody", "knows"):
        counters.handshake_failed(kind)
    failed = {name: value for name, value in counters.snapshot().items() if value}
    assert failed == {
        "tls.handshake.failed.not_tls": 1,
        "tls.handshake.failed.timeout": 2,
        "tls.handshake.failed.invalid_certificate": 1,
        "tls.handshake.failed.other": 2,
    }


def test_failed_handshakes_with_backends_are_counted_by_their_kind() -> None:
    counters = Counters()
    for kind in ("expired", "name", "fingerprint", "client_certificate", "not_tls", "timeout", "version", "closed"):
        counters.backend_handshake_failed(kind)
    failed = {name: value for name, value in counters.snapshot().items() if value}
    assert failed == {
        "backend.tls.failed.certificate": 3,
        "backend.tls.failed.client_certificate": 1,
        "backend.tls.failed.not_tls": 1,
        "backend.tls.failed.timeout": 1,
        "backend.tls.failed.other": 2,
    }


def test_limits_are_counted_by_their_name() -> None:
    counters = Counters()
    names = [attribute.removeprefix("limited_") for attribute in NAMES if attribute.startswith("limited_")]
    for name in (*names, "idle", ""):
        counters.limited(name)
    counts = {name: count for name, count in counters.snapshot().items() if count}
    assert counts.keys() == {NAMES[f"limited_{name}"] for name in names}
    assert (counts.pop("limits.idle"), set(counts.values())) == (2, {1})


def test_of_a_process_that_is_no_more_only_totals_count() -> None:
    counters = read_counters([1] * WIDTH)
    counters.close_gauges()
    assert {name for name in NAMES if not getattr(counters, name)} == set(GAUGES)
    assert counters.by_status == [1] * 10
    assert counters.by_cipher == [1] * len(CIPHER_COUNTERS)
