"""What tests of the journal share."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from sozu_trio.control import history as history_module
from sozu_trio.control import journal_file


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture
def short_history(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_module, "KEPT", 3)
    monkeypatch.setattr(journal_file, "LONG", 6)


@pytest.fixture
def quiet() -> Iterator[None]:
    logging.getLogger("sozu_trio.control.journal").setLevel(logging.CRITICAL)
    yield
    logging.getLogger("sozu_trio.control.journal").setLevel(logging.NOTSET)
