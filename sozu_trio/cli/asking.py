"""One request to the proxy and its answer, or in words why there is none and what may have happened all the same."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import anyio

from sozu_trio.cli.ctl_verbs import Verb
from sozu_trio.control.client import open_client
from sozu_trio.control.protocol import Reply
from sozu_trio.errors import ConnectionLost, OperatorError


class Asking:
    """The request `verb` to the proxy at `socket`. `timeout`: seconds without a word from it; None = any time."""

    def __init__(self, socket: Path, timeout: float | None, verb: Verb) -> None:
        self._socket = socket
        self._timeout = timeout
        self._verb = verb
        self._sent = False

    async def ask(self, body: Mapping[str, Any], heard: Callable[[Reply], None]) -> Reply:
        """The last reply; `heard` gets those before it, and each starts the time limit anew.

        Raises RequestFailed for a refusal and OperatorError when no answer comes.
        """
        with anyio.move_on_after(self._timeout) as limit:

            def hear(reply: Reply) -> None:
                if self._timeout is not None:
                    limit.deadline = anyio.current_time() + self._timeout
                heard(reply)

            try:
                async with open_client(self._socket) as client:
                    fitting = self._fitted(body, client.hello.get("max_request"))
                    self._sent = True
                    return await client.ask(self._verb.words, fitting, hear)
            except ConnectionLost as error:
                raise OperatorError(f"{error}{self.doubt()}") from error
        raise OperatorError(f"no answer within {self._timeout:g} s{self.doubt() or self._nothing_sent()}")

    def _fitted(self, body: Mapping[str, Any], most: object) -> Mapping[str, Any]:
        return body if self._verb.fit is None else self._verb.fit(body, most if isinstance(most, int) else None)

    def _nothing_sent(self) -> str:
        return "" if self._sent else f": whoever listens at {self._socket} says nothing, so nothing was asked"

    def doubt(self) -> str:
        """What may have happened though no answer came: nothing to say of a verb that only looks, or was not sent."""
        if not self._sent or not self._verb.trace:
            return ""
        what = "the change" if self._verb.trace == "history" else "it"
        return f": {what} may still be carried out; look at `ctl {self._verb.trace}`"
