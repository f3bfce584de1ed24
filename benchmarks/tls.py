"""TLS to the client and plain to the backend: the proxy and nginx with one certificate, and what is asked of both.

All agree on the same version and cipher, which is checked, and both send two tickets after a handshake, as nginx does;
as shipped the proxy sends four, as Sōzu.
"""

import ssl
from dataclasses import replace
from pathlib import Path

import trustme

from benchmarks.measure import Secure, Work
from benchmarks.peers import CLUSTERS, HOST, SMALL, Command, Peer, many_hosts, nginx, sozu_trio

VERSION, CIPHER = "TLSv1.3", "TLS_AES_256_GCM_SHA384"
KEYS = {"ecdsa": trustme.KeyType.ECDSA, "rsa": trustme.KeyType.RSA}
"""Of the certificate: on P-256, or of 2048 bits."""
BARS = {"small": 4.0, "bulk": 0.9, "full": 2.5, "resumed": 2.5}
"""CPU per request may be this many times nginx's (docs/performance.md)."""
AIMS = {"small": {"nginx": 3.0}, "bulk": {"nginx": 0.8}}
"""What it should be at most."""
LISTENER = 'protocol = "https"\ncertificate = "certificate.pem"\nkey = "key.pem"\nsend_tls13_tickets = 2'


class Certificate:
    """For a host and 127.0.0.1, and the context of a client that trusts nothing else."""

    def __init__(self, kind: str, host: str = HOST) -> None:
        """`kind` is one of KEYS."""
        authority = trustme.CA(key_type=KEYS[kind])
        self._made = authority.issue_cert(host, "127.0.0.1", key_type=KEYS[kind])
        self.trusting = ssl.create_default_context()
        authority.configure_trust(self.trusting)

    def write(self, folder: Path) -> None:
        """certificate.pem and key.pem, for a server to read."""
        self._made.cert_chain_pems[0].write_to_path(folder / "certificate.pem")
        key = folder / "key.pem"
        key.touch(mode=0o600)
        self._made.private_key_pem.write_to_path(key)


def peers(certificate: Certificate) -> dict[str, Peer]:
    """The proxy and nginx, both showing `certificate`."""
    ours, theirs = sozu_trio(many_hosts(CLUSTERS), LISTENER), nginx("nginx-tls.conf")
    return {
        "sozu_trio": Peer(with_certificate(ours.command, certificate), ours.ready_line),
        "nginx": Peer(with_certificate(theirs.command, certificate), theirs.ready_line),
    }


def with_certificate(command: Command, certificate: Certificate) -> Command:
    def written(folder: Path, port: int, backend: int) -> list[str]:
        certificate.write(folder)
        return command(folder, port, backend)

    return written


def works(trusting: ssl.SSLContext, big: bytes) -> dict[str, Work]:
    """By name, as in BARS: on keep-alive, then on a connection for each, with a full handshake or a resumed one."""
    secure = Secure(context=trusting, version=VERSION, cipher=CIPHER)
    small = Work(path="/", connections=64, body=SMALL, hosts=(HOST,), secure=secure)
    return {
        "small": small,
        "bulk": replace(small, path="/big", body=big, connections=4),
        "full": replace(small, connections=16, anew="full"),
        "resumed": replace(small, connections=16, anew="resumed"),
    }
