"""The names that clients ask for and certificates are for, in one spelling, so that a dict finds them.

Names are ASCII: an internationalised one is written with `xn--` labels both in a certificate (RFC 5280 §7.2) and in
SNI (RFC 6066 §3).
"""

import functools
import ipaddress
import re
from typing import Final

LONGEST_NAME: Final = 253
"""Characters without the trailing dot (RFC 1035 §2.3.4)."""
LONGEST_ADDRESS: Final = 64
"""Characters of an address with a zone: 45 without (RFC 4291 §2.2)."""
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"(?:{_LABEL}\.)*(?!\d+\Z){_LABEL}")


def canonical_name(text: str) -> str | None:
    """A host name or an IP address in lower case without a trailing dot; None for what is neither."""
    name = _host_name(text)
    return canonical_address(text) if name is None else name


def canonical_pattern(text: str) -> str | None:
    """A name of a certificate: a host name, or one with `*` as its whole first label and at least one more.

    None for anything else: clients match no other wildcards (RFC 9525 §6.3), and addresses have a field of their own.
    """
    if not text.startswith("*."):
        return _host_name(text)
    parent = _host_name(text[2:])
    return None if parent is None else f"*.{parent}"


def canonical_address(text: str) -> str | None:
    """An IP address as `ipaddress` spells it, an IPv4 one mapped into IPv6 as itself; None for what is none."""
    return _spelt_address(text) if len(text) <= LONGEST_ADDRESS else None


@functools.lru_cache(maxsize=1024)
def _spelt_address(text: str) -> str | None:
    # Kept as names are: those who ask for no name are shown what is for the address they came to.
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def _host_name(text: str) -> str | None:
    """Its last label is never a number, so that it is no address either."""
    return _spelt(text) if len(text) <= LONGEST_NAME + 1 else None


@functools.lru_cache(maxsize=1024)
def _spelt(text: str) -> str | None:
    # Kept because each handshake asks for the same few, three times; whatever clients make up, it is bounded.
    name = text.lower().removesuffix(".")
    return name if len(name) <= LONGEST_NAME and _NAME.fullmatch(name) is not None else None
