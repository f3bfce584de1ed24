"""`worker_count` changes while clients come all the time, and none of them notices."""

import re
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

from benchmarks.ports import free_port
from benchmarks.processes import family
from tests.e2e.clients import PATIENCE, connect, get, receive_all
from tests.e2e.configurations import http_proxy
from tests.e2e.control import ctl_json
from tests.e2e.parts import Nginx, Proxy, StartProxy, wait_until
from tests.e2e.servers import SlowAnswer, serving

REQUEST = b"GET /page HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


class Load:
    """Clients that each connect anew for every request."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.done = 0
        self.failures: list[str] = []
        self.over = False

    def come(self) -> None:
        while not self.over:
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE) as client:
                    client.sendall(REQUEST)
                    answer = receive_all(client)
            except OSError as error:
                self.failures.append(str(error))
            else:
                self.done += 1
                if not answer.startswith(b"HTTP/1.1 200"):
                    self.failures.append(repr(answer[:100]))


@contextmanager
def load(port: int, clients: int = 8) -> Iterator[Load]:
    load = Load(port)
    threads = [threading.Thread(target=load.come) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield load
    finally:
        load.over = True
        for thread in threads:
            thread.join()


def states(proxy: Proxy) -> list[tuple[int, str]]:
    return [(each["id"], each["state"]) for each in ctl_json(proxy, "status")["workers"]]


def sessions(proxy: Proxy) -> list[int]:
    return [each["sessions"] for each in ctl_json(proxy, "status")["workers"]]


def say(proxy: Proxy, workers: int) -> None:
    """Have the file say so many."""
    text, found = re.subn(r"worker_count = \d+", f"worker_count = {workers}", proxy.file.read_text())
    assert found == 1
    proxy.file.write_text(text)


def running(count: int) -> list[tuple[int, str]]:
    return [(worker_id, "running") for worker_id in range(count)]


def is_at(proxy: Proxy, workers: int) -> bool:
    return states(proxy) == running(workers)


def serve_more(clients: Load) -> None:
    """Until many more have been served."""
    before = clients.done
    wait_until(lambda: clients.done > before + 200)


def requests(proxy: Proxy) -> int:
    total: int = ctl_json(proxy, "metrics", "get")["total"]["http.requests"]
    return total


def test_up_and_down_under_load_and_nobody_notices(nginx: Nginx, start_proxy: StartProxy) -> None:
    nginx.files.joinpath("page").write_text("page")
    proxy = start_proxy(http_proxy(free_port(), nginx.port, before="worker_count = 2"))
    with load(proxy.port) as clients:
        for count in (4, 1, 2):
            serve_more(clients)
            say(proxy, count)
            answer = ctl_json(proxy, "reload")
            assert (answer["changed"], answer["generation"]) == ([f"worker_count {count}"], 1)
            wait_until(partial(is_at, proxy, count))
        serve_more(clients)
    assert clients.failures == []
    assert requests(proxy) == clients.done
    assert len(family(proxy.pid)) == 1 + 2
    assert "ERROR" not in proxy.output()


def test_one_that_leaves_finishes_what_it_has_begun(start_proxy: StartProxy) -> None:
    slow = SlowAnswer()
    clients: list[socket.socket] = []
    with serving(slow) as backend, ExitStack() as to_close:
        proxy = start_proxy(http_proxy(free_port(), backend, before="worker_count = 2"))
        while not sessions(proxy)[1]:
            clients.append(to_close.enter_context(connect(proxy.port)))
            clients[-1].sendall(get("/"))
            wait_until(lambda: sum(sessions(proxy)) == len(clients))
        say(proxy, 1)
        proxy.send_signal(signal.SIGHUP)
        wait_until(lambda: "SIGHUP: " in proxy.output())
        wait_until(lambda: [state for _, state in states(proxy)].count("running") == 1)
        slow.answer.set()
        assert receive_all(clients[-1]).endswith(b"slow")
        wait_until(lambda: states(proxy) == running(1))


def test_one_that_leaves_is_cut_in_the_end(start_proxy: StartProxy) -> None:
    slow = SlowAnswer()
    with serving(slow) as backend:
        proxy = start_proxy(http_proxy(free_port(), backend, before="worker_count = 2\nshutdown_timeout = 1"))
        clients = [connect(proxy.port) for _ in range(20)]
        for client in clients:
            client.sendall(get("/"))
        wait_until(lambda: sum(sessions(proxy)) == 20)
        of_the_last = sessions(proxy)[1]
        say(proxy, 1)
        ctl_json(proxy, "reload")
        wait_until(lambda: states(proxy) == running(1))
        for client in clients:
            client.close()
        wait_until(lambda: " has left: " in proxy.output())
        cut = re.search(r"worker 1 .* has left: (\d+) sessions? cut", proxy.output())
        assert cut is not None
        assert int(cut[1]) == of_the_last > 0
        slow.answer.set()
