"""A proxy that runs from a copy of the package, so that its code can change, and how it upgrades."""

import contextlib
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sozu_trio
from tests.e2e.clients import connect, curl, get, receive_until
from tests.e2e.control import ctl_json
from tests.e2e.parts import Proxy
from tests.e2e.test_workers import workers

PACKAGE = Path(sozu_trio.__file__).parent


class Copy:
    """The package in a folder of its own, to be served from there and then changed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(PACKAGE, folder / "sozu_trio", ignore=shutil.ignore_patterns("__pycache__"))

    @property
    def environment(self) -> dict[str, str]:
        """Byte code is written, for it is what most have; here it may be switched off."""
        return {"PYTHONPATH": str(self.folder), "PYTHONDONTWRITEBYTECODE": ""}

    def append(self, module: str, code: str) -> None:
        """Add `code` at the end of a module; `first` there: whether it has taken the place of another image."""
        file = self.folder / "sozu_trio" / module
        file.write_text(f"{file.read_text()}\nimport sys\nfirst = '_sozu_trio_guard' in sys.modules\n{code}\n")

    def replace(self, module: str, old: str, new: str) -> None:
        file = self.folder / "sozu_trio" / module
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new))


def fetch(proxy: Proxy) -> bytes:
    return curl(f"http://127.0.0.1:{proxy.port}/page").body


def upgrade(proxy: Proxy, *words: str) -> Any:
    return ctl_json(proxy, "upgrade", *words)


def who_serves(proxy: Proxy) -> list[tuple[int, int, str, int]]:
    return [(each["id"], each["pid"], each["state"], each["generation"]) for each in workers(proxy)]


def pids(proxy: Proxy) -> set[int]:
    return {pid for _, pid, _, _ in who_serves(proxy)}


@contextlib.contextmanager
def fetching(proxy: Proxy) -> Iterator[list[bytes]]:
    """New connections and kept ones all the while; what each request got. Anything that fails is in it, too."""
    fetched: list[bytes] = []
    enough = threading.Event()

    def fetch_on(keeping: bool) -> None:
        client = connect(proxy.port)
        while not enough.is_set():
            try:
                client.sendall(get("/page"))
                fetched.append(receive_until(client, b"page")[-4:])
                if not keeping:
                    client.close()
                    client = connect(proxy.port)
            except OSError as error:
                fetched.append(repr(error).encode())
                return
            enough.wait(0.002)
        client.close()

    threads = [threading.Thread(target=fetch_on, args=(keeping,)) for keeping in (True, True, False)]
    for thread in threads:
        thread.start()
    try:
        yield fetched
    finally:
        enough.set()
        for thread in threads:
            thread.join()
    assert fetched


def links(pid: int) -> list[str]:
    """What the descriptors of a process lead to."""
    found = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            found.append(os.readlink(link))
    return found
