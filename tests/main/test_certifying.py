"""Certificates over the socket and in files, as operators see them; their keys are seen by nobody who did not ask."""

import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from sozu_trio.config.secrets import REDACTED
from tests.main.looking_parts import AskedMain
from tests.main.running import GLOBALS, SERVICES, nothing_changes, running, told_by_main, write
from tests.tls.parts import Issued, issue

NOW = time.time()
HTTPS = "127.0.0.1:8443"
FILE = f"""{GLOBALS}{SERVICES}
[[listeners]]
protocol = "https"
address = "{HTTPS}"
certificate = "default.pem"
key = "default.key"
"""


def valid(*names: str, days: float = 10.5) -> Issued:
    return issue(*names, begin=NOW - 1000, end=NOW + 86400 * days)


def put(directory: Path, issued: Issued, name: str = "default") -> str:
    """Returns its fingerprint."""
    directory.joinpath(f"{name}.pem").write_bytes(issued.pem)
    directory.joinpath(f"{name}.key").write_bytes(issued.key_pem)
    return fingerprint(issued)


def fingerprint(issued: Issued) -> str:
    return issued.read(NOW).fingerprint


def adding(issued: Issued, prefix: str = "") -> dict[str, Any]:
    return {
        "address": HTTPS,
        f"{prefix}certificate": issued.pem.decode(),
        f"{prefix}key": issued.key_pem.decode(),
    }


DEFAULT = valid("*.example")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    put(tmp_path, DEFAULT)
    return write(tmp_path, FILE)


@pytest.fixture
async def main(file: Path) -> AsyncIterator[AskedMain]:
    async with running(file) as asked:
        yield asked


async def listed(main: AskedMain, **body: str) -> list[tuple[str, str, bool]]:
    """First name, origin, and whether it is the default."""
    documents = (await main.ask("certificate list", **body))["certificates"]
    return [(each["names"][0], each["origin"], each["default"]) for each in documents]


async def test_a_list(main: AskedMain) -> None:
    issued = valid("a.example", "192.0.2.1", days=3.5)
    with main.parts.events.listen() as events:
        await main.answer("certificate add", adding(issued))
        (told,) = told_by_main(events)
    assert (told["kind"], told["address"]) == ("CERTIFICATE_ADDED", HTTPS)
    default, added = (await main.ask("certificate list"))["certificates"]
    assert (default["origin"], default["default"], default["fingerprint"]) == ("file", True, fingerprint(DEFAULT))
    assert added == {
        "address": HTTPS,
        "fingerprint": fingerprint(issued),
        "names": ["a.example"],
        "addresses": ["192.0.2.1"],
        "not_before": int(NOW - 1000),
        "not_after": added["not_after"],
        "key_kind": "ecdsa",
        "subject": "",
        "issuer": "",
        "default": False,
        "days_left": 3,
        "origin": "socket",
    }
    assert await listed(main, domain="x.example") == [("*.example", "file", True)]
    assert await listed(main, domain="a.example") == [("*.example", "file", True), ("a.example", "socket", False)]
    assert await listed(main, fingerprint=fingerprint(issued)[:8].upper()) == [("a.example", "socket", False)]
    assert await listed(main, address="127.0.0.1:1") == []
    assert (await main.ask("state stats"))["certificates"] == 2


@pytest.mark.parametrize(
    ("domain", "by", "name"),
    [
        ("a.example", "exact", "a.example"),
        ("b.example", "wildcard", "*.example"),
        ("a.b.example", "default", "*.example"),
        (None, "address", "a.example"),
    ],
)
async def test_a_query(main: AskedMain, domain: str | None, by: str, name: str) -> None:
    await main.answer("certificate add", adding(valid("a.example", "127.0.0.1")))
    body = {} if domain is None else {"domain": domain}
    (shown,) = (await main.ask("certificate query", **body))["shown"]
    assert (shown["listener"], shown["by"], [each["names"][0] for each in shown["certificates"]]) == (HTTPS, by, [name])
    assert shown["why"].startswith("ecdsa certificate ")


