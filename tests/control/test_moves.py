"""What workers say to one another comes back as it went."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sozu_trio.config.addresses import Address
from sozu_trio.control.codec import decode, encode
from sozu_trio.control.moves import ANSWERS, OFFERS, Failing, KeptAlive, Learned, Offered, Parcel, Taken, Tunnelled, Way
from sozu_trio.errors import ChannelError

HERE = Address("::1", 443)
NEW = Parcel(transport="tcp", address=HERE, name="one", peer=("::1", 1, 0, 0), age=0.5)


def kept(early: bytes) -> Parcel:
    kept_alive = KeptAlive(client=HERE, destination=HERE, early=early, idle=1.5, served=True)
    return Parcel(transport="tcp", address=HERE, name="two", peer=("127.0.0.1", 1), age=1, kept_alive=kept_alive)


def tunnelled(up: bytes, down: bytes) -> Parcel:
    tunnel = Tunnelled(
        upgraded=True,
        cluster_id="api",
        backend_id="b0",
        backend=HERE,
        to_backend=Way(held=up, ended=True),
        to_client=Way(held=down, ended=False),
        idle_timeout=0,
        idle_left=0,
        lasted=7,
        bytes_in=1 << 40,
        bytes_out=0,
        record={"tags": {"a": "b"}, "status": 101, "response_time": None},
    )
    return Parcel(transport="tcp", address=HERE, name="three", peer=("127.0.0.1", 1), age=1, tunnelled=tunnel)


@given(st.binary(), st.binary(), st.binary())
def test_sessions_travel_with_every_byte_of_theirs(early: bytes, up: bytes, down: bytes) -> None:
    offered = Offered(parcels=(NEW, kept(early), tunnelled(up, down)))
    found = decode(encode(offered), OFFERS)
    assert isinstance(found, Offered)
    assert [parcel.kept_alive for parcel in found.parcels] == [parcel.kept_alive for parcel in offered.parcels]
    assert [parcel.tunnelled for parcel in found.parcels] == [parcel.tunnelled for parcel in offered.parcels]
    assert [tuple(parcel.peer) for parcel in found.parcels] == [parcel.peer for parcel in offered.parcels]
    assert [parcel.sockets for parcel in found.parcels] == [1, 1, 2]
    assert [parcel.size for parcel in found.parcels] == [0, len(early), len(up) + len(down)]


def test_so_does_the_rest() -> None:
    failing = Failing(cluster_id="api", backend_id="b0", address=HERE, failures=3, seconds=1.5)
    learned, taken = Learned(failing=(failing,)), Taken(taken=(0, 2), refused=(1,), room=9)
    assert decode(encode(learned), OFFERS) == learned
    assert decode(encode(taken), ANSWERS) == taken


def test_bytes_that_are_no_base_64_are_refused() -> None:
    spoilt = encode(Offered(parcels=(kept(b"abc"),))).replace(b"YWJj", b"YW!j")
    with pytest.raises(ChannelError):
        decode(spoilt, OFFERS)
