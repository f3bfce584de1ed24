"""Text that peers had a hand in, made fit for a log: one line stays one line and a terminal obeys nobody.

Whatever Python does not call printable (controls, line separators, the characters that turn text around, lone
surrogates) is written as an escape: `\\n`, `\\x1b`, `\\u202e`. Bytes outside ASCII become `\\xff`. This is for
reading, not for reversing: a backslash stays.
"""

_AS_ONE_WORD = bytes.maketrans(b" []|", b"_{}!")


def printable(text: str) -> str:
    """`text` with everything unprintable escaped; costs nothing when there is nothing to do."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def ascii_text(raw: bytes) -> str:
    """`raw` as ASCII without spaces, `-` for nothing. Control characters are left to `printable`, once per line."""
    # A lone bar is a valid method, and would look like the one before an access line's message.
    if raw == b"|":
        return "\\x7c"
    return raw.replace(b" ", b"\\x20").decode("ascii", "backslashreplace") if raw else "-"


def one_word(raw: bytes) -> str:
    """As `ascii_text`, spaces as `_`, brackets as braces, as in Sōzu's user agents, bars as `!`; `-` for nothing."""
    if raw.isalnum():
        return raw.decode("ascii")
    return raw.translate(_AS_ONE_WORD).decode("ascii", "backslashreplace") if raw else "-"
