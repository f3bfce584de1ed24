"""The files that ctl reads itself, relative to its directory: batches of changes, certificates, saved states.

Reading them here and not in main means that main opens no path a client names, and that they may be secret to main.
Only a saved state that is too large for one request is left to main, which knows no other way to get it.
"""

import json
import os
import re
import sys
import tomllib
from collections.abc import Mapping
from typing import Any

from sozu_trio.control.protocol import Request, write_request
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


def read_saved_state(body: dict[str, Any]) -> dict[str, Any]:
    """`file` as it was typed → `content`, its text, and `file`, its absolute path, null for standard input. Raises
    OperatorError.
    """
    typed = body["file"]
    path = None if typed == "-" else os.path.abspath(typed)
    return {**body, "content": read_text_file(typed), "file": path}


def content_or_file(body: Mapping[str, Any], most: int | None) -> dict[str, Any]:
    """What `read_saved_state` gave, less the one of both that need not be sent: the path of what is too large for a
    request of `most` bytes, else the content. Raises OperatorError for standard input that is too large.
    """
    by_content = {name: value for name, value in body.items() if name != "file"}
    size = len(write_request(Request(id=1, verb="state load", body=by_content))) - 1
    if most is None or size <= most:
        return by_content
    if body["file"] is None:
        want = "want a file, which the proxy then reads itself: state load -f FILE"
        raise OperatorError(
            f"standard input: a request of {size} bytes; the proxy takes {most} (max_command_buffer_size); {want}"
        )
    return {name: value for name, value in body.items() if name != "content"}


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
