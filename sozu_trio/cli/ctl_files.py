"""The files that ctl reads itself, relative to its directory: batches of changes, certificates, saved states.

Reading them here and not in main means that main opens no path a client names, and that they may be secret to main.
"""

import json
import re
import sys
import tomllib
from typing import Any

from sozu_trio.control.strict_json import NotJson, read_json
from sozu_trio.errors import OperatorError

_JSON = re.compile(r"\s*(\{|\[\s*[{\]])")
"""How JSON of our kind begins, and no TOML does: there `[` opens a header, and a header begins with a key."""
_WANTED = "want an object or table whose member `changes` is an array of changes"


def read_bytes(path: str) -> bytes:
    """What the file at `path` holds; `-` is standard input. Raises OperatorError."""
    try:
        if path == "-":
            return sys.stdin.buffer.read()
        with open(path, "rb") as file:
            return file.read()
    except (OSError, ValueError) as error:
        raise OperatorError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error


def read_text_file(path: str) -> str:
    """The text of a file in UTF-8. Raises OperatorError."""
    return _decoded(path, read_bytes(path))


def _decoded(path: str, raw: bytes) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise OperatorError(f"{path}: found a byte that is not UTF-8 at byte {error.start + 1}; want text") from error


def read_batch(path: str) -> dict[str, Any]:
    """The document of an `apply -f` file, JSON or TOML by its ending, else by how it begins. Raises OperatorError."""
    text = read_text_file(path)
    is_json = path.endswith(".json") or (not path.endswith(".toml") and bool(_JSON.match(text)))
    document = _read_json(path, text) if is_json else _read_toml(path, text)
    if not isinstance(document, dict):
        raise OperatorError(f"{path}: found something else; {_WANTED}")
    if "changes" not in document:
        raise OperatorError(f"{path}: changes: missing; {_WANTED}")
    return document


def _read_json(path: str, text: str) -> Any:
    try:
        return read_json(text.encode())
    except NotJson as error:
        raise OperatorError(f"{path}: {error}") from error


def _read_toml(path: str, text: str) -> Any:
    try:
        document = tomllib.loads(text)
    except RecursionError as error:
        raise OperatorError(f"{path}: is nested too deeply") from error
    except ValueError as error:
        raise OperatorError(f"{path}: {error}") from error
    try:
        # Dates become text, so that the proxy says at which place it wants no date.
        return json.loads(json.dumps(document, default=str, allow_nan=False))
    except ValueError as error:
        raise OperatorError(f"{path}: a number is not finite; want one that JSON has a form for") from error
