"""Names of fields as those compare them who cannot tell some of them apart.

CGI and its heirs write `X-Real-IP` and `X_Real_IP` both as HTTP_X_REAL_IP, PHP `X.Real.IP` too, and some servers do so
with whatever is no letter and no digit. So a name that is spelled otherwise must smuggle nothing past us.
"""

from typing import Final


def _plain(byte: int) -> int:
    text = chr(byte)
    return ord(text.lower()) if text.isascii() and text.isalnum() else ord("-")


PLAIN: Final = bytes(map(_plain, range(256)))
"""For `bytes.translate`: lower case, and a hyphen for each byte that is no letter and no digit."""


def plain_name(name: str) -> str:
    """The same for the name of a field in a configuration."""
    return name.encode("ascii", "replace").translate(PLAIN).decode("ascii")