async def test_a_query_that_finds_nothing(main: AskedMain) -> None:
    await main.answer("certificate remove", {"address": HTTPS, "fingerprint": fingerprint(DEFAULT)})
    (shown,) = (await main.ask("certificate query", domain="a.example"))["shown"]
    assert (shown["by"], shown["certificates"]) == (None, [])
    assert shown["why"].startswith("refused with the alert unrecognized_name")
    assert "want a host name" in await main.refusal("certificate query", {"domain": "a b"})
    assert "no https listener" in await main.refusal("certificate query", {"address": "127.0.0.1:8080"})


async def test_explain_says_which_is_shown(main: AskedMain) -> None:
    assert (await main.ask("explain", url="https://b.example/"))["shown"]["by"] == "wildcard"
    assert (await main.ask("explain", url=f"https://{HTTPS}/"))["shown"]["by"] == "default"
    assert "shown" not in await main.ask("explain", url="http://api.example/v1")


async def test_replace_is_one_change_and_the_old_one_stays_where_the_new_one_is_bad(main: AskedMain) -> None:
    await main.answer("certificate add", adding(valid("a.example")))
    (old,) = (await main.ask("certificate list", domain="a.example", address=HTTPS))["certificates"][1:]
    expired = issue("a.example", begin=NOW - 9000, end=NOW - 10)
    for bad, why in (
        (expired, "expired at"),
        (issue("a.example", begin=NOW + 9000, end=NOW + 9999), "not valid before"),
    ):
        with nothing_changes(main):
            asked = {**adding(bad, "new-"), "fingerprint": old["fingerprint"]}
            assert why in await main.refusal("certificate replace", asked)
    mixed = {**adding(valid("a.example"), "new-"), "new-key": DEFAULT.key_pem.decode()}
    with nothing_changes(main):
        refusal = await main.refusal("certificate replace", {**mixed, "fingerprint": old["fingerprint"]})
        assert refusal.startswith("new-certificate: the private key does not fit the certificate")
    new = valid("a.example")
    with main.parts.events.listen() as events:
        await main.answer("certificate replace", {**adding(new, "new-"), "fingerprint": old["fingerprint"]})
        assert [each["kind"] for each in told_by_main(events)] == ["CERTIFICATE_REPLACED"]
    found = (await main.ask("certificate list", domain="a.example"))["certificates"]
    assert [each["fingerprint"] for each in found] == [fingerprint(DEFAULT), fingerprint(new)]


async def test_names_that_are_no_longer_covered_are_told(main: AskedMain) -> None:
    await main.answer("certificate add", adding(valid("a.other", "b.other")))
    (old,) = (await main.ask("certificate list", domain="a.other", address=HTTPS))["certificates"]
    asked = {**adding(valid("a.other"), "new-"), "fingerprint": old["fingerprint"]}
    lost = "new-certificate: no longer covered: b.other"
    assert (await main.ask("certificate replace", **asked))["notices"] == [lost]
    await main.ask("rollback", generation=2)
    batch = {"changes": [{"verb": "certificate replace", **asked}]}
    assert (await main.ask("apply", **batch))["notices"] == [f"changes[0].{lost}"]


async def test_a_renewal_needs_no_more_than_a_reload(main: AskedMain, file: Path) -> None:
    await main.answer("certificate add", adding(valid("a.example")))
    renewed = put(file.parent, valid("*.example"))
    plan = await main.ask("plan", file=str(file))
    assert [(each["action"], each["kind"]) for each in plan["changes"]] == [
        ("remove", "certificate"),
        ("add", "certificate"),
    ]
    await main.ask("reload", file=str(file))
    assert await listed(main) == [("*.example", "file", True), ("a.example", "socket", False)]
    assert (await main.ask("certificate list"))["certificates"][0]["fingerprint"] == renewed
    file.parent.joinpath("default.key").write_text("garbage")
    with nothing_changes(main):
        assert "no private key in PEM form" in await main.refusal("reload", {"file": str(file)})


