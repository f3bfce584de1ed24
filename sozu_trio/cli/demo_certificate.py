"""What the demonstration shows over TLS: a certificate for this machine by an authority that is made at each start and
signs nothing else.

Its key is never written down and is gone once it has signed. Clients are to trust its certificate, which is in a file
while the demonstration runs.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from sozu_trio.errors import OperatorError

NAMES: Final = ("localhost", "127.0.0.1", "::1")
VALID: Final = timedelta(days=90)


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoCertificate:
    """`file`: a path for this process alone, of a piece of memory with the certificate and its key; `authority`: the
    certificate that has signed it. Both are PEM.
    """

    file: Path
    authority: bytes


@contextmanager
def open_demo_certificate() -> Iterator[DemoCertificate]:
    """Make one, whose file is there while the body runs."""
    import trustme  # only this one of all that is served needs it

    authority = trustme.CA(organization_name="sozu_trio demonstration")
    made = authority.issue_cert(*NAMES, not_after=datetime.now(UTC) + VALID)
    with os.fdopen(os.memfd_create("demonstration"), "wb") as memory:
        memory.write(made.private_key_and_cert_chain_pem.bytes())
        memory.flush()
        file = Path(f"/proc/self/fd/{memory.fileno()}")
        yield DemoCertificate(file=file, authority=authority.cert_pem.bytes())


@contextmanager
def authority_file(path: Path, certificate: bytes) -> Iterator[None]:
    """Hold the authority's `certificate` in `path` while the body runs. Raises OperatorError when that cannot be."""
    try:
        path.unlink(missing_ok=True)
        with open(path, "xb") as file:
            file.write(certificate)
    except OSError as error:
        raise OperatorError(f"cannot write {path}: {error.strerror}") from error
    try:
        yield
    finally:
        # The next demonstration may have its own there already.
        with suppress(OSError):
            if path.read_bytes() == certificate:
                path.unlink()
