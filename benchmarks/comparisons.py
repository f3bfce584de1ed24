"""What the proxy is asked for beside its references, who they are, and how many times their CPU ours may take.

The bars are those of docs/performance.md.
"""

from dataclasses import replace

from benchmarks import browser
from benchmarks.measure import Work
from benchmarks.peers import HOST, SMALL
from benchmarks.upload_backend import summary

OURS = "sozu_trio"
BARS: dict[str, dict[str, float]] = {
    "small": {"floor": 2.4, "h11": 0.5},
    "browser": {"floor": 2.8},
    "bulk": {"nginx": 0.5, "nginx-tuned": 0.9, "haproxy": 0.6, "haproxy-tuned": 0.9},
    "upload": {"nginx": 0.6, "nginx-tuned": 1.0},
    "connections": {"nginx": 4.0},
}
"""CPU per request divided by that of another, for each work."""
AIMS: dict[str, dict[str, float]] = {"small": {"floor": 1.8}, "browser": {"floor": 2.2}, "bulk": {"splice": 1.1}}
"""What it should be at most; that it is more fails no run."""
COMPARED = {
    "small": (OURS, "floor", "h11", "nginx", "haproxy"),
    "browser": (OURS, "floor", "h11", "nginx", "haproxy"),
    "bulk": (OURS, "splice", "copy", "nginx", "nginx-tuned", "haproxy", "haproxy-tuned"),
    "upload": (OURS, "copy", "nginx", "nginx-tuned", "haproxy", "haproxy-tuned"),
    "connections": (OURS, "floor", "nginx", "haproxy"),
}


def works_of(name: str, big: bytes) -> dict[str, Work]:
    """The works of that name in COMPARED, each with its own; `big` is what the backend answers at /big."""
    small = Work(path="/", connections=64, body=SMALL, hosts=(HOST,))
    upload = replace(small, connections=4, body=summary(iter(())), sent=big)
    works = {
        "small": {"small": small},
        "browser": {"browser": replace(small, path=browser.PATH, script=browser.script(HOST))},
        "bulk": {"bulk": replace(small, path="/big", connections=4, body=big)},
        "upload": {"upload with Content-Length": upload, "upload in chunks": replace(upload, chunked=True)},
        "connections": {"connections": replace(small, connections=16, anew="plain")},
    }
    return works[name]
