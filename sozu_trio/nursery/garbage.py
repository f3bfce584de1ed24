"""Garbage collections are kept out of the way of traffic.

A full collection (generation 2) looks through everything there is in one go: 40 ms with the records of a change of
25,500 on top of 10,000 clusters, 140 to 200 ms after two such changes. Python starts one after 10 collections of
generation 1, which is in the middle of such a change. States and Tables have no cycles, so looking at them finds
nothing. Hence

- what is there when the process begins to serve, and what a large change has made, is frozen: never looked at again.
  It is freed all the same when nobody refers to it. What leaks is what was part of a cycle at that moment and is
  dropped later; sessions break theirs (`HttpConnection.run`), so that is next to nothing.
- a full collection comes after some 1.4 million objects that outlive their first moments (THRESHOLDS), twenty times as
  many as Python would wait for. Without this a change of 25,500 meets two full ones on its way.

Requests leave no cycles either, but those under way at once have more than the 700 objects after which Python looks
through the young: on 64 connections once in a hundred requests, for nothing. It cost 1.3 % of the instructions of a
request, and 5 % of what a request has to fetch from beyond a cache of 512 KiB.

`gc.freeze` itself takes microseconds, however much there is.
"""

import gc

THRESHOLDS = 5000, 4, 70
"""As `gc.set_threshold` takes them. The young are what 250 requests have at once; to look through those of the middle
takes 2 ms at most.
"""
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
    gc.set_threshold(*THRESHOLDS)


def keep(records: int) -> None:
    """`records` of the configuration have come to stay with whatever was made of them."""
    if records >= LARGE:
        gc.freeze()
