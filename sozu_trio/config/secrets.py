"""Which values nobody may read who has not asked for them by name, and what is shown in their place."""

from typing import Final

REDACTED: Final = "(redacted)"
SECRETS: Final = frozenset(
    {
        *("authorized_hash", "authorized_hashes", "certificate_key", "key", "new_key", "old_key"),
        *("password", "private_key", "secret", "ticket_key", "tls_key", "token"),
    }
)
"""Members that no log, event or error may show, and no dump unless its reader asks for secrets."""
PEM: Final = "-----BEGIN"
"""How keys and certificates begin (RFC 7468 §2). A text with this in it is not shown wherever it stands."""


def is_secret(name: str) -> bool:
    """Whether values of a member of this name are secret; hyphens, as in requests, count as underscores."""
    return name.replace("-", "_").lower() in SECRETS
