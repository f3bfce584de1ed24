"""What becomes of a pair of rounds: the difference beside its bar, what was lost, every figure."""

import json

from benchmarks.upgrade import outcome_of
from benchmarks.upgrade_drill.drill import Outcome
from benchmarks.upgrade_drill.paired import Pairs
from benchmarks.upgrade_drill.tally import Tally


def seen(slowest: float, failures: int = 0) -> Outcome:
    return Outcome(Tally(requests=1000, failures=failures, slowest=slowest))


def test_the_slowest_request_beside_the_bar() -> None:
    outcome = outcome_of(Pairs(4000, [seen(0.75)], [seen(0.5)]))
    (row,) = outcome.rows
    assert (row.figure, row.bar, row.is_missed) == (250, 500, False)
    assert outcome.failed == ()
    assert json.loads(json.dumps(outcome.record))["rate"] == 4000


def test_too_slow() -> None:
    (row,) = outcome_of(Pairs(4000, [seen(1.25)], [seen(0.5)])).rows
    assert row.is_missed


def test_what_is_lost_fails_it() -> None:
    outcome = outcome_of(Pairs(4000, [seen(0.25, failures=2)], [seen(0.25)]))
    assert outcome.failed[0] == "upgrade: 2 of 1,000 requests got no complete right answer"
