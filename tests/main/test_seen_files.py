"""Files of certificates as they were: whatever renews one makes it another, and reading it does not."""

import os
from pathlib import Path

import pytest

from sozu_trio.config.addresses import Address
from sozu_trio.config.certificates import CertificateFiles
from sozu_trio.control.codec import converter
from sozu_trio.main.handoff import Handoff
from sozu_trio.main.seen_files import SeenFiles, handed_over, identities_of, paths_of, taken_over


def files(directory: Path, port: int = 443, chain: bool = False) -> CertificateFiles:
    return CertificateFiles(
        where="listeners[0]",
        address=Address("127.0.0.1", port),
        certificate=directory / "live",
        key=directory / "key",
        chain=directory / "chain" if chain else None,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("one", "two", "key"):
        tmp_path.joinpath(name).write_text("same length")
    tmp_path.joinpath("live").symlink_to("one")
    return tmp_path


def swap_link(folder: Path) -> None:
    folder.joinpath("new").symlink_to("two")
    folder.joinpath("new").replace(folder / "live")


def write_in_place(folder: Path) -> None:
    folder.joinpath("one").write_text("more or less")


def write_as_much_later(folder: Path) -> None:
    os.utime(folder / "one", ns=(1, 1))


def write_as_much_at_once(folder: Path) -> None:
    """Within one tick of the clock that the content goes by, or set back to it."""
    before = os.stat(folder / "one")
    folder.joinpath("one").write_text("SAME LENGTH")
    os.utime(folder / "one", ns=(before.st_atime_ns, before.st_mtime_ns))


def let_nobody_read_it(folder: Path) -> None:
    folder.joinpath("one").chmod(0)


def rename_over(folder: Path) -> None:
    folder.joinpath("two").replace(folder / "one")


def remove(folder: Path) -> None:
    folder.joinpath("one").unlink()


@pytest.mark.parametrize(
    "renew",
    [swap_link, write_in_place, write_as_much_later, write_as_much_at_once, let_nobody_read_it, rename_over, remove],
)
def test_a_renewed_file_is_another_one(folder: Path, renew: object) -> None:
    before = identities_of([files(folder)])
    renew(folder)  # type: ignore[operator]
    after = identities_of([files(folder)])
    assert after[folder / "live"] != before[folder / "live"]
    assert after[folder / "key"] == before[folder / "key"]


def test_reading_it_changes_nothing(folder: Path) -> None:
    before = identities_of([files(folder)])
    folder.joinpath("live").read_bytes()
    assert identities_of([files(folder)]) == before


def test_each_file_is_looked_at_once_and_one_that_is_missing_is_nothing(folder: Path) -> None:
    found = identities_of([files(folder), files(folder, 444, chain=True)])
    assert sorted(path.name for path in found) == ["chain", "key", "live"]
    assert found[folder / "chain"] == ()


def test_the_same_files_belong_together(folder: Path) -> None:
    one, two, other = files(folder), files(folder, 444), files(folder, chain=True)
    seen = SeenFiles(files=(one, two, other), fingerprints={})
    assert seen.groups() == {paths_of(one): [one, two], paths_of(other): [other]}


def test_it_is_handed_over_as_a_record(folder: Path) -> None:
    one, two = files(folder), files(folder, 444, chain=True)
    seen = SeenFiles(
        files=(one, two),
        fingerprints={paths_of(one): "aa", paths_of(two): "bb"},
        identities={folder / "live": (1, 2, 3, 4)},
    )
    kind = Handoff.__annotations__["certificate_files"]
    left = converter.structure(converter.unstructure(handed_over(seen)), kind)
    found = taken_over(left)
    assert (found.files, found.fingerprints, found.identities) == (seen.files, seen.fingerprints, {})
