"""A file of changes, as `apply` takes it: JSON or TOML with one member, `changes`, an array of tables.

ctl reads it, and main where it is too large for a request. What the changes say is judged by main alone.
"""

import json
import re
import tomllib
from typing import Any

from sozu_trio.control.strict_json import NotJson, read_json
from sozu_trio.errors import OperatorError

_JSON = re.compile(r"\s*(\{|\[\s*[{\]])")
"""How JSON of our kind begins, and no TOML does: there `[` opens a header, and a header begins with a key."""
_WANTED = "want an object or table whose member `changes` is an array of changes"


def decoded(path: str, raw: bytes) -> str:
    """The text of a file in UTF-8. Raises OperatorError."""
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise OperatorError(f"{path}: found a byte that is not UTF-8 at byte {error.start + 1}; want text") from error


def read_batch(path: str, raw: bytes) -> dict[str, Any]:
    """The document that the file at `path` holds, `raw` being its bytes: JSON or TOML by its ending, else by how it
    begins. Raises OperatorError.
    """
    text = decoded(path, raw)
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
