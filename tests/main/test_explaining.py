"""`explain`: what would become of a request, and a clear word for a question that has no answer."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.main.looking_parts import RULE, AskedMain, open_main

CONTENT = {"listener", "outcome", "rule", "cluster", "backends", "lost"}
URL = "want one such as http://api.example/v1"


@pytest.fixture
async def main(tmp_path: Path) -> AsyncIterator[AskedMain]:
    async with open_main(tmp_path) as asked:
        yield asked


async def explained(main: AskedMain, target: str, **body: Any) -> Any:
    """What becomes of `host/path` at the http listener."""
    host, slash, path = target.partition("/")
    return await main.ask("explain", url=f"http://{host}:{main.addresses['http'].port}{slash}{path}", **body)


async def test_a_request_that_is_forwarded(main: AskedMain) -> None:
    content = await explained(main, "API.example./v1/x?y=z")
    assert content.keys() == {*CONTENT, "generation"}
    assert content["generation"] == 1
    assert content["listener"] == {"protocol": "http", "address": str(main.addresses["http"]), "active": True}
    assert (content["outcome"], content["cluster"]) == ("forward", "api")
    assert content["rule"].keys() == RULE
    assert (content["rule"]["hostname"], content["rule"]["method"], content["rule"]["origin"]) == (
        *("api.example", None, "file"),
    )
    first, second = content["backends"]
    assert first == {
        "backend_id": "api-1",
        "address": "127.0.0.1:1",
        "weight": 50,
        "backup": False,
        "candidate": True,
        "why": "",
    }
    assert (second["backup"], second["candidate"]) == (True, False)
    assert second["why"] == "a backup, while a primary can be had"
    assert [(each["rule"]["hostname"], each["why"]) for each in content["lost"]] == [
        ("api.example", "it takes POST only, not 'GET'"),
        ("*.example", "its regex '/v[0-9]' does not match '/v1/x'"),
    ]
    assert all(each["rule"].keys() == RULE for each in content["lost"])


async def test_by_method(main: AskedMain) -> None:
    content = await explained(main, "api.example/v1", method="POST")
    assert (content["rule"]["method"], content["rule"]["position"]) == ("POST", "PRE")
    assert [each["why"] for each in content["lost"]] == ["a rule of position PRE goes before one of TREE"] * 2


async def test_the_host_field_goes_before_that_of_the_url(main: AskedMain) -> None:
    header = ["Accept=*/*", "HOST=api.example:8080", "X-A=b=c"]
    content = await explained(main, "127.0.0.1/v1", header=header)
    assert (content["outcome"], content["rule"]["hostname"]) == ("forward", "api.example")


@pytest.mark.parametrize("host", ["x.example", "xn--bcher-kva.example", "bücher.example"])
async def test_names_of_any_script(main: AskedMain, host: str) -> None:
    assert (await explained(main, f"{host}/v7"))["rule"]["hostname"] == "*.example"


async def test_a_request_that_is_denied(main: AskedMain) -> None:
    address = str(main.addresses["http"])
    await main.apply({"verb": "frontend http add", "address": address, "hostname": "no.example", "deny": True})
    content = await explained(main, "no.example")
    assert (content["outcome"], content["cluster"], content["backends"]) == ("deny", None, [])
    assert (content["rule"]["cluster"], content["rule"]["origin"]) == (None, "socket")
    url = f"http://no.example:{main.addresses['http'].port}"
    assert (await main.answer("explain", {"url": url})).message == f"listener {address}: denied with 401"


async def test_a_request_that_no_rule_takes(main: AskedMain) -> None:
    content = await explained(main, "api.example/v2/x")
    assert (content["outcome"], content["rule"], content["cluster"], content["backends"]) == (
        "not found",
        None,
        None,
        [],
    )
    assert len(content["lost"]) == 3
    assert await explained(main, "nowhere.test") == {**content, "lost": []}


async def test_backends_that_cannot_be_had(main: AskedMain) -> None:
    async with main.connect() as client:
        assert (await client.get("/v1", host="api.example")).status == 503
    failed, backup = (await explained(main, "api.example/v1"))["backends"]
    assert (failed["candidate"], failed["why"]) == (
        *(False, "connections to it failed, so it is left alone for a while"),
    )
    # All of them failed for that client.
    assert not backup["candidate"]


async def test_a_listener_that_is_not_active(main: AskedMain) -> None:
    address = str(main.addresses["http"])
    await main.ask("listener deactivate", address=address)
    answer = await main.answer("explain", {"url": "http://api.example/v1", "listener": address})
    assert answer.message == f"listener {address} (not active: nobody gets in): forwarded to cluster api"
    assert answer.content["listener"]["active"] is False


async def test_no_listener(main: AskedMain) -> None:
    answer = await main.answer("explain", {"url": "http://api.example:9/v1"})
    assert answer.content == {
        **dict.fromkeys(["listener", "rule", "cluster"]),
        "outcome": "no listener",
        "backends": [],
        "lost": [],
    }
    http, tcp = main.addresses["http"], main.addresses["tcp"]
    assert answer.message == f"no listener at port 9: say which with --listener ({http}, {tcp})"


async def test_tcp(main: AskedMain) -> None:
    port = main.addresses["tcp"].port
    answer = await main.answer("explain", {"url": f"tcp://any:{port}"})
    assert answer.content.keys() == CONTENT
    assert (answer.content["outcome"], answer.content["cluster"]) == ("forward", "relay")
    assert [each["candidate"] for each in answer.content["backends"]] == [True]
    assert answer.message == f"listener {main.addresses['tcp']}: relayed to cluster relay"
    await main.ask("frontend tcp remove", address=str(main.addresses["tcp"]))
    answer = await main.answer("explain", {"url": f"tcp://any:{port}"})
    assert (answer.content["outcome"], answer.content["cluster"]) == ("not found", None)
    assert answer.message == f"listener {main.addresses['tcp']}: closed: no frontend"


LISTENERS = """
[[listeners]]
protocol = "http"
address = "127.0.0.1:81"
public_address = "192.0.2.1:80"
[[listeners]]
protocol = "http"
address = "127.0.0.2:82"
[[listeners]]
protocol = "http"
address = "127.0.0.3:82"
[[listeners]]
protocol = "http"
address = "127.0.0.4:83"
[[listeners]]
protocol = "http"
address = "0.0.0.0:83"
"""


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ({"url": "http://a"}, "127.0.0.1:81"),
        ({"url": "http://a:81"}, "127.0.0.1:81"),
        ({"url": "http://127.0.0.3:82"}, "127.0.0.3:82"),
        ({"url": "http://a:82", "listener": "127.0.0.2:82"}, "127.0.0.2:82"),
        ({"url": "http://a:83"}, "0.0.0.0:83"),
        ({"url": "http://127.0.0.4:83"}, "127.0.0.4:83"),
        ({"url": "http://a", "listener": "127.0.0.2:82"}, "127.0.0.2:82"),
        ({"url": "https://a"}, None),
    ],
)
async def test_which_listener(tmp_path: Path, body: dict[str, str], found: str | None) -> None:
    async with open_main(tmp_path, f"activate_listeners = false\n{LISTENERS}") as main:
        listener = (await main.ask("explain", **body))["listener"]
    assert (None if listener is None else listener["address"]) == found


async def test_which_listener_is_asked_where_the_url_does_not_tell(tmp_path: Path) -> None:
    async with open_main(tmp_path, f"activate_listeners = false\n{LISTENERS}") as main:
        refusal = await main.refusal("explain", {"url": "http://a:82/"})
    assert refusal == ("several listeners have port 82: say which with --listener (127.0.0.2:82, 127.0.0.3:82)")


@pytest.mark.parametrize(
    ("url", "listener"),
    [
        ("http://api.example/v1", "http"),
        ("api.example/v1", "http"),
        ("https://api.example/v1", "http"),
        ("tcp://x", "tcp"),
    ],
)
async def test_the_only_listener_of_a_kind_takes_what_names_no_port(main: AskedMain, url: str, listener: str) -> None:
    """There is one of each, and neither is at a usual port."""
    assert (await main.ask("explain", url=url))["listener"]["address"] == str(main.addresses[listener])


async def test_the_only_listener_takes_what_names_no_port(tmp_path: Path) -> None:
    only = 'activate_listeners = false\n[[listeners]]\nprotocol = "http"\naddress = "127.0.0.1:8080"\n'
    async with open_main(tmp_path, only) as main:
        assert (await main.ask("explain", url="a.example/x"))["listener"]["address"] == "127.0.0.1:8080"
        assert (await main.ask("explain", url="http://a.example:81/x"))["listener"] is None


async def test_there_are_no_listeners(tmp_path: Path) -> None:
    async with open_main(tmp_path, "") as main:
        assert (await main.answer("explain", {"url": "a"})).message == "no listener at port 80: there is none at all"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, ["url: missing; want a string"]),
        ({"url": ""}, [f"url: found ''; {URL}"]),
        ({"url": "ftp://a/"}, [f"url: found 'ftp://a/'; {URL}"]),
        ({"url": "http:///v1"}, [f"url: found 'http:///v1'; {URL}"]),
        ({"url": "http://a:99999/"}, [f"url: found 'http://a:99999/'; {URL}"]),
        ({"url": "http://a:x/"}, [f"url: found 'http://a:x/'; {URL}"]),
        ({"url": "http://[::1/"}, [f"url: found 'http://[::1/'; {URL}"]),
        ({"url": "http://a b/"}, ["url: found 'a b': the host is not valid"]),
        ({"url": "http://me@a/"}, ["url: found 'me@a': the host is not valid"]),
        ({"url": "http://ü..ü/"}, ["url: found 'ü..ü': "]),
        ({"url": "http://a/", "listener": "127.0.0.1:9"}, ["listener: there is none at 127.0.0.1:9"]),
        ({"url": "http://a/", "methd": "GET"}, ["methd: unknown key; did you mean 'method'?"]),
        (
            {"url": "ftp://a/", "header": ["x", "a=b", "host=a b"], "from": "here"},
            [
                f"url: found 'ftp://a/'; {URL}",
                "header[0]: found 'x'; want name=value",
                "header[2]: found 'a b': the host is not valid",
                "from: found 'here'; want an IP address, such as 192.0.2.7",
            ],
        ),
    ],
)
async def test_every_slip_is_told(main: AskedMain, body: dict[str, Any], said: list[str]) -> None:
    lines = (await main.refusal("explain", body)).split("\n")
    assert len(lines) == len(said)
    assert [line[: len(each)] for line, each in zip(lines, said, strict=True)] == said


@pytest.mark.parametrize("client", ["192.0.2.7", "2001:db8::1"])
async def test_the_clients_address_is_taken(main: AskedMain, client: str) -> None:
    assert (await explained(main, "api.example/v1", from_=client))["outcome"] == "forward"
