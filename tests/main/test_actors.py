"""Who changes something when no client asks for it."""

import os

from sozu_trio.main.actors import Actor, ourselves


def test_main_itself_is_named_by_what_moves_it() -> None:
    assert ourselves("SIGHUP") == Actor(uid=os.getuid(), pid=os.getpid(), process="SIGHUP")
