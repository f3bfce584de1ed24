"""An OpenSSL context as all of ours begin, whatever Python's defaults are."""

import ssl
from collections.abc import Iterable
from typing import Final

VERSIONS: Final = {"TLS_V12": ssl.TLSVersion.TLSv1_2, "TLS_V13": ssl.TLSVersion.TLSv1_3}
"""By the names of the configuration."""


def fresh_context(protocol: int, versions: Iterable[str]) -> ssl.SSLContext:
    """Of `ssl.PROTOCOL_TLS_SERVER` or `ssl.PROTOCOL_TLS_CLIENT`, for `versions`, keys of VERSIONS."""
    context = ssl.SSLContext(protocol)
    spoken = [VERSIONS[version] for version in versions]
    context.minimum_version, context.maximum_version = min(spoken), max(spoken)
    # Nobody needs renegotiation, and with it a reader would have to write.
    context.options |= ssl.OP_NO_RENEGOTIATION
    # Some versions of Python ask for it, CPython 3.11.2 does: a FIN without close_notify would pass for a good end.
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    return context
