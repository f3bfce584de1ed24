"""A parser whose complaints about a word say which one may have been meant."""

import argparse
import re
from typing import Final, Never

from sozu_trio.config.nearest import nearest

_CHOICE: Final = re.compile(r"argument (?P<where>.+?): invalid choice: '(?P<word>.*)' \(choose from (?P<known>.*)\)")
"""What argparse says of a word that is none of those it knows."""


class UsageParser(argparse.ArgumentParser):
    """Its subparsers are such, too."""

    def error(self, message: str) -> Never:
        """End with 2, and say what was found and what would be right."""
        super().error(explained(message))


def explained(message: str) -> str:
    """A message of argparse's, in the words of all others."""
    match = _CHOICE.fullmatch(message)
    if match is None:
        return message
    known = [each.strip("'\"") for each in match["known"].split(", ")]
    return f"{match['where']}: found {match['word']!r}{nearest(match['word'], known)}; want one of {', '.join(known)}"
