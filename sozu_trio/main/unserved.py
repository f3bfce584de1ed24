"""The one place that says no to what State can say and workers cannot do yet: https listeners that are active."""

from sozu_trio.config.listeners import HttpsListener
from sozu_trio.errors import ChangeRefused, Problem
from sozu_trio.routing.state import State


def refuse_unserved(state: State) -> None:
    """Raises ChangeRefused: https listeners are not served yet, though everything about them can be said and kept."""
    active = [each for each in state.listeners.values() if isinstance(each, HttpsListener) and each.active]
    if active:
        what = "https listeners are not served yet; want it inactive (`activate_listeners = false` in the file)"
        raise ChangeRefused(tuple(Problem(f"https listener {each.address}", what) for each in active))
