"""Which values nobody may read who has not asked for them by name, and what is shown in their place."""

from typing import Final

REDACTED: Final = "(redacted)"
SECRETS: Final = frozenset(
    {
        *("authorized_hash", "authorized_hashes", "certificate_key", "key", "new_key", "old_key"),
        *("password", "private_key", "secret", "ticket_key", "token"),
    }
)
"""Members that no log, event or error may show, and no dump unless its reader asks for secrets."""
