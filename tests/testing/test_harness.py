"""A proxy in a block: names become addresses, and logs stay in memory."""

import logging

import pytest
import trio

from sozu_trio.errors import ConfigError
from sozu_trio.nursery.bind import open_listening_socket
from sozu_trio.testing import Client, open_backend, open_test_proxy

pytestmark = pytest.mark.virtual_time

CONFIG = """
[[listeners]]
protocol = "http"
address = "$http"
[clusters.api]
protocol = "http"
frontends = [{ address = "$http", hostname = "example.com" }]
backends = [{ address = "${api}" }]
"""


async def test_names_are_addresses_of_backends_given_and_of_listeners() -> None:
    async with open_backend() as backend, open_test_proxy(CONFIG, api=backend) as proxy:
        assert list(proxy.addresses) == ["http"]
        assert proxy.supervisor.listening == [proxy.addresses["http"]]
        assert proxy.config.backends[0].address == backend.address
        client = await proxy.connect()
        assert (await client.get()).body == b"ok"
        await client.close()
    with pytest.raises(OSError, match="all attempts to connect"):
        await Client.open(proxy.addresses["http"])
    open_listening_socket(proxy.addresses["http"]).close()


async def test_an_address_may_be_given_as_text_and_a_dollar_is_two() -> None:
    text = CONFIG.replace('"example.com"', '"/a$$|b/.example.com"')
    async with open_backend() as backend, open_test_proxy(text, api=str(backend)) as proxy:
        assert proxy.config.http_frontends[0].hostname == "/a$|b/.example.com"


async def test_what_is_wrong_is_told_as_serve_tells_it() -> None:
    with pytest.raises(ConfigError, match=r"test: clusters\.api.*backend_s"):
        async with open_test_proxy(CONFIG.replace("backends", "backend_s")):
            pytest.fail("it serves")


async def test_lines_of_both_logs_stay_in_memory_and_logging_is_as_before() -> None:
    level = logging.getLogger("sozu_trio").level
    async with open_backend() as backend:
        async with open_test_proxy(CONFIG, api=backend) as proxy:
            client = await proxy.connect()
            await client.get("/logged")
            await client.close()
            assert any("listening on tcp" in line for line in proxy.log)
            await trio.sleep(1)
            (line,) = proxy.access_log
            assert " GET /logged 200 |" in line
        assert any("no longer" in line or "listening on" in line for line in proxy.log)
    assert logging.getLogger("sozu_trio").level == level


async def test_directives_say_what_is_logged() -> None:
    async with open_backend() as backend, open_test_proxy(CONFIG, log="error", api=backend) as proxy:
        client = await proxy.connect()
        await client.get()
        await client.close()
        await trio.sleep(1)
        assert (proxy.log, proxy.access_log) == ([], [])


async def test_all_access_lines_are_there_once_it_has_stopped() -> None:
    async with open_backend() as backend, open_test_proxy(CONFIG, api=backend) as proxy:
        client = await proxy.connect()
        for _ in range(50):
            await client.get()
        await proxy.supervisor.stop(None)
        await proxy.supervisor.stopped.wait()
        assert len(proxy.access_log) == 50
        await client.close()
