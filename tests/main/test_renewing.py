"""Files of certificates that are renewed while main runs, from one look to the next."""

import errno
import logging
import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import trio
import trio.testing

from sozu_trio.config.regular import read_regular
from sozu_trio.errors import JournalError
from sozu_trio.main import certificate_files
from sozu_trio.main.renewing import look, watch_certificates
from sozu_trio.main.seen_files import handed_over, taken_over
from tests.main.looking_parts import AskedMain
from tests.main.running import nothing_changes, running, told_by_main, write
from tests.main.test_certifying import FILE, HTTPS, NOW, fingerprint, put, valid
from tests.tls.parts import issue

SECOND = f"""
[clusters.more]
protocol = "http"
frontends = [{{ address = "{HTTPS}", hostname = "more.example", certificate = "more.pem", key = "more.key" }}]
"""
FIRST, MORE = valid("*.example"), valid("more.example")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    put(tmp_path, FIRST)
    put(tmp_path, MORE, "more")
    return write(tmp_path, FILE + SECOND)


@pytest.fixture
async def main(file: Path) -> AsyncIterator[AskedMain]:
    async with running(file) as asked:
        yield asked


@pytest.fixture(autouse=True)
def logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """A running main has its log to itself."""
    logger = logging.getLogger("sozu_trio.main.renewing")
    logger.addHandler(caplog.handler)
    yield
    logger.removeHandler(caplog.handler)


def shown(main: AskedMain) -> set[str]:
    return {digits for _, digits in main.parts.transactions.state.certificates}


async def looks(main: AskedMain, number: int = 2) -> None:
    for _ in range(number):
        await look(main.parts)


async def test_nothing_happens_as_long_as_nothing_changes(main: AskedMain) -> None:
    with nothing_changes(main):
        await looks(main, 3)


async def test_a_renewed_certificate_takes_the_place_of_the_one_before(main: AskedMain, tmp_path: Path) -> None:
    renewed = valid("*.example", days=80)
    put(tmp_path, renewed)
    with main.parts.events.listen() as events:
        await looks(main)
        assert [each["kind"] for each in told_by_main(events)] == ["CERTIFICATE_REPLACED"]
    assert shown(main) == {fingerprint(renewed), fingerprint(MORE)}
    state = main.parts.transactions.state
    assert state.declared is not None
    assert state.declared.certificates.keys() == state.certificates.keys()
    assert all(each.default is (each.certificate.names == ("*.example",)) for each in state.certificates.values())
    entry = main.parts.journal.history.entries[-1]
    assert (entry.process, entry.pid, entry.uid) == ("watch", os.getpid(), os.getuid())
    assert entry.what == f"renewed: {tmp_path}/default.pem"
    (audited,) = main.audited
    assert 'result="ok"' in audited
    assert 'verb="certificate watch"' in audited
    with nothing_changes(main):
        await looks(main)


async def test_one_look_is_not_enough_for_it(main: AskedMain, tmp_path: Path) -> None:
    for days in (80, 81, 82):
        put(tmp_path, valid("*.example", days=days))
        with nothing_changes(main):
            await look(main.parts)


