"""Workers of tests count for themselves."""

from sozu_trio.config.program import Settings
from sozu_trio.nursery.places import Places
from sozu_trio.nursery.regions import Regions
from sozu_trio.nursery.tally import Tally

REGIONS = Regions()
"""What comes with a Begin; nobody looks at what is counted there."""


def alone() -> Tally:
    """Of a worker beside which there is no other."""
    regions = Regions()
    try:
        return Tally(regions.descriptors, regions.give(1))
    finally:
        regions.close()


def unlimited() -> Places:
    """Of a worker whose clients may have as many connections as they like."""
    return Places(alone(), Settings())
