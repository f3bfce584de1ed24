"""Names of the groups in which keys are agreed on: those of Sōzu, of IANA and of OpenSSL, for the same thing."""

from typing import Final

GROUPS: Final = {
    "X25519MLKEM768": ("x25519mlkem768",),
    "X25519": ("x25519",),
    "prime256v1": ("P-256", "secp256r1"),
    "secp384r1": ("P-384",),
    "secp521r1": ("P-521",),
    "X448": ("x448",),
}
"""By the names that `SSLContext.set_ecdh_curve` takes; OpenSSL before 3.5 has no X25519MLKEM768."""
OPENSSL_NAMES: Final = {name: group for group, names in GROUPS.items() for name in (group, *names)}
MONTGOMERY: Final = frozenset({"X25519", "X448"})
"""Every OpenSSL has them; `set_ecdh_curve` takes them in some versions of Python only, in CPython 3.11.2 not yet."""
DEFAULT: Final = frozenset({"X25519", "prime256v1", "secp384r1"})
"""Those of Sōzu's default that every OpenSSL has on of itself, X25519 first."""
