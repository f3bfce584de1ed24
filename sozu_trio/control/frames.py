"""A stream of bytes → the lines in it, however it was cut, with nothing kept of a line that is too long.

Sans-IO. Every byte is looked at once and copied once, so a reply of many megabytes costs no more than its size.
"""


class Lines:
    """What has come so far of a line that is not complete, and what to make of the next bytes."""

    __slots__ = ("_held", "_limit", "_pieces", "_skipping")

    def __init__(self, limit: int) -> None:
        """`limit`: bytes of a line without its line feed."""
        self._limit = limit
        self._pieces: list[bytes] = []
        self._held = 0
        self._skipping = False

    @property
    def unfinished(self) -> bool:
        """Whether a line has begun and its line feed has not come."""
        return self._skipping or self._held > 0

    @property
    def begun(self) -> bytes:
        """What has come of a line that is not complete."""
        return b"".join(self._pieces)

    def feed(self, data: bytes) -> list[bytes | None]:
        """The lines that `data` completes, without their line feeds, in order.

        None stands for a line over the limit: once, as soon as it is over; the rest of it is skipped.
        """
        *ends, rest = data.split(b"\n")
        lines: list[bytes | None] = []
        for end in ends:
            if self._take(end):
                lines.append(None)
            elif not self._skipping:
                lines.append(b"".join(self._pieces))
            self._forget()
            self._skipping = False
        if rest and self._take(rest):
            lines.append(None)
        return lines

    def _take(self, piece: bytes) -> bool:
        """Add to the line; True when that is what makes it too long."""
        if self._skipping:
            return False
        if self._held + len(piece) > self._limit:
            self._forget()
            self._skipping = True
            return True
        self._pieces.append(piece)
        self._held += len(piece)
        return False

    def _forget(self) -> None:
        self._pieces.clear()
        self._held = 0
