"""One request as its handler sees it: who asks, and a body that is read whole or refused with everything in it."""

from dataclasses import replace
from typing import Any

import pytest
import trio

from sozu_trio.errors import ChangeRefused, Problem
from sozu_trio.main.actors import Actor
from sozu_trio.main.bodies import EmptyBody, SessionKillBody, ShutdownBody
from sozu_trio.main.parts import Call
from tests.main.looking_parts import OWNER


async def nobody_hears(_message: str, _content: Any) -> None:
    await trio.lowlevel.checkpoint()


def call(**body: Any) -> Call:
    return Call(peer=OWNER, verb="test", body=body, progress=nobody_hears)


def test_who_asks_is_who_the_kernel_says() -> None:
    peer = replace(OWNER, uid=3, pid=4, process="deploy")
    assert replace(call(), peer=peer).actor == Actor(uid=3, pid=4, process="deploy")


def test_a_body() -> None:
    assert call().read(EmptyBody) == EmptyBody()
    assert call(hard=True).read(ShutdownBody) == ShutdownBody(hard=True)


def test_a_body_is_refused_with_everything_that_is_wrong() -> None:
    with pytest.raises(ChangeRefused) as caught:
        call(hard=1, sesion="x").read(ShutdownBody)
    assert [problem.where for problem in caught.value.problems] == ["hard", "sesion"]
    with pytest.raises(ChangeRefused) as caught:
        call(sesion="x").read(SessionKillBody)
    assert caught.value.problems == (
        Problem("session", "missing; want a string"),
        Problem("sesion", "unknown key; did you mean 'session'?"),
    )
