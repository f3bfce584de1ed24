"""What is sent depends on the seed alone, and has the right things wrong with it."""

from collections import Counter

from benchmarks.fuzz_lines import LARGE, ODD, VERBS, Shots
from sozu_trio.config.limits import ControlLimits
from sozu_trio.control.protocol import NoRequest, read_request

CONTROL_LIMIT = ControlLimits().request
HARMFUL = {"shutdown", "upgrade", "rollback", "state load", "state save"}


def test_the_same_seed_sends_the_same() -> None:
    one, same, other = Shots("1-0"), Shots("1-0"), Shots("1-1")
    sent = [one.next() for _ in range(500)]
    assert sent == [same.next() for _ in range(500)]
    assert sent != [other.next() for _ in range(500)]


def test_lines_end_and_most_are_refused_for_different_reasons() -> None:
    shots = Shots("x")
    reasons: Counter[str] = Counter()
    for _ in range(3000):
        shot = shots.next()
        assert shot.data.endswith(b"\n")
        for line in shot.data.split(b"\n")[:-1]:
            try:
                verb = read_request(line).verb
            except NoRequest as error:
                reasons[str(error)[:20]] += 1
            else:
                reasons["valid"] += 1
                assert shot.may_succeed or verb == "x"
    assert reasons["valid"] > 500
    assert len(reasons) > 50


def test_large_requests_are_just_short_of_the_limit() -> None:
    shots = Shots("x")
    for _ in range(3 * len(LARGE)):
        shot = shots.large()
        assert len(shot.data) < CONTROL_LIMIT
        assert len(shot.data) > CONTROL_LIMIT / 2
        assert not shot.may_succeed


def test_nothing_harmful_is_asked() -> None:
    assert HARMFUL.isdisjoint(verb for verb, _ in VERBS)
    assert HARMFUL.isdisjoint(odd for odd in ODD if isinstance(odd, str))
