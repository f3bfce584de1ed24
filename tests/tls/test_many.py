"""Thousands of certificates: how long main reads them, how long a worker's loop is held, what each costs once used."""

import os
import subprocess
import sys
import time

import pytest

from sozu_trio.config.certificates import Certificate
from sozu_trio.config.tls_settings import TlsSettings
from sozu_trio.routing.resolver import NO_CERTIFICATES
from sozu_trio.tls.contexts import ServerContexts
from sozu_trio.tls.reading import read_certificate
from tests.tls.parts import NOW, authorities, issue
from tests.tls.peers import fingerprint_shown

MANY, FEW = 5000, 300
READING = 2.0
"""CPU seconds for `MANY`."""
HELD = 0.02
"""CPU seconds a loop may be held."""
CONTEXT = 30 * 1024
"""Bytes."""


def files(count: int) -> list[tuple[bytes, bytes]]:
    """Chain and key of as many names, the chain in the wrong order."""
    _, middle = authorities("root", "middle")
    made = [issue(f"{number}.example", f"www.{number}.example", by=middle) for number in range(count)]
    return [(middle.pem + each.pem, each.key_pem) for each in made]


def memory() -> int:
    """Bytes resident."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")


def measure(count: int) -> tuple[float, float, float, float]:
    """CPU seconds to read all, to make a Resolver of all, and to change one in it; bytes of a context in use."""
    given = files(count)
    start = time.process_time()
    read = [read_certificate(chain, key, NOW) for chain, key in given]
    reading = time.process_time() - start
    start = time.process_time()
    whole = NO_CERTIFICATES.amended(add=read)
    resolving = time.process_time() - start
    start = time.process_time()
    whole.amended(remove=[read[0].fingerprint], add=[read[0]])
    changing = time.process_time() - start
    return reading, resolving, changing, context_size(ServerContexts(TlsSettings(), whole, count), read)


def context_size(contexts: ServerContexts, certificates: list[Certificate]) -> float:
    """Every certificate is used, by a handshake; the first hundred fill what is shared."""
    warm = 100
    for certificate in certificates[:warm]:
        fingerprint_shown(contexts, certificate.names[0])
    before = memory()
    for certificate in certificates[warm:]:
        assert fingerprint_shown(contexts, certificate.names[0]) == certificate.fingerprint
    assert contexts.made == len(certificates)
    return (memory() - before) / (len(certificates) - warm)


@pytest.mark.drill
def test_thousands(*, full_drill: bool) -> None:
    """In a process of its own, whose memory nobody else has used before."""
    count = MANY if full_drill else FEW
    code = f"import tests.tls.test_many as many; print(*many.measure({count}))"
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=300)
    reading, resolving, changing, size = map(float, told.stdout.split())
    print(
        f"{count:,} certificates: read in {reading:.2f} s, found by name after {resolving * 1000:.1f} ms,"
        f" one changed in {changing * 1000:.2f} ms; a context takes {size / 1024:.1f} KiB"
    )
    assert size < CONTEXT
    if full_drill:
        assert reading < READING
        assert max(resolving, changing) < HELD
