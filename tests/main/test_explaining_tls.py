"""`explain` of what comes within TLS: what is shown, whether the handshake gets anywhere, whether the host fits."""

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from sozu_trio.cli.drawing import DRAWINGS
from tests.main.looking_parts import AskedMain
from tests.main.running import GLOBALS, running, write
from tests.tls.parts import Issued, issue

DAY = 86400
HTTP, STRICT, LENIENT = "127.0.0.1:8080", "127.0.0.1:8443", "127.0.0.1:8444"
FILE = f"""{GLOBALS}
[[listeners]]
protocol = "http"
address = "{HTTP}"
[[listeners]]
protocol = "https"
address = "{STRICT}"
[[listeners]]
protocol = "https"
address = "{LENIENT}"
strict_sni_binding = false
certificate = "a.pem"
key = "a.key"

[clusters.site]
protocol = "http"
https_redirect = true
frontends = [
  {{ address = "{HTTP}", hostname = "*" }},
  {{ address = "{STRICT}", hostname = "*", certificate = "a.pem", key = "a.key" }},
  {{ address = "{LENIENT}", hostname = "*" }},
]
backends = [{{ address = "127.0.0.1:9001" }}]
"""


def issued(*names: str, begin: int = -1, end: int = 90) -> Issued:
    """Valid from `begin` to `end` days from now."""
    now = time.time()
    return issue(*names, begin=now + begin * DAY, end=now + end * DAY)


@pytest.fixture
async def main(tmp_path: Path) -> AsyncIterator[AskedMain]:
    made = issued("a.example", "also.example")
    tmp_path.joinpath("a.pem").write_bytes(made.pem)
    tmp_path.joinpath("a.key").write_bytes(made.key_pem)
    async with running(write(tmp_path, FILE)) as asked:
        yield asked


async def explained(main: AskedMain, url: str, host: str | None = None) -> tuple[str, Any]:
    """The verdict without the listener, where nobody gets in as nothing binds, and the content."""
    header = [] if host is None else [f"Host={host}"]
    answer = await main.answer("explain", {"url": url, "header": header})
    return answer.message.partition(" (not active: nobody gets in): ")[2], answer.content


async def test_a_name_there_is_a_certificate_for(main: AskedMain) -> None:
    verdict, content = await explained(main, f"https://A.example:{STRICT[-4:]}/x")
    assert (verdict, content["outcome"], content["cluster"]) == ("forwarded to cluster site", "forward", "site")
    assert (content["shown"]["by"], content["shown"]["listener"]) == ("exact", STRICT)
    assert content["shown"]["certificates"][0]["names"] == ["a.example", "also.example"]


@pytest.mark.parametrize("host", ["unknown.example", "127.0.0.1"])
async def test_nothing_to_show_is_no_handshake_and_no_rule_is_looked_at(main: AskedMain, host: str) -> None:
    verdict, content = await explained(main, f"https://{host}:{STRICT[-4:]}/")
    assert verdict == "no handshake, for there is no certificate to show"
    assert (content["outcome"], content["rule"], content["cluster"]) == ("refused", None, None)
    assert (content["backends"], content["lost"], content["shown"]["certificates"]) == ([], [], [])
    assert "unrecognized_name" in content["shown"]["why"]


async def test_the_default_is_shown_for_any_name_where_there_is_one(main: AskedMain) -> None:
    verdict, content = await explained(main, f"https://unknown.example:{LENIENT[-4:]}/")
    assert (verdict, content["shown"]["by"]) == ("forwarded to cluster site", "default")


@pytest.mark.parametrize(
    ("asked", "host", "outcome"),
    [
        ("a.example", "a.example:8443", "forward"),
        ("a.example", "also.example", "forward"),
        ("a.example", "b.example", "misdirected"),
    ],
)
async def test_the_name_of_the_url_is_asked_of_tls_and_the_host_of_the_field_then_has_to_fit(
    main: AskedMain, asked: str, host: str, outcome: str
) -> None:
    verdict, content = await explained(main, f"https://{asked}:{STRICT[-4:]}/", host)
    assert (content["outcome"], content["shown"]["by"]) == (outcome, "exact")
    assert (outcome == "misdirected") == verdict.startswith("421")
    assert (content["cluster"], content["lost"]) == (None if outcome == "misdirected" else "site", [])


@pytest.mark.parametrize(
    ("client_auth", "authorities", "said"),
    [
        ("none", 0, ""),
        ("required", 1, "; client certificate required (1 authority)"),
        ("optional", 2, "; client certificate optional (2 authorities)"),
    ],
)
async def test_what_is_asked_of_the_client(tmp_path: Path, client_auth: str, authorities: int, said: str) -> None:
    made = issued("a.example")
    tmp_path.joinpath("a.pem").write_bytes(made.pem)
    tmp_path.joinpath("a.key").write_bytes(made.key_pem)
    asked = ""
    if authorities:
        now = time.time()
        signers = [issue(common_name="x", authority=True, begin=now - DAY, end=now + DAY) for _ in range(authorities)]
        tmp_path.joinpath("clients.pem").write_bytes(b"".join(each.pem for each in signers))
        asked = f'client_auth = "{client_auth}"\nclient_ca = "clients.pem"\n'
    file = FILE.replace(f'address = "{STRICT}"\n[[', f'address = "{STRICT}"\n{asked}[[')
    async with running(write(tmp_path, file)) as main:
        verdict, content = await explained(main, f"https://a.example:{STRICT[-4:]}/")
        assert (verdict, content["client_auth"]) == (f"forwarded to cluster site{said}", client_auth)
        verdict, _ = await explained(main, f"https://unknown.example:{STRICT[-4:]}/")
        assert verdict == "no handshake, for there is no certificate to show"


async def test_where_the_binding_is_not_strict_any_host_may_be_asked_for(main: AskedMain) -> None:
    _, content = await explained(main, f"https://a.example:{LENIENT[-4:]}/", "b.example")
    assert content["outcome"] == "forward"


async def test_plain_http_is_redirected_and_shown_nothing(main: AskedMain) -> None:
    verdict, content = await explained(main, f"http://a.example:{HTTP[-4:]}/")
    assert (verdict, content["outcome"]) == ("redirected to https with 301", "redirect")
    assert "shown" not in content


@pytest.mark.parametrize(("begin", "end", "fault"), [(-9, -2, "which has expired"), (2, 9, "which is not valid yet")])
async def test_who_looks_hears_that_clients_will_not_take_it(tmp_path: Path, begin: int, end: int, fault: str) -> None:
    made = issued("a.example", begin=begin, end=end)
    tmp_path.joinpath("a.pem").write_bytes(made.pem)
    tmp_path.joinpath("a.key").write_bytes(made.key_pem)
    async with running(write(tmp_path, FILE)) as main:
        _, content = await explained(main, f"https://a.example:{STRICT[-4:]}/")
        assert fault in content["shown"]["why"]
        drawn = [str(each) for each in DRAWINGS["explain"](content)]
        assert f"shown     {content['shown']['why']}" in drawn


async def test_what_a_person_sees_of_a_refusal(main: AskedMain) -> None:
    _, content = await explained(main, f"https://unknown.example:{STRICT[-4:]}/")
    drawn = [str(each) for each in DRAWINGS["explain"](content)]
    assert drawn == [f"listener  https {STRICT}  (not active)", f"shown     {content['shown']['why']}"]
