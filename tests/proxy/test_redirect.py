"""https_redirect, as a client over plain HTTP sees it."""

import pytest
from trio.testing import MockClock

from tests.proxy.parts import Net, access_log, request


@pytest.mark.parametrize(
    ("keys", "location"),
    [
        ("https_redirect = true", b"https://example.com/x?y=1"),
        ("https_redirect = true\nhttps_redirect_port = 8443", b"https://example.com:8443/x?y=1"),
    ],
)
async def test_redirected_at_once(net: Net, clock: MockClock, keys: str, location: bytes) -> None:
    backend = await net.backend()
    proxy = await net.proxy(backend, cluster=keys, listener="")
    client = await net.client(proxy)
    for _ in range(2):
        await client.send(request("GET /x?y=1"))
        response = await client.response()
        assert (response.status, response.fields[b"location"]) == (301, location)
    assert backend.connections == 0
    assert "redirected to https" in (await access_log(proxy, 2))[1]


async def test_who_names_no_host_cannot_be_redirected(net: Net, clock: MockClock) -> None:
    proxy = await net.proxy(await net.backend(), cluster="https_redirect = true", hostname="*")
    client = await net.client(proxy)
    await client.send(b"GET / HTTP/1.0\r\n\r\n")
    response = await client.response()
    assert (response.status, response.fields.get(b"location")) == (400, None)
