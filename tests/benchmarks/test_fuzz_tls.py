"""A short run against a real proxy, and servers that misbehave: they must be noticed."""

from collections import Counter

import pytest
import trio
from trio.testing import memory_stream_one_way_pair

from benchmarks.fuzz_beside import Unsound, problems
from benchmarks.fuzz_hellos import HANDSHAKE, VERSIONS, Hellos, client_context, hello, recorded
from benchmarks.fuzz_tls import Figures, are_counted, run, show
from benchmarks.tls_records import read_records

ALERT = b"\x15\x03\x03\x00\x02\x02\x32"


@pytest.mark.drill
def test_a_real_proxy_is_sound(capsys: pytest.CaptureFixture[str], full_drill: bool) -> None:
    figures = Figures()
    assert list(run(1, 60 if full_drill else 2, figures)) == []
    if full_drill:
        assert list(problems(figures)) == []
    assert figures.requests > 10
    assert figures.ends["closed"] > 10
    assert figures.handshakes + sum(figures.failed.values()) == figures.connections
    show(figures)
    assert f"{figures.connections:,} connections" in capsys.readouterr().out


async def said(data: bytes) -> str:
    sender, receiver = memory_stream_one_way_pair()
    await sender.send_all(data)
    await sender.aclose()
    return await read_records(receiver)


@pytest.mark.parametrize("data", [b"", ALERT, b"\x16\x03\x03\x40\x00" + bytes(16384) + ALERT])
async def test_records_and_the_end(data: bytes) -> None:
    assert await said(data) == "closed"


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "no record of TLS"),
        (ALERT + b"\x17\x03\x03\xff\xff", "no record of TLS"),
        (b"\x16\x02\x03\x00\x00", "no record of TLS"),
        (ALERT[:-1], "cut short"),
        (ALERT + b"\x15", "cut short"),
    ],
)
async def test_what_is_no_record(data: bytes, why: str) -> None:
    with pytest.raises(Unsound, match=why):
        await said(data)


async def test_a_reset_may_take_the_last_record_with_it() -> None:
    class Reset(trio.abc.ReceiveStream):
        pieces = iter((ALERT + b"\x15",))

        async def receive_some(self, max_bytes: int | None = None) -> bytes:
            for piece in self.pieces:
                return piece
            raise trio.BrokenResourceError

        async def aclose(self) -> None:
            pass

    assert await read_records(Reset()) == "reset"


def test_the_same_seed_says_the_same() -> None:
    hellos = recorded()
    first, second = Hellos("7", hellos), Hellos("7", hellos)
    said = [first.next() for _ in range(300)]
    assert said == [second.next() for _ in range(300)]
    assert all(b"".join(pieces) for pieces in said)


def test_a_hello_is_one_record() -> None:
    for versions in VERSIONS:
        data = hello(client_context(versions), "traffic.example")
        assert (data[0], len(data)) == (HANDSHAKE, 5 + int.from_bytes(data[3:5]))


def test_each_byte_has_its_cut() -> None:
    whole = hello(client_context(VERSIONS[0]), None)
    cuts = Hellos("1", [whole])
    assert {len(cuts._cut()) for _ in whole} == set(range(1, len(whole) + 1))


@pytest.mark.parametrize(("failed", "all_of_them"), [(2, True), (1, False), (3, False)])
def test_connections_must_be_counted_once(failed: int, all_of_them: bool) -> None:
    figures = Figures(connections=5)
    metrics = {"tls.handshakes": 3, "tls.handshake.failed.closed": failed, "http.requests": 9}
    assert are_counted(metrics, figures) == all_of_them
    assert figures.failed == Counter({"closed": failed})
