"""A descriptor that is of no use but to be given up: what must not fail when there are none then finds one free."""

import contextlib
import os
from collections.abc import Iterator
from contextlib import contextmanager


class SpareDescriptor:
    """There is one as often as one can be had; `close` lets go of it."""

    __slots__ = ("_descriptor",)

    def __init__(self) -> None:
        self._descriptor: int | None = None
        self.renew()

    def renew(self) -> bool:
        """Try to have one again; whether there is one now."""
        if self._descriptor is None:
            # No file: a worker in its sandbox could not open one.
            with contextlib.suppress(OSError):
                self._descriptor = os.memfd_create("spare", os.MFD_CLOEXEC)
        return self._descriptor is not None

    @contextmanager
    def given_up(self) -> Iterator[None]:
        """Without it in the meantime, in which nobody else may run."""
        self.close()
        try:
            yield
        finally:
            self.renew()

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
