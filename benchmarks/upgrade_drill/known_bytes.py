"""A stream of bytes that looks random and can be made again: what a TCP client sends, and judges its echo by."""

import hashlib

BLOCK = 16384
"""Bytes made at a time."""


class KnownBytes:
    """The endless stream that belongs to `seed`, piece by piece."""

    def __init__(self, seed: str) -> None:
        self._seed = seed
        self._blocks = 0
        self._rest = b""

    def take(self, size: int) -> bytes:
        """The next `size` bytes."""
        pieces, left = [self._rest[:size]], size - len(self._rest)
        self._rest = self._rest[size:]
        while left > 0:
            block = self._block()
            pieces.append(block[:left])
            self._rest = block[left:]
            left -= BLOCK
        return b"".join(pieces)

    def _block(self) -> bytes:
        self._blocks += 1
        return hashlib.shake_128(f"{self._seed} {self._blocks}".encode()).digest(BLOCK)


class Comparison:
    """Bytes as they come back, against the stream they must be."""

    def __init__(self, seed: str) -> None:
        self.received = 0
        self.wrong = 0
        """Bytes that differ from what belongs at their place."""
        self._known = KnownBytes(seed)

    def feed(self, data: bytes) -> None:
        """The next bytes have come."""
        self.received += len(data)
        wanted = self._known.take(len(data))
        if data != wanted:
            self.wrong += sum(got != want for got, want in zip(data, wanted, strict=True))
