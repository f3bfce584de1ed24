"""A file of Sōzu's as a whole: its records, and where it is broken."""

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sozu_trio.control.sozu_state import is_sozu_state, read_sozu_state
from sozu_trio.errors import ChangeRefused

CLUSTER = (
    b'{"id":"SAVE-0","content":{"request_type":{"ADD_CLUSTER":'
    b'{"cluster_id":"app-1","sticky_session":false,"https_redirect":false,"load_balancing":0}}}}'
)
CERTIFICATE = b'{"id":"SAVE-1","content":{"request_type":{"ADD_CERTIFICATE":{"certificate":{"key":"SECRET"}}}}}'


@pytest.mark.parametrize("end", [b"\n\0", b"\0", b"\n", b"\r\n\0", b"\n\n"])
def test_records(end: bytes) -> None:
    data = CLUSTER + end + CERTIFICATE + end
    assert is_sozu_state(data)
    changes, unknown = read_sozu_state(data)
    assert [(change.verb, change.where) for change in changes] == [("cluster add", "records[0]")]
    assert changes[0].body == {"id": "app-1", "load-balancing-policy": "ROUND_ROBIN"}
    assert [str(problem) for problem in unknown] == [
        "records[1]: ADD_CERTIFICATE: certificate: want an object with certificate and key, both PEM"
    ]


def test_a_last_record_without_its_end() -> None:
    changes, _ = read_sozu_state(CLUSTER + b"\n\0" + CLUSTER)
    assert len(changes) == 2


def test_an_empty_file_says_nothing() -> None:
    assert is_sozu_state(b"")
    assert read_sozu_state(b" \n") == ([], [])


@pytest.mark.parametrize("data", [b"{}", b'{"format": "sozu_trio state"}', b'{\n "format": "request_type"}', b"x"])
def test_ours_or_nobodys(data: bytes) -> None:
    assert not is_sozu_state(data)


def test_every_broken_record_is_told() -> None:
    data = b"\n\0".join([CLUSTER, b'{"id"', CLUSTER, b'"\\ud800"', b"\xff", CLUSTER[:-9]])
    with pytest.raises(ChangeRefused) as caught:
        read_sozu_state(data)
    problems = caught.value.problems
    assert [problem.where for problem in problems] == [f"records[{index}]" for index in (1, 3, 4, 5)]
    assert [problem.what.endswith("; the file breaks off here") for problem in problems] == [False, False, False, True]


@settings(max_examples=150, deadline=None)
@given(
    mangle=st.binary(max_size=30) | st.sampled_from([b"[" * 100_000, b'{"a":' * 100_000, b"9" * 5000]),
    at=st.integers(0, 2 * len(CLUSTER)),
    cut=st.integers(0, 40),
)
def test_hostile_bytes(mangle: bytes, at: int, cut: int) -> None:
    whole = CLUSTER + b"\n\0" + CERTIFICATE + b"\n\0"
    with suppress(ChangeRefused):
        read_sozu_state(whole[:at] + mangle + whole[at + cut :])


def test_no_error_shows_what_it_is_about() -> None:
    with pytest.raises(ChangeRefused) as caught:
        read_sozu_state(CERTIFICATE[:-3] + b"\0")
    assert "SECRET" not in str(caught.value)
