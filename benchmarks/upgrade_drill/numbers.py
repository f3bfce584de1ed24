"""Which of the numbers that were sent came back, and in which order: what a WebSocket client judges its echoes by."""


class Numbers:
    """Numbers from 0 upwards are sent one after the other, and should be heard once each, in that order."""

    def __init__(self) -> None:
        self.sent = 0
        self.disordered = 0
        """Heard after a later one, or more than once, or never sent."""
        self._next = 0
        self._skipped: set[int] = set()

    @property
    def lost(self) -> int:
        """How many were sent and have not been heard so far."""
        return len(self._skipped) + self.sent - self._next

    def send(self) -> int:
        """The next number."""
        self.sent += 1
        return self.sent - 1

    def hear(self, number: int) -> bool:
        """`number` has come back; whether it was its turn."""
        if number == self._next < self.sent:
            self._next += 1
            return True
        if self._next < number < self.sent:
            self._skipped.update(range(self._next, number))
            self._next = number + 1
        else:
            self.disordered += 1
            self._skipped.discard(number)
        return False
