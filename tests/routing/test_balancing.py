"""Whom each policy chooses: shares by weight, nobody starved, whoever comes and goes."""

import random
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sozu_trio.config.clusters import LoadBalancing
from sozu_trio.routing.balancing import LeastLoaded, PowerOfTwo, RoundRobin, WeightedRandom, make_balancer


class Server:
    """A backend as a balancer sees it."""

    def __init__(self, name: str, weight: int = 1, load: float = 0) -> None:
        self.name = name
        self.weight = weight
        self.now_loaded = load

    def load(self) -> float:
        return self.now_loaded


def servers(*weights: int) -> list[Server]:
    return [Server(name, weight) for name, weight in zip("abcdefghij", weights, strict=False)]


def draws(*numbers: float) -> Callable[[], float]:
    """A source of just these random numbers."""
    return iter(numbers).__next__


def no_draws() -> float:
    raise AssertionError("no random number is needed")


def spread(start: float = 0.0) -> Callable[[], float]:
    """Numbers that fill [0, 1) evenly."""
    return random.Random(start).random


def names(chosen: Iterable[Server]) -> str:
    return "".join(server.name for server in chosen)


@pytest.mark.parametrize("policy", list(LoadBalancing))
def test_every_policy_has_a_balancer(policy: LoadBalancing) -> None:
    balancer = make_balancer(policy, spread())
    candidates = servers(1, 1, 1)
    assert {balancer.pick(candidates).name for _ in range(100)} == {"a", "b", "c"}


@pytest.mark.parametrize("policy", list(LoadBalancing))
@pytest.mark.parametrize("weight", [0, 1, 100])
def test_one_candidate_is_chosen_without_ado(policy: LoadBalancing, weight: int) -> None:
    only = servers(weight)
    assert make_balancer(policy, no_draws).pick(only) is only[0]


@pytest.mark.parametrize("policy", list(LoadBalancing))
def test_weight_zero_is_never_chosen_beside_others(policy: LoadBalancing) -> None:
    balancer = make_balancer(policy, spread())
    for weights, expected in [((0, 2, 0, 1, 0), {"b", "d"}), ((0, 5), {"b"}), ((5, 0), {"a"})]:
        candidates = servers(*weights)
        assert {balancer.pick(candidates).name for _ in range(200)} == expected


@pytest.mark.parametrize("policy", list(LoadBalancing))
def test_all_of_weight_zero_count_alike(policy: LoadBalancing) -> None:
    balancer = make_balancer(policy, spread())
    candidates = servers(0, 0, 0)
    chosen = Counter(balancer.pick(candidates).name for _ in range(3000))
    assert all(900 < chosen[name] < 1100 for name in "abc")


class TestRoundRobin:
    def test_it_is_smooth(self) -> None:
        balancer, candidates = RoundRobin(), servers(5, 1, 1)
        assert names(balancer.pick(candidates) for _ in range(14)) == "aabacaa" * 2

    @given(st.lists(st.integers(0, 12), min_size=2, max_size=6).filter(any), st.integers(1, 3))
    def test_every_round_gives_each_exactly_its_weight(self, weights: list[int], rounds: int) -> None:
        balancer, candidates = RoundRobin(), servers(*weights)
        for _ in range(rounds):
            chosen = Counter(balancer.pick(candidates) for _ in range(sum(weights)))
            assert [chosen[server] for server in candidates] == weights

    def test_the_order_of_candidates_does_not_matter(self) -> None:
        balancer, candidates, shuffle = RoundRobin(), servers(3, 2, 1), random.Random(1).sample
        chosen = Counter(balancer.pick(shuffle(candidates, 3)) for _ in range(60))
        assert [chosen[server] for server in candidates] == [30, 20, 10]

    def test_one_that_comes_and_goes_has_its_share_of_the_time_it_is_there(self) -> None:
        balancer, candidates = RoundRobin(), servers(1, 1, 1)
        chosen = Counter(balancer.pick(candidates[n % 2 :]) for n in range(1200))
        assert chosen[candidates[0]] == 200
        assert abs(chosen[candidates[1]] - chosen[candidates[2]]) <= 2

    def test_a_fortune_made_among_many_is_not_paid_off_among_few(self) -> None:
        balancer, candidates = RoundRobin(), [Server(str(n), 100) for n in range(100)]
        payer = balancer.pick(candidates)
        few = [payer, candidates[-1]]
        chosen = [balancer.pick(few) for _ in range(20)]
        assert 8 <= chosen.count(payer) <= 10

    def test_a_change_of_weights_holds_at_once(self) -> None:
        balancer, (a, b) = RoundRobin(), servers(200, 100)
        for _ in range(4):
            balancer.pick([a, b])
        a.weight, b.weight = 1, 3
        chosen = Counter(balancer.pick([a, b]) for _ in range(40))
        assert 28 <= chosen[b] <= 32

    def test_one_whose_weight_becomes_zero_is_chosen_no_more(self) -> None:
        balancer, (a, b, c) = RoundRobin(), servers(5, 4, 1)
        assert balancer.pick([a, b, c]) is a
        b.weight = 0
        assert b not in [balancer.pick([a, b, c]) for _ in range(12)]

    def test_sets_that_take_turns_are_each_served_evenly(self) -> None:
        balancer, candidates = RoundRobin(), servers(*[1] * 7)
        chosen = Counter(balancer.pick(candidates[:2] if n % 2 else candidates[2:]) for n in range(100))
        assert [chosen[server] for server in candidates] == [25, 25, *[10] * 5]

    def test_those_long_gone_are_forgotten(self) -> None:
        balancer = RoundRobin()
        for n in range(50):
            balancer.pick([Server(f"a{n}"), Server(f"b{n}")])
        assert len(balancer._earned) <= 6

    def test_who_stays_is_served_evenly_while_others_are_forgotten(self) -> None:
        balancer, (a, b) = RoundRobin(), servers(1, 1)
        chosen = Counter(balancer.pick([a, b, Server("passing")]).name for _ in range(300))
        assert all(90 <= chosen[name] <= 110 for name in ["a", "b", "passing"])

    @given(st.lists(st.integers(1, 5), min_size=3, max_size=6), st.integers(0, 2**32))
    def test_whoever_comes_and_goes_nobody_who_stays_is_starved(self, weights: list[int], seed: int) -> None:
        balancer, chance = RoundRobin(), random.Random(seed)
        stays, *others = servers(*weights)
        turns = [0]
        for turn in range(1, 201):
            there = chance.sample(others, chance.randint(1, len(others)))
            if turn % 7 == 0:
                others[-1] = Server("new", weights[-1])
            if balancer.pick([*there, stays]) is stays:
                turns.append(turn)
        turns.append(201)
        assert max(later - earlier for earlier, later in pairwise(turns)) <= 3 * sum(weights)


