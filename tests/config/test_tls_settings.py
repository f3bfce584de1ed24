"""Keys of a listener become settings; what cannot be honoured is said, with what would be right."""

import ssl
from collections.abc import Sequence

import pytest

from sozu_trio.config import cipher_names, group_names, tls_settings
from sozu_trio.config.report import Report
from sozu_trio.config.tls_settings import TlsSettings, read_settings
from sozu_trio.config.values import TlsVersion

BOTH: Sequence[TlsVersion] = ("TLS_V12", "TLS_V13")


def read(
    *,
    versions: Sequence[TlsVersion] = BOTH,
    ciphers: Sequence[str] | None = None,
    groups: Sequence[str] | None = None,
    alpn: Sequence[str] = ("http/1.1",),
    tickets: int = 4,
) -> tuple[TlsSettings, list[str], list[str]]:
    """Settings, problems and notices."""
    report = Report()
    made = read_settings(
        "listeners[0]", report, versions=versions, ciphers=ciphers, groups=groups, alpn=alpn, tickets=tickets
    )
    return made, list(map(str, report.problems)), list(map(str, report.notices))


def test_what_is_not_said_is_as_in_sozu() -> None:
    assert read() == (TlsSettings(), [], [])


def test_every_known_cipher_is_one_of_openssl() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("ALL:@SECLEVEL=0")
    there = {each["name"] for each in context.get_ciphers()}
    assert {*cipher_names.TLS12, *cipher_names.TLS13} <= there
    assert set(cipher_names.DEFAULT_TLS12) <= set(cipher_names.TLS12)


