"""Descriptors that outlive an image of main: the next one, under the same process id, goes on with them.

Each has a name: the path of what it locks or listens at. What was left is only copied until the new image has come so
far that there is no way back; up to then everything stands as it was left, for whoever might have to go on instead.
"""

import contextlib
import os
from collections.abc import Iterator, Mapping


class Heirlooms:
    """What was left to this image, and what it will leave."""

    def __init__(self, left: Mapping[str, int] | None = None) -> None:
        """`left`: descriptors by name; None for a main that was started afresh."""
        self.settled = left is None
        """Whether what stands at paths is ours: to be written, and to be cleared away in the end."""
        self.held: dict[str, int] = {}
        """What the next image is to have."""
        self._left = dict(left or {})

    def copy_of(self, name: str) -> int | None:
        """A descriptor of the caller's own, closed on exec; None where nothing of that name was left."""
        return os.dup(self._left[name]) if name in self._left else None

    @contextlib.contextmanager
    def keep(self, name: str, descriptor: int) -> Iterator[None]:
        """While the body runs, `descriptor` is there to be left."""
        self.held[name] = descriptor
        try:
            yield
        finally:
            del self.held[name]

    def settle(self) -> None:
        """There is no way back: close what was left, of which we have copies."""
        self.settled = True
        while self._left:
            os.close(self._left.popitem()[1])
