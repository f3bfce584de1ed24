"""Chains in any order come out in order, and what does not link is refused."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sozu_trio.errors import BadCertificate
from sozu_trio.tls.chain import LONGEST_CHAIN, order_chain
from tests.tls.parts import authorities, issue, rsa_key

ROOT, MIDDLE, LAST = authorities("root", "middle", "last")
LEAF = issue("example.com", common_name="leaf", by=LAST)
WHOLE = [each.certificate for each in (LEAF, LAST, MIDDLE, ROOT)]


@pytest.mark.parametrize("given_", list(itertools.permutations(WHOLE)))
def test_any_order(given_: tuple[object, ...]) -> None:
    assert order_chain(given_, LEAF.key.public_key()) == WHOLE  # type: ignore[arg-type]


@given(st.lists(st.sampled_from(WHOLE), min_size=1, max_size=LONGEST_CHAIN))
def test_certificates_given_twice_count_once(chosen: list[object]) -> None:
    assert order_chain([*WHOLE, *chosen], LEAF.key.public_key()) == WHOLE  # type: ignore[list-item]


def test_without_a_root_and_alone() -> None:
    assert order_chain(WHOLE[2::-1], LEAF.key.public_key()) == WHOLE[:3]
    assert order_chain(WHOLE[:1], LEAF.key.public_key()) == WHOLE[:1]


def test_the_leaf_is_the_one_with_the_key() -> None:
    assert order_chain([WHOLE[3], WHOLE[2]], MIDDLE.key.public_key()) == [WHOLE[2], WHOLE[3]]


def test_an_authority_that_another_one_signed_as_well() -> None:
    older = issue(common_name="older", authority=True)
    crossed = issue(common_name="root", key=ROOT.key, by=older, authority=True)
    for given_ in itertools.permutations([*WHOLE, crossed.certificate]):
        assert order_chain(given_, LEAF.key.public_key()) == [*WHOLE[:3], crossed.certificate]


def test_authorities_that_sign_each_other_come_to_an_end() -> None:
    one = issue(common_name="one", authority=True)
    two = issue(common_name="two", by=one, authority=True)
    back = issue(common_name="one", key=one.key, by=two, authority=True)
    leaf = issue("example.com", by=two)
    chain = order_chain([each.certificate for each in (leaf, two, back)], leaf.key.public_key())
    assert chain == [leaf.certificate, two.certificate, back.certificate]


def test_a_key_that_does_not_fit() -> None:
    with pytest.raises(BadCertificate, match="the private key does not fit the certificate of `CN=leaf`"):
        order_chain(WHOLE, rsa_key().public_key())


def test_a_chain_with_a_gap() -> None:
    with pytest.raises(
        BadCertificate,
        match=r"`CN=middle` has signed none of the certificates before it\. The chain ends at `CN=leaf`, signed by"
        " `CN=last`, which is not among them",
    ):
        order_chain([WHOLE[0], WHOLE[2]], LEAF.key.public_key())


def test_a_stray_beside_a_complete_chain() -> None:
    stray = issue("other.example", common_name="stray")
    with pytest.raises(BadCertificate, match="`CN=stray` does not belong to it, which is complete with `CN=root`"):
        order_chain([*WHOLE, stray.certificate], LEAF.key.public_key())


def test_an_authority_of_the_right_name_that_has_signed_nothing() -> None:
    impostor = issue(common_name="last", authority=True)
    with pytest.raises(BadCertificate, match="the chain does not link"):
        order_chain([LEAF.certificate, impostor.certificate], LEAF.key.public_key())


def test_too_many() -> None:
    many = [issue(f"{number}.example").certificate for number in range(LONGEST_CHAIN + 1)]
    with pytest.raises(BadCertificate, match="17 certificates in one chain: want at most 16"):
        order_chain(many, many[0].public_key())
