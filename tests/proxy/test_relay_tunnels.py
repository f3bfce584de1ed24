"""Tunnels: two relays, each with an end of its own, and an idle timeout for both."""

import gc
import random
import socket
import weakref

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from sozu_trio.proxy.stream import Stream
from tests.proxy.relay_ends import TEXT, Ends, receive, send

pytestmark = pytest.mark.virtual_time


@pytest.mark.parametrize("seed", range(2))
async def test_a_tunnel_goes_both_ways_at_once(seed: int, ends: Ends) -> None:
    rng = random.Random(seed)
    to_backend, to_client = bytearray(), bytearray()
    back = TEXT[::-1]
    tunnel = ends.tunnel(to_backend=b"early-", to_client=b"first-")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tunnel.run)
        nursery.start_soon(send, ends.client, TEXT, rng)
        nursery.start_soon(send, ends.backend, back, rng)
        nursery.start_soon(receive, ends.backend, to_backend, None, rng)
        nursery.start_soon(receive, ends.client, to_client, None, rng)
    assert to_backend == b"early-" + TEXT
    assert to_client == b"first-" + back
    assert (tunnel.outcome, tunnel.failed, tunnel.timed_out) == ("complete", None, False)


@pytest.mark.parametrize("who", ["client", "backend"])
async def test_half_closed_the_other_way_goes_on_for_hours(who: str, ends: Ends) -> None:
    done, other = (ends.client, ends.backend) if who == "client" else (ends.backend, ends.client)
    tunnel = ends.tunnel(idle_timeout=60)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tunnel.run)
        done.send(b"the last I say")
        done.shutdown(socket.SHUT_WR)
        await wait_all_tasks_blocked()
        assert other.recv(100) == b"the last I say"
        assert other.recv(100) == b""
        for _ in range(200):
            await trio.sleep(59)
            other.send(b"tick")
            await wait_all_tasks_blocked()
            assert done.recv(100) == b"tick"
        other.shutdown(socket.SHUT_WR)
    assert tunnel.outcome == "complete"


async def test_a_byte_in_either_direction_keeps_it_alive(ends: Ends) -> None:
    tunnel = ends.tunnel(idle_timeout=10)
    begun = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tunnel.run)
        for sock, peer in ((ends.client, ends.backend), (ends.backend, ends.client)) * 3:
            await trio.sleep(9)
            sock.send(b"x")
            await wait_all_tasks_blocked()
            assert peer.recv(10) == b"x"
    assert trio.current_time() - begun == 6 * 9 + 10
    assert (tunnel.timed_out, tunnel.outcome) == (True, "idle for too long")


async def test_an_idle_timeout_of_zero_is_none(ends: Ends) -> None:
    tunnel = ends.tunnel(idle_timeout=0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tunnel.run)
        await trio.sleep(15_000)
        ends.client.send(b"still here")
        await wait_all_tasks_blocked()
        assert ends.backend.recv(100) == b"still here"
        nursery.cancel_scope.cancel(reason="seen")


@pytest.mark.parametrize(("who", "outcome"), [("client", "the client broke"), ("backend", "the backend broke")])
async def test_who_breaks_it_ends_it(who: str, outcome: str, ends: Ends) -> None:
    tunnel = ends.tunnel()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tunnel.run)
        await wait_all_tasks_blocked()
        Stream(getattr(ends, who), 0).abort()
    assert tunnel.outcome == f"{outcome} the connection"
    assert tunnel.failed is getattr(ends, f"{who}_side")


async def test_cancelled_from_outside_it_has_not_timed_out(ends: Ends) -> None:
    tunnel = ends.tunnel(idle_timeout=10)
    with trio.move_on_after(5):
        await tunnel.run()
    assert (tunnel.timed_out, tunnel.failed) == (False, None)


@pytest.mark.parametrize(("source", "sink"), [("client", "backend"), ("backend", "client")])
async def test_what_it_holds_goes_with_it_when_the_sink_breaks(source: str, sink: str, ends: Ends) -> None:
    tunnel = ends.tunnel(idle_timeout=10)
    gone = weakref.ref(tunnel)
    gc.disable()
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(tunnel.run)
            nursery.start_soon(send, getattr(ends, source), TEXT * 8)
            await wait_all_tasks_blocked()
            Stream(getattr(ends, sink), 0).abort()
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel(reason="seen")
        assert tunnel.failed is getattr(ends, f"{sink}_side")
        del tunnel
        assert gone() is None
    finally:
        gc.enable()
