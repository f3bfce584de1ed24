"""Active https listeners are refused, however they are asked for, and start nothing."""

from pathlib import Path

import pytest

from sozu_trio.config.addresses import Address
from sozu_trio.config.listeners import HttpListener, HttpsListener
from sozu_trio.errors import ChangeRefused
from sozu_trio.main.unserved import refuse_unserved
from sozu_trio.routing.state import declare
from tests.main.running import nothing_changes, running, write

NEW = "127.0.0.1:8443"
SAID = f"https listener {NEW}: https listeners are not served yet; want it inactive"


def test_only_those_that_are_active() -> None:
    plain, https = HttpListener(address=Address("127.0.0.1", 80)), HttpsListener(address=Address("127.0.0.1", 8443))
    refuse_unserved(declare([plain], [], [], [], []))
    with pytest.raises(ChangeRefused, match=SAID):
        refuse_unserved(declare([plain, https], [], [], [], []))


async def test_over_the_socket(tmp_path: Path) -> None:
    async with running(write(tmp_path)) as main:
        await main.ask("listener https add", address=NEW)
        for verb in ("listener https activate", "listener activate"):
            with nothing_changes(main):
                assert (await main.refusal(verb, {"address": NEW})).startswith(SAID)
        with nothing_changes(main):
            batch = {"changes": [{"verb": "listener activate", "address": NEW}]}
            assert (await main.refusal("apply", batch)).startswith(SAID)


async def test_a_start(tmp_path: Path) -> None:
    file = write(tmp_path)
    text = file.read_text().replace("activate_listeners = false", "")
    file.write_text(text + f'[[listeners]]\nprotocol = "https"\naddress = "{NEW}"\n')
    with pytest.raises(ChangeRefused, match=SAID):
        async with running(file):
            pass
