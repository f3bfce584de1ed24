"""The secrets of TLS sessions, a line each in the format of SSLKEYLOGFILE (draft-ietf-tls-keylogfile), for Wireshark.

OpenSSL writes them to a path and nowhere else, and a worker opens none: so the path is that of a piece of memory, out
of which they go to a descriptor that main has opened.
"""

import logging
import os
import ssl
from typing import Final

log = logging.getLogger(__name__)

_MOST: Final = 1 << 20
"""Bytes passed on at a time; a handshake makes about 1,000."""


class KeyLog:
    """Of one process, and of any number of contexts; `close` it when they are gone."""

    def __init__(self, descriptor: int) -> None:
        """`descriptor` appends, so that the lines of several processes stay whole; it stays the caller's."""
        self._descriptor = descriptor
        self._memory = os.memfd_create("TLS keys", os.MFD_CLOEXEC)
        self._has_failed = False

    def follow(self, context: ssl.SSLContext) -> None:
        """Have the secrets of what `context` agrees on. Where that cannot be, it goes without, and the log says so."""
        try:
            context.keylog_filename = f"/proc/self/fd/{self._memory}"
        except OSError as error:
            log.warning("TLS keys of some sessions will be missing from the key log: %s", error)

    def pass_on(self) -> None:
        """What has come so far. A target that fails costs lines, and nothing else."""
        data = os.pread(self._memory, _MOST, 0)
        if not data:
            return
        os.ftruncate(self._memory, 0)
        # Each context begins with a remark.
        lines = b"".join(line for line in data.splitlines(keepends=True) if not line.startswith(b"#"))
        try:
            os.write(self._descriptor, lines)
        except OSError as error:
            if not self._has_failed:
                self._has_failed = True
                log.warning("TLS keys are missing from the key log: %s", error)

    def close(self) -> None:
        os.close(self._memory)
