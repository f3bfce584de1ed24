"""Names of cipher suites: those of OpenSSL, of IANA and of rustls, which Sōzu takes, for the same thing.

Only what a server should still speak is known: each offers authentication and an AEAD or, for clients that are older,
CBC. Those without forward secrecy (`AES128-GCM-SHA256`) are known too, for machines that have no others.
"""

from typing import Final

TLS13: Final = ("TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_128_GCM_SHA256")
"""The suites OpenSSL has on for TLS 1.3. Python's `ssl` cannot choose among them (before 3.15)."""
_KEY_EXCHANGES = {"ECDHE-ECDSA": "ECDHE_ECDSA", "ECDHE-RSA": "ECDHE_RSA", "": "RSA"}
_CIPHERS = {
    "AES256-GCM-SHA384": "AES_256_GCM_SHA384",
    "AES128-GCM-SHA256": "AES_128_GCM_SHA256",
    "CHACHA20-POLY1305": "CHACHA20_POLY1305_SHA256",
    "AES256-SHA384": "AES_256_CBC_SHA384",
    "AES128-SHA256": "AES_128_CBC_SHA256",
    "AES256-SHA": "AES_256_CBC_SHA",
    "AES128-SHA": "AES_128_CBC_SHA",
}
_UNHEARD_OF = {"CHACHA20-POLY1305", "AES256-SHA384"}
"""Ciphers there are only with forward secrecy."""

TLS12: Final = {
    f"{exchange}-{cipher}".lstrip("-"): f"TLS_{iana_exchange}_WITH_{iana_cipher}"
    for exchange, iana_exchange in _KEY_EXCHANGES.items()
    for cipher, iana_cipher in _CIPHERS.items()
    if exchange or cipher not in _UNHEARD_OF
}
"""OpenSSL's names of suites for TLS 1.2, and IANA's."""
DEFAULT_TLS12: Final = tuple(
    f"{exchange}-{cipher}"
    for exchange in ("ECDHE-ECDSA", "ECDHE-RSA")
    for cipher in ("AES256-GCM-SHA384", "AES128-GCM-SHA256", "CHACHA20-POLY1305")
)
"""Those of Sōzu, in its order; the server's order counts."""
OPENSSL_NAMES: Final = {
    **{name: name for name in (*TLS13, *TLS12)},
    **{iana: openssl for openssl, iana in TLS12.items()},
    **{f"TLS13_{name.removeprefix('TLS_')}": name for name in TLS13},
}
"""Every name an operator may write, and OpenSSL's."""
SOZU_NAMES: Final = {**{name: f"TLS13_{name.removeprefix('TLS_')}" for name in TLS13}, **TLS12}
"""OpenSSL's name of each, and rustls's, under which Sōzu counts them."""
