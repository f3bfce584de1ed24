"""A spare descriptor makes room for another one, and comes back when it can."""

import os

import pytest

from sozu_trio.control.spare import SpareDescriptor
from tests.descriptors import every_descriptor_taken


def test_what_is_given_up_makes_room_for_one() -> None:
    spare = SpareDescriptor()
    with every_descriptor_taken():
        with spare.given_up():
            found = os.open(os.devnull, os.O_RDONLY)
            with pytest.raises(OSError, match="Too many open files"):
                os.open(os.devnull, os.O_RDONLY)
        assert not spare.renew()
        with spare.given_up(), pytest.raises(OSError, match="Too many open files"):
            os.open(os.devnull, os.O_RDONLY)
        os.close(found)
        assert spare.renew()
        with pytest.raises(OSError, match="Too many open files"):
            os.open(os.devnull, os.O_RDONLY)
    spare.close()
    spare.close()
