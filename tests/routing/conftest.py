"""Changes are words and bodies, as they come over the socket; what comes of them is a State or a list of problems."""

from collections.abc import Callable

import pytest

from sozu_trio.errors import ChangeRefused
from sozu_trio.routing.changes import apply_all
from sozu_trio.routing.state import State
from tests.routing.asked import Asked, read

Changed = Callable[..., State]
Refused = Callable[..., list[str]]


@pytest.fixture
def changed() -> Changed:
    """The State after changes that can be made."""

    def change(state: State, *asked: Asked) -> State:
        after = apply_all(state, read(*asked))
        after.check()
        return after

    return change


@pytest.fixture
def refused() -> Refused:
    """The problems of changes that cannot be made all together, though each body is right."""

    def refuse(state: State, *asked: Asked) -> list[str]:
        with pytest.raises(ChangeRefused) as caught:
            apply_all(state, read(*asked))
        return [str(problem) for problem in caught.value.problems]

    return refuse
