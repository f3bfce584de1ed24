"""A control socket whose every answer is written down beforehand. It runs in a thread, since ctl has the main one."""

import json
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

HELLO = {"v": 1, "id": None, "status": "ok", "message": "hello", "content": {"protocol": 1, "version": "0", "pid": 1}}
Step = dict[str, Any] | Callable[[], None]


def ok(message: str = "done", content: Any = None) -> Step:
    return {"status": "ok", "message": message, "content": content}


def processing(message: str, content: Any = None) -> Step:
    return {"status": "processing", "message": message, "content": content}


def failure(message: str, content: Any = None) -> Step:
    return {"status": "failure", "message": message, "content": content}


class ScriptedProxy:
    """Notes each request and takes the steps of `script`: replies, and functions to call between them. After the last
    one it waits for the client to leave, unless that is `hang_up`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.script: list[Step] = [ok()]
        self.greeting: dict[str, Any] | None = HELLO
        self.hang_up = False
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Self:
        self._listener.bind(str(self.path))
        self._listener.listen()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection, connection.makefile("rwb", buffering=0) as lines:
                try:
                    self._converse(lines)  # type: ignore[arg-type]
                except OSError:
                    continue

    def _converse(self, lines: BinaryIO) -> None:
        if self.greeting is not None:
            lines.write(json.dumps(self.greeting).encode() + b"\n")
        for line in lines:
            request = json.loads(line)
            self.asked.append((request["verb"], request["body"]))
            for step in self.script:
                if callable(step):
                    step()
                else:
                    lines.write(json.dumps({"v": 1, "id": request["id"], **step}).encode() + b"\n")
            if self.hang_up:
                return
