"""The form of a journal's lines, which files of other days have, too."""

import json
import zlib

import pytest

from sozu_trio.config.clusters import Cluster
from sozu_trio.control.history import Entry
from sozu_trio.control.journal_lines import base_lines, document_in, entry_line, read_entry
from sozu_trio.routing.delta import Delta
from sozu_trio.routing.state import EMPTY, declare, with_declared

ENTRY = Entry(
    generation=8,
    time=1.25,
    uid=1000,
    pid=42,
    process="ctl\udcff\n",
    what="cluster remove é",
    delta=Delta(gone_clusters=("é",), declared=Delta(gone_clusters=("é",))),
)


def test_an_entry() -> None:
    line = entry_line(ENTRY, lambda: None)
    checksum, _, document = line.partition(b" ")
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert int(checksum, 16) == zlib.crc32(document[:-1])
    members = json.loads(document)
    parts = members.pop("parts")
    assert members == {
        "generation": 8,
        "time": 1.25,
        "uid": 1000,
        "pid": 42,
        "process": "ctl\udcff\n",
        "what": "cluster remove é",
    }
    assert parts[0]["gone_clusters"] == ["é"]
    assert read_entry(document_in(line[:-1])) == ENTRY


def test_the_head() -> None:
    cluster = Cluster(cluster_id="api")
    base = with_declared(declare([], [cluster], [], [], []), declare([], [cluster], [], [], []))
    header, *pieces = [json.loads(line[9:]) for line in base_lines(base, 3, lambda: None)]
    assert header.pop("time") > 1.7e9
    assert header == {"format": "sozu_trio journal", "version": 1, "generation": 3, "base_lines": 1}
    assert [list(piece) for piece in pieces] == [["declared"]]
    assert [*base_lines(EMPTY, 3, lambda: None)][1:] == []


@pytest.mark.parametrize("line", [b"", b" {}", b"0 {}", b"99914b93 {}", b"99914B93 {}"])
def test_no_line(line: bytes) -> None:
    with pytest.raises(ValueError, match="checksum"):
        document_in(line)


def test_an_empty_document() -> None:
    assert document_in(b"%08x {}" % zlib.crc32(b"{}")) == {}
