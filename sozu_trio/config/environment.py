"""Numbers in variables of the environment, as a service manager sets them."""

from collections.abc import MutableMapping

from sozu_trio.errors import OperatorError


def take_number(environment: MutableMapping[str, str], name: str) -> int | None:
    """Remove the variable `name`, so that no child sees it, and return its value; None where it is not set.

    Raises OperatorError for what is no whole number of 0 or more.
    """
    value = environment.pop(name, None)
    if value is None:
        return None
    if not (value.isascii() and value.isdigit()):
        raise OperatorError(f"{name}: found {value!r} in the environment; want a whole number")
    return int(value)
