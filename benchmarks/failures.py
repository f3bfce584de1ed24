"""What is in a group of exceptions: the benchmarks and drills print each failure on a line of its own."""

from collections.abc import Iterator
from typing import Any


def leaves(error: BaseException) -> Iterator[BaseException]:
    """`error` itself or, where it is a group, what is in it and in the groups in it."""
    if isinstance(error, BaseExceptionGroup):
        group: BaseExceptionGroup[Any] = error
        for inner in group.exceptions:
            yield from leaves(inner)
    else:
        yield error


def told(error: BaseException, failures: tuple[type[Exception], ...]) -> list[str]:
    """What each of `failures` in `error` says. Raises it where it holds anything else."""
    each = list(leaves(error))
    if not all(isinstance(leaf, failures) for leaf in each):
        raise error
    return [str(leaf) for leaf in each]