async def test_a_key_that_does_not_fit_yet(main: AskedMain, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    renewed, other = valid("*.example", days=80), valid("more.example", days=80)
    tmp_path.joinpath("default.pem").write_bytes(renewed.pem)
    put(tmp_path, other, "more")
    with main.parts.events.listen() as events:
        await looks(main, 5)
        kinds = [(each["kind"], each.get("details", "")) for each in told_by_main(events)]
    assert [kind for kind, _ in kinds] == ["CERTIFICATE_UNUSABLE", "CERTIFICATE_REPLACED"]
    assert "listeners[2].certificate" in kinds[0][1]
    assert "the private key does not fit" in kinds[0][1]
    assert len([each for each in caplog.records if each.levelno >= logging.WARNING]) == 1
    assert shown(main) == {fingerprint(FIRST), fingerprint(other)}
    listed = await main.answer("certificate list")
    assert "the private key does not fit" in listed.message
    assert len(listed.content["unusable"]) == 1
    tmp_path.joinpath("default.key").write_bytes(renewed.key_pem)
    await looks(main)
    assert shown(main) == {fingerprint(renewed), fingerprint(other)}
    assert (await main.ask("certificate list"))["unusable"] == []


def garble(path: Path) -> None:
    path.write_text("garbage")


def remove(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize(("spoil", "why"), [(garble, "no certificate in PEM form"), (remove, "cannot read")])
async def test_what_cannot_be_used_leaves_the_old_one(
    main: AskedMain, tmp_path: Path, spoil: Callable[[Path], None], why: str, caplog: pytest.LogCaptureFixture
) -> None:
    state = main.parts.transactions.state
    spoil(tmp_path / "default.pem")
    await looks(main, 4)
    assert main.parts.transactions.state is state
    assert main.audited == []
    (warning,) = [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING]
    assert why in warning
    put(tmp_path, FIRST)
    await looks(main)
    assert (await main.ask("certificate list"))["unusable"] == []
    assert main.parts.transactions.state is state


async def test_an_expired_one_is_no_renewal(main: AskedMain, tmp_path: Path) -> None:
    expired = valid("*.example", days=-0.001)
    tmp_path.joinpath("default.pem").write_bytes(expired.pem)
    tmp_path.joinpath("default.key").write_bytes(expired.key_pem)
    await looks(main)
    assert shown(main) == {fingerprint(FIRST), fingerprint(MORE)}
    (fault,) = (await main.ask("certificate list"))["unusable"]
    assert "has expired" in fault


@pytest.mark.parametrize("error", [errno.EACCES, errno.EMFILE, errno.EIO])
async def test_what_could_not_be_read_is_read_at_the_next_look(
    main: AskedMain, tmp_path: Path, error: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    renewed = valid("*.example", days=80)
    put(tmp_path, renewed)

    def fail(path: Path) -> bytes:
        if path.suffix == ".key":
            raise OSError(error, os.strerror(error))
        return read_regular(path)

    with monkeypatch.context() as disk:
        disk.setattr(certificate_files, "read_regular", fail)
        await looks(main, 4)
    (fault,) = (await main.ask("certificate list"))["unusable"]
    assert os.strerror(error) in fault
    await looks(main, 1)
    assert shown(main) == {fingerprint(renewed), fingerprint(MORE)}
    assert (await main.ask("certificate list"))["unusable"] == []
    assert len([each for each in caplog.records if each.levelno >= logging.WARNING]) == 1
    with nothing_changes(main):
        await looks(main)


async def test_one_that_is_not_valid_yet_waits_until_it_is(
    main: AskedMain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    renewed = issue("*.example", begin=NOW + 1000, end=NOW + 86400)
    tmp_path.joinpath("default.pem").write_bytes(renewed.pem)
    tmp_path.joinpath("default.key").write_bytes(renewed.key_pem)
    await looks(main, 4)
    assert shown(main) == {fingerprint(FIRST), fingerprint(MORE)}
    (fault,) = (await main.ask("certificate list"))["unusable"]
    assert "is not valid yet" in fault
    monkeypatch.setattr(certificate_files, "time", SimpleNamespace(time=lambda: NOW + 1001))
    await looks(main, 1)
    assert shown(main) == {renewed.read(NOW + 1001).fingerprint, fingerprint(MORE)}
    assert (await main.ask("certificate list"))["unusable"] == []
    assert len([each for each in caplog.records if each.levelno >= logging.WARNING]) == 1


async def test_nothing_else_of_the_configuration_is_read(main: AskedMain, tmp_path: Path) -> None:
    clusters = main.parts.transactions.state.clusters
    write(tmp_path, "broken")
    put(tmp_path, valid("*.example", days=80))
    await looks(main)
    assert main.parts.transactions.generation == 2
    assert main.parts.transactions.state.clusters is clusters


async def test_what_was_replaced_over_the_socket_stays_replaced(main: AskedMain, tmp_path: Path) -> None:
    """As at a start: only what is other in the files counts."""
    spoken, renewed = valid("*.example", days=40), valid("more.example", days=80)
    body = {"new-certificate": spoken.pem.decode(), "new-key": spoken.key_pem.decode()}
    await main.ask("certificate replace", address=HTTPS, fingerprint=fingerprint(FIRST), **body)
    put(tmp_path, renewed, "more")
    await looks(main)
    assert shown(main) == {fingerprint(spoken), fingerprint(renewed)}
    again = valid("*.example", days=81)
    put(tmp_path, again)
    await looks(main)
    assert shown(main) == {fingerprint(spoken), fingerprint(renewed), fingerprint(again)}
    await main.ask("reload")
    assert shown(main) == {fingerprint(spoken), fingerprint(renewed), fingerprint(again)}


async def test_a_rollback_does_not_bring_the_one_before_back(main: AskedMain, tmp_path: Path) -> None:
    renewed = valid("*.example", days=80)
    await main.ask("cluster add", id="new")
    put(tmp_path, renewed)
    await looks(main)
    said = (await main.answer("rollback", {"generation": 1})).message
    assert said == "generation 4 is what generation 1 was, but for 1 certificate whose files were renewed since"
    assert shown(main) == {fingerprint(renewed), fingerprint(MORE)}
    assert "new" not in main.parts.transactions.state.clusters
    again = valid("*.example", days=81)
    put(tmp_path, again)
    await looks(main)
    assert shown(main) == {fingerprint(again), fingerprint(MORE)}


async def test_a_reload_says_which_files_are_watched(main: AskedMain, file: Path, tmp_path: Path) -> None:
    write(tmp_path, FILE.replace("default.", "more.") + "[clusters.other]\nprotocol = 'http'\n")
    await main.ask("reload")
    with nothing_changes(main):
        put(tmp_path, valid("*.example", days=80))
        await looks(main, 3)
    renewed = valid("more.example", days=80)
    put(tmp_path, renewed, "more")
    await looks(main)
    assert shown(main) == {fingerprint(renewed)}


async def test_a_reload_that_comes_first_wins(main: AskedMain, file: Path, tmp_path: Path) -> None:
    """The look has read what nobody names any more when its turn comes."""
    put(tmp_path, valid("*.example", days=80))
    await look(main.parts)
    write(tmp_path, FILE.replace("default.", "more."))
    async with trio.open_nursery() as nursery, main.parts.transactions.still():
        nursery.start_soon(main.ask, "reload")
        await trio.testing.wait_all_tasks_blocked(0.3)
        nursery.start_soon(look, main.parts)
        await trio.testing.wait_all_tasks_blocked(0.3)
    assert shown(main) == {fingerprint(MORE)}
    assert main.parts.transactions.generation == 2


async def test_what_is_renewed_while_main_begins_is_not_lost(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    renewed = valid("*.example", days=80)

    def read_and_renew(path: Path) -> bytes:
        read = read_regular(path)
        if path.name == "default.key":
            put(tmp_path, renewed)
        return read

    monkeypatch.setattr(certificate_files, "read_regular", read_and_renew)
    async with running(file) as main:
        monkeypatch.undo()
        assert shown(main) == {fingerprint(FIRST), fingerprint(MORE)}
        await looks(main)
        assert shown(main) == {fingerprint(renewed), fingerprint(MORE)}


async def test_what_another_image_of_main_has_left_is_read_once_more(main: AskedMain, tmp_path: Path) -> None:
    watch = main.parts.certificate_watch
    renewed = valid("*.example", days=80)
    put(tmp_path, renewed)
    watch.follow(taken_over(handed_over(watch.seen)), 1)
    await looks(main)
    assert shown(main) == {fingerprint(renewed), fingerprint(MORE)}
    with nothing_changes(main):
        await looks(main)


async def test_without_a_file_there_is_nothing_to_look_at(tmp_path: Path) -> None:
    async with running(write(tmp_path)) as main:
        with nothing_changes(main):
            await looks(main)


async def test_it_is_tried_again_until_it_is_in_force_and_told_once(
    main: AskedMain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    renewed = valid("*.example", days=80)
    put(tmp_path, renewed)
    main.parts.certificate_watch.interval = 0.01
    attempts, done = 0, trio.Event()
    append = main.parts.journal.append

    async def fail(entry: object) -> None:
        nonlocal attempts
        attempts += 1
        if attempts < 4:
            raise JournalError("the disk is full")
        await append(entry)  # type: ignore[arg-type]
        done.set()

    monkeypatch.setattr(type(main.parts.journal), "append", lambda _self, entry: fail(entry))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch_certificates, main.parts)
        await done.wait()
        async with main.parts.transactions.still():
            pass
        nursery.cancel_scope.cancel(reason="seen")
    assert shown(main) == {fingerprint(renewed), fingerprint(MORE)}
    assert attempts == 4
    errors = [each.getMessage() for each in caplog.records if each.levelno >= logging.ERROR]
    assert errors == ["renewed certificates are not in force: the disk is full"]
