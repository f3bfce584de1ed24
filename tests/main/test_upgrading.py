"""What main makes sure of before it has other code run in its place."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from sozu_trio.errors import OperatorError
from sozu_trio.main.upgrading import at_rest, have_way_back
from sozu_trio.nursery import kept_code
from sozu_trio.nursery.kept_code import KeptCode


async def test_the_code_that_runs_is_kept_before_any_other_is_run() -> None:
    code = KeptCode("json")
    await have_way_back(code)
    assert code.descriptor is not None
    os.fstat(code.descriptor)
    code.close()


async def test_without_a_way_back_there_is_no_upgrade(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_rest: object) -> bytes:
        raise SyntaxError("half written")

    monkeypatch.setattr(kept_code, "zipped_code", fail)
    with pytest.raises(OperatorError, match="no way back from new code that fails; want a stop and a start"):
        await have_way_back(KeptCode("json"))


async def test_changes_go_on_while_a_worker_is_replaced() -> None:
    begun: list[str] = []

    def part(name: str) -> Any:
        @asynccontextmanager
        async def still() -> AsyncIterator[None]:
            begun.append(name)
            yield

        return SimpleNamespace(still=still)

    supervisor = part("supervisor")
    supervisor.upgrading = trio.Lock()
    parts = SimpleNamespace(supervisor=supervisor, transactions=part("transactions"), journal=part("journal"))

    async def rest() -> None:
        async with at_rest(cast(Any, parts)):
            assert supervisor.upgrading.locked()
            begun.append("body")

    async with trio.open_nursery() as nursery, supervisor.upgrading:
        nursery.start_soon(rest)
        await wait_all_tasks_blocked()
        assert begun == []
    assert begun == ["transactions", "supervisor", "journal", "body"]
