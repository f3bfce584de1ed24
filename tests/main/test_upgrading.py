"""What main makes sure of before it has other code run in its place."""

import os

import pytest

from sozu_trio.errors import OperatorError
from sozu_trio.main.upgrading import have_way_back
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
