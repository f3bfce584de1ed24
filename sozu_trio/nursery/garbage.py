"""Full garbage collections are kept out of the way of traffic.

A full collection (generation 2) looks through everything there is in one go: 40 ms with the records of a change of
25,500 on top of 10,000 clusters, 140 to 200 ms after two such changes. Python starts one after 10 collections of
generation 1, which is in the middle of such a change. States and Tables have no cycles, so looking at them finds
nothing. Hence

- what is there when the process begins to serve, and what a large change has made, is frozen: never looked at again.
  It is freed all the same when nobody refers to it. What leaks is what was part of a cycle at that moment and is
  dropped later; sessions break theirs (`HttpConnection.run`), so that is next to nothing.
- a full collection comes after FULL_AFTER collections of generation 1 and not after 10: a change of 25,500 takes 30
  of them. Without this it meets two full ones on its way.

`gc.freeze` itself takes microseconds, however much there is.
"""

import gc

FULL_AFTER = 200
"""Collections of generation 1 before a full one: some 1.5 million objects that outlive their first moments."""
LARGE = 1000
"""Records of a change that is worth freezing what it made. Below, a full collection takes 1 ms for it at most."""


def begin_to_serve(*, in_haste: bool = False) -> None:
    """What was made so far stays for good. Looks through it a last time, unless `in_haste`: that takes 100 ms among
    10,000 clusters.
    """
    if not in_haste:
        gc.collect()
    gc.freeze()
    gc.enable()
    young, middle, _ = gc.get_threshold()
    gc.set_threshold(young, middle, FULL_AFTER)


def keep(records: int) -> None:
    """`records` of the configuration have come to stay with whatever was made of them."""
    if records >= LARGE:
        gc.freeze()
