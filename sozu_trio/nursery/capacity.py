"""How many connections a worker holds, and the most it may hold.

A plain integer: everything happens in one task at a time, and a limiter that waits would queue where we must refuse.
"""


class Capacity:
    """Exact: `take` succeeds while fewer than `limit` places are taken and not given back."""

    __slots__ = ("limit", "taken")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.taken = 0

    def take(self) -> bool:
        if self.taken >= self.limit:
            return False
        self.taken += 1
        return True

    def take_beyond(self) -> None:
        """Take a place even where there is none."""
        self.taken += 1

    def give(self) -> None:
        assert self.taken > 0
        self.taken -= 1
