"""What a request costs in calls, counted on the real proxy."""

import gc
import sys
import tracemalloc

import pytest

from benchmarks import lockstep
from benchmarks.counting import count, name_of
from benchmarks.lockstep import KINDS, heads_of
from benchmarks.measure import WrongAnswer


@pytest.mark.parametrize("kind", KINDS)
def test_counts_are_those_of_the_run_before(kind: str) -> None:
    (counts, system_calls), (again, system_calls_again) = count(kind), count(kind)
    assert system_calls == system_calls_again
    assert (counts.steps, counts.passes) == (again.steps, again.passes)
    assert counts.python_calls == pytest.approx(again.python_calls, rel=0.03)
    assert counts.builtin_calls == pytest.approx(again.builtin_calls, rel=0.05)
    assert counts.peak_bytes == pytest.approx(again.peak_bytes, rel=0.03)


def test_a_small_request() -> None:
    counts, system_calls = count("small")
    assert system_calls["socket.recv"] == system_calls["socket.send"] == 2  # each side, once
    assert counts.system_calls == sum(system_calls.values())
    assert counts.builtin_calls > counts.system_calls
    assert counts.python_calls > counts.steps >= counts.passes > 0
    assert counts.peak_bytes > 0


def test_a_new_connection_is_more() -> None:
    (kept, _), (new, system_calls) = count("small"), count("connection")
    assert system_calls["socket._accept"] >= 1
    assert new.python_calls > kept.python_calls


def test_a_wrong_answer_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lockstep, "ANSWER", lockstep.ANSWER.replace(b"200 OK", b"503 No"))
    with pytest.raises(WrongAnswer, match=r"the proxy answered b'HTTP/1\.1 503"):
        count("small")


def test_nothing_is_left_switched_on() -> None:
    count("small")
    assert gc.isenabled()
    assert not tracemalloc.is_tracing()
    assert sys.getprofile() is None


def test_names_of_functions() -> None:
    assert name_of([].append) == "list.append"
    assert name_of(len) == "builtins.len"


def test_heads() -> None:
    (small,) = heads_of("small")
    assert small.endswith(b"\r\n\r\n")
    assert len(set(heads_of("browser"))) == 1000
