"""Authorities that certificates of the other side are held against: those of a bundle, and the system's.

A worker opens no path, so main reads them, and a worker gets PEM.
"""

import ssl
from pathlib import Path
from typing import Final

from sozu_trio.config.regular import read_regular
from sozu_trio.errors import BadCertificate
from sozu_trio.tls.pem import Blocks, read_blocks

STORES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Alpine, Arch
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, RHEL
    "/etc/ssl/ca-bundle.pem",  # openSUSE
    "/etc/ssl/cert.pem",
)
"""Where systems keep theirs, if OpenSSL does not know."""


def read_trusted(text: bytes) -> str:
    """The certificates of a PEM bundle, without what stands between them, be it a key. Raises BadCertificate."""
    blocks = read_blocks(text)
    if not blocks.certificates:
        instead = ": this is a private key" if blocks.keys else ""
        raise BadCertificate(
            f"no certificate in PEM form{instead}; want a block `BEGIN CERTIFICATE` for each authority"
        )
    for number, block in enumerate(blocks.certificates, 1):
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=block.decode("ascii"))
        except (ssl.SSLError, ValueError) as error:
            raise BadCertificate(f"certificate {number} cannot be read: its PEM block is damaged") from error
    return _joined(blocks)


def read_system_trusted() -> str:
    """Those that this system trusts, in PEM; empty where it has none that can be read. Blocks for a millisecond."""
    known = ssl.get_default_verify_paths().cafile
    for path in (known, *STORES) if known else STORES:
        try:
            blocks = read_blocks(read_regular(Path(path)))
        except (OSError, BadCertificate):
            continue
        if blocks.certificates:
            return _joined(blocks)
    return ""


def _joined(blocks: Blocks) -> str:
    """With the one label that all versions of OpenSSL take."""
    text = b"".join(blocks.certificates).decode("ascii", "replace")
    return text.replace(" X509 CERTIFICATE", " CERTIFICATE").replace("\r\n", "\n")