async def test_certificates_outlive_main(file: Path) -> None:
    async with running(file) as main:
        await main.answer("certificate add", adding(valid("a.example")))
        state = main.parts.transactions.state
    async with running(file) as main:
        assert main.parts.transactions.state == state
        assert main.parts.journal.path.stat().st_mode & 0o777 == 0o600


async def test_nobody_sees_a_key_who_did_not_ask(main: AskedMain, file: Path) -> None:
    secrets = valid("a.example"), valid("b.example")
    await main.answer("certificate add", adding(secrets[0]))
    await main.answer("apply", {"changes": [{"verb": "certificate add", **adding(secrets[1])}]})
    with nothing_changes(main):
        await main.refusal("certificate add", {**adding(secrets[0]), "address": "127.0.0.1:9"})
    dump = await main.ask("state dump")
    assert {each["key"] for each in dump["certificates"]} == {REDACTED}
    seen = [
        dump,
        await main.ask("history"),
        await main.ask("plan", file=str(file), prune=True),
        await main.ask("certificate list"),
        await main.ask("certificate query", domain="a.example"),
        main.audited,
    ]
    text = json.dumps(seen) + repr(main.parts.transactions.state) + repr(main.parts.journal.history.entries)
    for issued in (*secrets, DEFAULT):
        assert issued.key_pem.decode().splitlines()[1] not in text
    with_secrets = json.dumps(await main.ask("state dump", with_secrets=True))
    assert secrets[0].key_pem.decode().splitlines()[1] in with_secrets


async def test_what_is_saved_can_be_loaded(main: AskedMain, tmp_path: Path) -> None:
    issued = valid("a.example")
    await main.answer("certificate add", {**adding(issued), "default": True})
    saved = tmp_path / "saved"
    await main.ask("state save", file=str(saved))
    assert saved.stat().st_mode & 0o777 == 0o600
    before = main.parts.transactions.state.certificates
    await main.answer("certificate remove", {"address": HTTPS, "certificate": issued.pem.decode()})
    assert len(main.parts.transactions.state.certificates) == 1
    await main.ask("state load", file=str(saved))
    assert main.parts.transactions.state.certificates == before


async def test_a_certificate_of_sozus(main: AskedMain) -> None:
    issued = valid("sozu.example")
    local = {"ip": {"inner": {"V4": 2130706433}}, "port": 8444}
    records = [
        ("ADD_HTTPS_LISTENER", {"address": local, "versions": [4, 5], "active": True, "expect_proxy": False}),
        (
            "ADD_CERTIFICATE",
            {
                "address": local,
                "certificate": {
                    "certificate": issued.pem.decode(),
                    "certificate_chain": [],
                    "key": issued.key_pem.decode(),
                    "versions": [],
                    "names": ["sozu.example"],
                },
            },
        ),
    ]
    content = "\n".join(json.dumps({"id": "SAVE", "content": {"request_type": {kind: body}}}) for kind, body in records)
    answer = await main.ask("state load", content=content)
    assert (answer["objects"], answer["skipped"]) == (2, [])
    assert ("sozu.example", "socket", False) in await listed(main, address="127.0.0.1:8444")


async def test_metrics_say_when_the_next_one_expires(main: AskedMain) -> None:
    documents = (await main.ask("certificate list"))["certificates"]
    metrics = await main.ask("metrics get", names=["tls.cert."])
    (soonest,) = metrics["main"].values()
    assert min(each["days_left"] for each in documents) == (soonest - time.time()) // 86400
    for each in documents:
        await main.answer("certificate remove", {"address": HTTPS, "fingerprint": each["fingerprint"]})
    assert (await main.ask("metrics get", names=["tls.cert."]))["main"] == {}