class TestWeightedRandom:
    def test_the_draw_is_laid_along_the_weights(self) -> None:
        candidates = servers(1, 0, 2, 1)
        balancer = WeightedRandom(draws(0, 0.2499, 0.25, 0.7499, 0.75, 0.9999))
        assert names(balancer.pick(candidates) for _ in range(6)) == "aaccdd"

    @given(st.lists(st.integers(0, 255), min_size=2, max_size=8).filter(any), st.floats(0, 1, exclude_max=True))
    def test_any_draw_finds_one_with_weight(self, weights: list[int], draw: float) -> None:
        assert WeightedRandom(draws(draw)).pick(servers(*weights)).weight > 0


class TestLeastLoaded:
    def test_the_least_load_per_weight_is_chosen(self) -> None:
        balancer = LeastLoaded(lambda: 0.0)
        a, b, c = Server("a", 1, 2), Server("b", 4, 7), Server("c", 2, 4)
        assert balancer.pick([a, b, c]) is b
        b.now_loaded = 9
        assert balancer.pick([c, b]) is c

    def test_the_idle_share_by_weight(self) -> None:
        candidates = [*servers(1, 3), Server("z", 9, load=1)]
        balancer = LeastLoaded(draws(0, 0.2499, 0.25, 0.9999))
        assert names(balancer.pick(candidates) for _ in range(4)) == "aabb"

    def test_loads_follow_the_weights_when_every_request_stays(self) -> None:
        balancer, candidates = LeastLoaded(spread()), servers(1, 2, 5)
        for _ in range(800):
            balancer.pick(candidates).now_loaded += 1
        assert [server.now_loaded for server in candidates] == [100, 200, 500]


class TestPowerOfTwo:
    def test_the_less_loaded_of_two_is_chosen(self) -> None:
        busy, idle, least = Server("busy", load=5), Server("idle", load=1), Server("least")
        candidates = [busy, idle, least]
        assert PowerOfTwo(draws(0.0, 0.0)).pick(candidates) is idle
        assert PowerOfTwo(draws(0.5, 0.0)).pick(candidates) is idle
        assert PowerOfTwo(draws(0.9, 0.9)).pick(candidates) is least

    def test_the_first_of_equals_is_chosen(self) -> None:
        candidates = servers(1, 1, 1)
        assert PowerOfTwo(draws(0.9, 0.0)).pick(candidates) is candidates[2]

    def test_load_is_seen_by_weight(self) -> None:
        small, large = Server("small", 1, 2), Server("large", 4, 4)
        assert PowerOfTwo(draws(0.0, 0.5)).pick([small, large]) is large

    @given(st.floats(0, 1, exclude_max=True), st.floats(0, 1, exclude_max=True))
    def test_the_two_are_different(self, first: float, second: float) -> None:
        busy, other = Server("busy", 9, load=100), Server("other")
        assert PowerOfTwo(draws(first, second)).pick([busy, other]) is other

    def test_only_one_with_weight_leaves_no_choice(self) -> None:
        candidates = servers(0, 3, 0)
        assert PowerOfTwo(draws(0.5)).pick(candidates) is candidates[1]

    def test_no_server_is_far_above_the_rest(self) -> None:
        balancer, candidates = PowerOfTwo(spread()), servers(*[1] * 10)
        for _ in range(1000):
            balancer.pick(candidates).now_loaded += 1
        assert max(server.now_loaded for server in candidates) <= 105
