"""What a frontend's `hostname` and `path` may say, read into a form that can be matched.

Both ends of a rule's life use it: loading a configuration, to refuse what is no pattern; compiling a Table, to match.
It knows nothing of either, nor in which order rules are tried: that is told in `routing/`.
"""

import enum
import ipaddress
import re
import warnings
from typing import Final

from sozu_trio.config.clusters import PathType


class Wildcard(enum.Enum):
    """`*` as the first of several labels."""

    ONE_LABEL = "*"


Label = bytes | Wildcard | re.Pattern[bytes]
"""One label of a host pattern: itself in lower case, any one label, or a regex for `fullmatch`."""

ANY_HOST: Final[tuple[Label, ...]] = ()
"""`*`: nothing is asked of the host, not even that there is one."""

_PLAIN_LABEL = re.compile(r"[a-z0-9_-]{1,63}")
_DOT_OUTSIDE_REGEX = re.compile(r"\.(?=(?:[^/]*/[^/]*/)*[^/]*\Z)")
# IDNA 2003, which Python's codec speaks, maps or drops these; browsers and Sōzu (UTS 46) keep them.
_KEPT_BY_BROWSERS = frozenset("ßẞς\u200c\u200d")
_WANTED = "want example.com, *.example.com, *, /regex/.example.com or an IP literal"


def parse_host(text: str) -> tuple[Label, ...]:
    """Read a host pattern into its labels, left to right; `*` alone is ANY_HOST, an IPv6 literal one label in brackets.

    Names become lower-case ASCII (`xn--` labels) without a trailing dot. Raises ValueError saying what would be right.
    """
    if text == "*":
        return ANY_HOST
    if text.startswith("[") or (":" in text and "/" not in text):
        return (_ipv6_label(text),)
    name = text.removesuffix(".")
    parts = _DOT_OUTSIDE_REGEX.split(name) if "/" in name else name.split(".")
    if len(parts) == 4 and all(part.isdigit() for part in parts):
        _check_ipv4(text)
    return tuple(_label(text, part, first=index == 0 and len(parts) > 1) for index, part in enumerate(parts))


def canonical_host(text: str) -> str:
    """The one spelling of all host patterns that mean the same as `text`. Raises ValueError as `parse_host` does."""
    return ".".join(_spell(label) for label in parse_host(text)) or "*"


def canonical_literal(host: bytes) -> bytes:
    """`[0:0::1]` → `[::1]`, so that one address is one host; what is no bracketed IPv6 literal comes back as it is."""
    if not (host.startswith(b"[") and host.endswith(b"]")):
        return host
    try:
        return f"[{ipaddress.IPv6Address(host[1:-1].decode('ascii'))}]".encode()
    except ValueError:
        return host


def check_path(path_type: PathType, path: str) -> None:
    """Raises ValueError, saying what would be right, for a path rule that cannot match what it says."""
    if path_type is PathType.REGEX:
        compile_path_regex(path)
    elif "?" in path:
        raise ValueError(f"{path!r} is not a path: it is compared without the query, so it ends before the '?'")


def why_idle(path_type: PathType, path: str) -> str | None:
    """Why no request can ever match a path rule that is valid nonetheless, as Sōzu takes it; None where some can.

    The path of a request begins with a slash, or is the `*` of OPTIONS (RFC 9112 §3.2.4).
    """
    if path_type is PathType.REGEX or (path_type is PathType.PREFIX and not path) or path[:1] == "/" or path == "*":
        return None
    return f"no request can match {path!r}: a path begins with '/'"


def compile_path_regex(path: str) -> re.Pattern[bytes]:
    """The regex of a REGEX rule, for `fullmatch`. Raises ValueError that names the position of the fault."""
    return _compile(path, path.encode(), re.NOFLAG)


def _label(text: str, part: str, *, first: bool) -> Label:
    if part == "*" and first:
        return Wildcard.ONE_LABEL
    if len(part) > 2 and part.startswith("/") and part.endswith("/"):
        return _regex_label(text, part[1:-1])
    plain = part.lower() if part.isascii() else _to_ascii(part)
    if _PLAIN_LABEL.fullmatch(plain) is None:
        raise ValueError(f"{text!r} is not a host: {_fault(part)}; {_WANTED}")
    return plain.encode()


def _fault(part: str) -> str:
    if not part:
        return "a label is empty"
    if "*" in part:
        return "'*' stands for the whole first label or the whole host"
    if "/" in part:
        return "a regex is a whole label between two slashes"
    return f"{part!r} is no label of 1 to 63 letters, digits, '-' or '_'"


def _to_ascii(part: str) -> str:
    if _KEPT_BY_BROWSERS.intersection(part):
        return "xn--" + part.lower().encode("punycode").decode()
    try:
        return part.encode("idna").decode().lower()
    except UnicodeError:
        return ""


def _regex_label(text: str, source: str) -> re.Pattern[bytes]:
    if not source.isascii():
        raise ValueError(f"{text!r} is not a host: a regex sees names in ASCII (xn--…), so {source!r} cannot match")
    try:
        return _compile(source, source.encode(), re.IGNORECASE)
    except ValueError as error:
        raise ValueError(f"{text!r} is not a host: {error}") from None


def _compile(source: str, pattern: bytes, flags: re.RegexFlag) -> re.Pattern[bytes]:
    try:
        # `[[:alpha:]]` and set operations mean another thing in Sōzu's regexes than here; Python only warns of them.
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return re.compile(pattern, flags)
    except (re.error, Warning, ValueError, OverflowError, RecursionError) as error:
        raise ValueError(f"{source!r} is not a regex: {error}") from None


def _ipv6_label(text: str) -> bytes:
    bracketed = text.startswith("[") and text.endswith("]")
    try:
        literal = ipaddress.IPv6Address(text[1:-1] if bracketed else text)
    except ValueError:
        raise ValueError(f"{text!r} is not a host: neither IPv6 literal nor name without port; {_WANTED}") from None
    if literal.scope_id is not None:
        raise ValueError(f"{text!r} is not a host: an IPv6 literal has no zone here")
    return f"[{literal}]".encode()


def _check_ipv4(text: str) -> None:
    try:
        ipaddress.IPv4Address(text.removesuffix("."))
    except ValueError:
        raise ValueError(f"{text!r} is not a host: it looks like an IPv4 address but is none") from None


def _spell(label: Label) -> str:
    if isinstance(label, Wildcard):
        return label.value
    return label.decode() if isinstance(label, bytes) else f"/{label.pattern.decode()}/"
