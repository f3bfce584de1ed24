"""The files that ctl reads itself, relative to its directory: batches of changes, certificates, saved states.

Reading them here and not in main means that main opens no path a client names, and that they may be secret to main.
Only a batch or saved state that is too large for one request is left to main, which knows no other way to get it.
"""

import os
import sys
from collections.abc import Mapping
from typing import Any

from sozu_trio.control.batch import decoded, read_batch
from sozu_trio.control.protocol import Request, write_request
from sozu_trio.errors import OperatorError


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
    return decoded(path, read_bytes(path))


def read_saved_state(body: Mapping[str, Any]) -> dict[str, Any]:
    """`file` as it was typed → `content`, its text, and `file`, its absolute path, None for standard input. Raises
    OperatorError.
    """
    typed = body["file"]
    return {**body, "content": read_text_file(typed), "file": _path_for_main(typed)}


def read_changes(body: Mapping[str, Any]) -> dict[str, Any]:
    """`file` as it was typed → `document`, what it holds, and `file`, its absolute path, None for standard input.
    Raises OperatorError.
    """
    typed = body["file"]
    return {"document": read_batch(typed, read_bytes(typed)), "file": _path_for_main(typed)}


def _path_for_main(typed: str) -> str | None:
    return None if typed == "-" else os.path.abspath(typed)


def content_or_file(body: Mapping[str, Any], most: int | None) -> dict[str, Any]:
    """What `read_saved_state` gave, less the one of both that need not be sent: the path of what is too large for a
    request of `most` bytes, else the content. Raises OperatorError for standard input that is too large.
    """
    by_content = {name: value for name, value in body.items() if name != "file"}
    by_file = {name: value for name, value in body.items() if name != "content"}
    return _fitting("state load", by_content, by_file, most)


def changes_or_file(body: Mapping[str, Any], most: int | None) -> dict[str, Any]:
    """What `read_changes` gave, as the document itself or, too large for a request of `most` bytes, as the path of its
    file. Raises OperatorError for standard input that is too large.
    """
    return _fitting("apply", body["document"], {"file": body["file"]}, most)


def _fitting(verb: str, by_content: dict[str, Any], by_file: dict[str, Any], most: int | None) -> dict[str, Any]:
    size = len(write_request(Request(id=1, verb=verb, body=by_content))) - 1
    if most is None or size <= most:
        return by_content
    if by_file["file"] is None:
        want = f"want a file, which the proxy then reads itself: {verb} -f FILE"
        raise OperatorError(
            f"standard input: a request of {size} bytes; the proxy takes {most} (max_command_buffer_size); {want}"
        )
    return by_file
