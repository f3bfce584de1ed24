"""Which of the backends that may be used now takes the next request: one class per policy, chosen by `make_balancer`.

The candidates are given anew at each pick (who is in back-off, at its limit or gone is not among them), so nothing here
counts on the same ones coming again. Weights are shares: a backend of weight 0 is chosen only when all have 0, and then
all count alike.
"""

import math
from bisect import bisect_right
from collections.abc import Callable, Hashable, Sequence
from itertools import accumulate
from typing import Protocol, TypeVar

from sozu_trio.config.clusters import LoadBalancing


class Candidate(Hashable, Protocol):
    """A backend to choose. The same backend is equal to itself from pick to pick."""

    @property
    def weight(self) -> int:
        """0 or more."""
        ...

    def load(self) -> float:
        """What LEAST_LOADED and POWER_OF_TWO compare, by unit of weight; 0 or more."""
        ...


C = TypeVar("C", bound=Candidate)


class Balancer(Protocol):
    def pick(self, candidates: Sequence[C]) -> C:
        """One of `candidates`, of which there is at least one."""
        ...


def make_balancer(policy: LoadBalancing, random: Callable[[], float]) -> Balancer:
    """`random` gives numbers uniform in [0, 1), as `random.random` does. One balancer serves one cluster."""
    match policy:
        case LoadBalancing.ROUND_ROBIN:
            return RoundRobin()
        case LoadBalancing.RANDOM:
            return WeightedRandom(random)
        case LoadBalancing.LEAST_LOADED:
            return LeastLoaded(random)
        case LoadBalancing.POWER_OF_TWO:
            return PowerOfTwo(random)


class RoundRobin:
    """Smooth weighted round robin: each pick, all earn their weight, the richest is chosen and pays what all earned.

    With the same candidates throughout, each is chosen exactly its weight in every sum-of-weights picks, spread evenly.
    One that is not among the candidates for a while keeps what it has, so coming and going gains and loses nothing.
    """

    def __init__(self) -> None:
        self._earned: dict[Hashable, float] = {}
        self._price = 0  # of the last pick: the sum of weights it was made among
        self._crowd = 0  # the most candidates there ever were

    def pick(self, candidates: Sequence[C]) -> C:
        if len(candidates) == 1:
            return candidates[0]
        weights = _weights(candidates)
        price = sum(weights)
        if price != self._price:
            self._reprice(price)
        if len(candidates) > self._crowd:
            self._crowd = len(candidates)
        if len(self._earned) > 2 * self._crowd:
            self._forget_absent(candidates)
        earned = self._earned
        chosen, most = candidates[0], -math.inf
        for candidate, weight in zip(candidates, weights, strict=True):
            earned[candidate] = fortune = earned.get(candidate, 0) + weight
            if weight and fortune > most:
                chosen, most = candidate, fortune
        earned[chosen] -= price
        return chosen

    def _reprice(self, price: int) -> None:
        """Make every fortune worth as many picks as before: one made with large weights must not last for ages."""
        self._earned = {one: fortune * price / self._price for one, fortune in self._earned.items()}
        self._price = price

    def _forget_absent(self, candidates: Sequence[Candidate]) -> None:
        """Keep only who is here, with the mean at 0, where newcomers begin."""
        here = {one: self._earned.get(one, 0) for one in candidates}
        mean = sum(here.values()) / len(here)
        self._earned = {one: fortune - mean for one, fortune in here.items()}


class WeightedRandom:
    """Each pick on its own, with a chance in proportion to the weight."""

    def __init__(self, random: Callable[[], float]) -> None:
        self._random = random

    def pick(self, candidates: Sequence[C]) -> C:
        if len(candidates) == 1:
            return candidates[0]
        return candidates[_draw(_weights(candidates), self._random())]


class LeastLoaded:
    """The least load per weight; among equals a draw by weight, so that idle backends share what comes first."""

    def __init__(self, random: Callable[[], float]) -> None:
        self._random = random

    def pick(self, candidates: Sequence[C]) -> C:
        if len(candidates) == 1:
            return candidates[0]
        weights = _weights(candidates)
        loads = [one.load() / weight if weight else None for one, weight in zip(candidates, weights, strict=True)]
        least = min(load for load in loads if load is not None)
        return candidates[
            _draw([w if load == least else 0 for w, load in zip(weights, loads, strict=True)], self._random())
        ]


class PowerOfTwo:
    """Two different ones drawn by weight, then the one with less load per weight; the first if they are equal.

    Nearly as even as asking all, and workers that do not know of each other's load do not all run to the same backend.
    """

    def __init__(self, random: Callable[[], float]) -> None:
        self._random = random

    def pick(self, candidates: Sequence[C]) -> C:
        if len(candidates) == 1:
            return candidates[0]
        weights = _weights(candidates)
        first = _draw(weights, self._random())
        others = [*weights[:first], 0, *weights[first + 1 :]]
        if not any(others):
            return candidates[first]
        second = _draw(others, self._random())
        first_load = candidates[first].load() / weights[first]
        return candidates[second if candidates[second].load() / weights[second] < first_load else first]


def _weights(candidates: Sequence[Candidate]) -> list[int]:
    weights = [candidate.weight for candidate in candidates]
    return weights if any(weights) else [1] * len(weights)


def _draw(weights: list[int], at: float) -> int:
    """An index with a chance in proportion to its weight, never one of weight 0; `at` in [0, 1)."""
    bounds = list(accumulate(weights))
    return bisect_right(bounds, at * bounds[-1])
