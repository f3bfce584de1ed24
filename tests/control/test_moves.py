"""What workers say to one another comes back as it went."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sozu_trio.config.addresses import Address
from sozu_trio.control import codec
from sozu_trio.control.codec import decode, encode
from sozu_trio.control.moves import (
    ANSWERS,
    KINDS,
    OFFERS,
    Failing,
    KeptAlive,
    Learned,
    Offered,
    Parcel,
    Taken,
    Tunnelled,
    Way,
)
from sozu_trio.errors import ChannelError

HERE = Address("::1", 443)
NEW = Parcel(transport="tcp", address=HERE, name="one", peer=("::1", 1, 0, 0), age=0.5, held={"": 3, "api": 2**64 - 1})


def kept(early: bytes) -> Parcel:
    kept_alive = KeptAlive(client=HERE, destination=HERE, early=early, idle=1.5, requests=3)
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
    assert [parcel.held for parcel in found.parcels] == [parcel.held for parcel in offered.parcels]
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


def test_what_tunnels_hold_travels_as_it_is() -> None:
    up, down = bytes(range(256)) * 100, b"\n\x00{" * 1000
    document = encode(Offered(parcels=(NEW, tunnelled(up, b""), kept(b"abc"), tunnelled(b"", down))))
    assert document.endswith(up + down)
    assert len(document) < len(up) + len(down) + 2000


@pytest.mark.parametrize(
    ("part", "other"),
    [
        (b" 3 2\n", b" 3 1\n"),
        (b" 3 2\n", b" 3\n"),
        (b" 3 2\n", b" 3 1 1\n"),
        (b" 3 2\n", b" 7 -2\n"),
        (b" 3 2\n", b" 3 x\n"),
        (b'{"Offered":{"parcels":', b'{"Learned":{"failing":'),
    ],
)
def test_what_is_held_must_be_what_was_said_to_be(part: bytes, other: bytes) -> None:
    whole = encode(Offered(parcels=(tunnelled(b"abc", b"de"),)))
    assert whole.count(part) == 1
    with pytest.raises(ChannelError):
        decode(whole.replace(part, other), OFFERS)
    with pytest.raises(ChannelError):
        decode(whole[:-1], OFFERS)


def test_nothing_is_generated_where_all_was_warmed(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise AssertionError("it should have been made before")

    monkeypatch.setattr(codec, "converter", codec._make_converter())
    codec.warm(KINDS)
    monkeypatch.setattr("cattrs.converters.make_dict_structure_fn", fail)
    monkeypatch.setattr("cattrs.converters.make_dict_unstructure_fn", fail)
    failing = Failing(cluster_id="api", backend_id="b0", address=HERE, failures=3, seconds=1.5)
    for offer in (Learned(failing=(failing,)), Offered(parcels=(NEW, kept(b"abc"), tunnelled(b"abc", b"")))):
        assert type(decode(encode(offer), OFFERS)) is type(offer)
    assert decode(encode(Taken(taken=(0,), refused=(), room=9)), ANSWERS).room == 9