def test_openssl_confirms_the_names_of_iana() -> None:
    """Its numbers of suites are those of IANA, which the test knows for some."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("ALL:@SECLEVEL=0")
    numbers = {each["name"]: each["id"] & 0xFFFF for each in context.get_ciphers()}
    registered = {
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": 0xC02B,
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": 0xC030,
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": 0xCCA8,
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": 0xCCA9,
        "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA384": 0xC024,
        "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256": 0xC027,
        "TLS_RSA_WITH_AES_128_GCM_SHA256": 0x009C,
        "TLS_RSA_WITH_AES_128_CBC_SHA": 0x002F,
        "TLS_RSA_WITH_AES_128_CBC_SHA256": 0x003C,
        "TLS13_CHACHA20_POLY1305_SHA256": 0x1303,
    }
    assert {name: numbers[cipher_names.OPENSSL_NAMES[name]] for name in registered} == registered


def test_names_of_all_three_kinds() -> None:
    made, problems, notices = read(
        ciphers=[
            *("TLS13_AES_256_GCM_SHA384", "TLS_AES_128_GCM_SHA256", "TLS13_CHACHA20_POLY1305_SHA256"),
            *("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES256-GCM-SHA384"),
        ]
    )
    assert (problems, notices) == ([], [])
    assert made.ciphers == ("ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-ECDSA-AES128-GCM-SHA256")


def test_some_suites_of_tls_1_3_cannot_be_chosen() -> None:
    _, problems, _ = read(ciphers=["TLS13_AES_256_GCM_SHA384", "ECDHE-RSA-AES128-GCM-SHA256"])
    assert problems == [
        "listeners[0].cipher_list: Python's ssl cannot choose among the suites of TLS 1.3; want all three or none of"
        " them, here TLS_CHACHA20_POLY1305_SHA256, TLS_AES_128_GCM_SHA256 as well"
    ]


def test_none_of_them_means_all() -> None:
    made, problems, notices = read(ciphers=["ECDHE-RSA-AES128-GCM-SHA256"])
    assert (made.ciphers, problems) == (("ECDHE-RSA-AES128-GCM-SHA256",), [])
    assert len(notices) == 1
    assert "TLS 1.3 uses TLS_AES_256_GCM_SHA384, " in notices[0]


def test_suites_of_a_version_that_is_off() -> None:
    _, problems, notices = read(versions=["TLS_V12"], ciphers=["TLS13_AES_256_GCM_SHA384", "ECDHE-RSA-AES128-SHA256"])
    assert problems == []
    assert "mean nothing, because tls_versions is without TLS_V13" in notices[0]
    _, problems, _ = read(ciphers=cipher_names.TLS13)
    assert problems == [
        'listeners[0].cipher_list: no suite for TLS 1.2 is left; want one, or tls_versions = ["TLS_V13"]'
    ]
    assert read(versions=["TLS_V13"], ciphers=cipher_names.TLS13)[1:] == ([], [])


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("ECDHE-RSA-AES128-GCM-SHA25", "did you mean 'ECDHE-RSA-AES128-GCM-SHA256'?"),
        ("HIGH:!aNULL", "known are AES128-GCM-SHA256, "),
        ("NULL-SHA256", "unknown cipher suite 'NULL-SHA256'; "),
        ("", "unknown cipher suite ''; known are"),
    ],
)
def test_unknown_suites(name: str, said: str) -> None:
    _, problems, _ = read(ciphers=["ECDHE-RSA-AES128-GCM-SHA256", name])
    assert len(problems) == 1
    assert problems[0].startswith("listeners[0].cipher_list[1]: unknown cipher suite ")
    assert said in problems[0]


def test_a_suite_this_openssl_is_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(cipher_names.OPENSSL_NAMES, "OLD", "ANCIENT-SUITE")
    made, problems, notices = read(ciphers=["ECDHE-RSA-AES128-GCM-SHA256", "OLD"])
    assert (made.ciphers, problems) == (("ECDHE-RSA-AES128-GCM-SHA256",), [])
    assert f"ANCIENT-SUITE is not in {ssl.OPENSSL_VERSION}" in notices[-1]
    assert "no suite for TLS 1.2 is left" in read(ciphers=["OLD"])[1][0]


def test_no_version() -> None:
    assert read(versions=[])[1] == ["listeners[0].tls_versions: no version; want TLS_V12, TLS_V13 or both"]


def test_one_group() -> None:
    for name in ("P-256", "secp256r1", "prime256v1"):
        made, problems, notices = read(groups=[name])
        assert (made.groups, problems, notices) == (("prime256v1",), [], [])


def test_groups_openssl_does_not_know_are_skipped() -> None:
    made, problems, notices = read(groups=["P-256", "kyber"])
    assert (made.groups, problems) == (("prime256v1",), [])
    assert notices == [f"listeners[0].groups_list[1]: {ssl.OPENSSL_VERSION} knows no group 'kyber'; it is skipped"]
    _, problems, _ = read(groups=["kyber"])
    assert problems[0].startswith("listeners[0].groups_list: no group is left; known are P-256, ")


@pytest.mark.skipif(tls_settings.can_choose_groups(), reason="this Python can choose")
def test_several_groups_are_openssl_s_own_list_or_refused() -> None:
    made, problems, notices = read(groups=["X25519MLKEM768", "x25519", "P-256", "P-384"])
    assert (made.groups, problems) == ((), [])
    assert "OpenSSL's own list is used, which has these" in notices[-1]
    _, problems, _ = read(groups=["x25519", "P-256"])
    assert problems == [
        "listeners[0].groups_list: Python's ssl cannot choose several groups; want a single one, or a list with "
        "X25519, prime256v1 and secp384r1, which stands for OpenSSL's own list"
    ]


def test_one_group_that_this_python_cannot_choose(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls_settings, "can_choose_groups", lambda: False)
    monkeypatch.setattr(tls_settings, "_can_choose", lambda group: group not in group_names.MONTGOMERY)
    assert read(groups=["P-256"])[:2] == (TlsSettings(groups=("prime256v1",)), [])
    _, problems, notices = read(groups=["x25519"])
    assert problems == [
        "listeners[0].groups_list: Python's ssl cannot choose X25519 alone; want another one, or a list with "
        "X25519, prime256v1 and secp384r1, which stands for OpenSSL's own list"
    ]
    assert notices == []
    made, problems, _ = read(groups=["x25519", "P-256", "P-384"])
    assert (made.groups, problems) == ((), [])


def test_a_python_that_can_choose_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls_settings, "can_choose_groups", lambda: True)
    made, problems, notices = read(groups=["P-384", "x25519"])
    assert (made.groups, problems, notices) == (("secp384r1", "X25519"), [], [])


def test_every_known_group_but_the_newest_is_one_of_openssl() -> None:
    for group in group_names.GROUPS:
        assert tls_settings._has_group(group) or group == "X25519MLKEM768"
