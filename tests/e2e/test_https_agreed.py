"""What a client and an https listener agree on: version, cipher, kind of certificate, session; what a configuration
says, `openssl s_client` gets.
"""

import re
import ssl
from pathlib import Path

import pytest

from tests.e2e.clients import get, receive_all
from tests.e2e.control import ctl_json
from tests.e2e.parts import Nginx, StartProxy, wait_until
from tests.e2e.secure import Authority, connect_tls, https_proxy, s_client
from tests.tls.parts import key_of_kind, rsa_key

NOTHING = "Cipher is (NONE)"
TLS12, TLS13 = 'tls_versions = ["TLS_V12"]', 'tls_versions = ["TLS_V13"]'
IANA = 'cipher_list = ["TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"]'
RUSTLS = """cipher_list = [
  "TLS13_AES_256_GCM_SHA384", "TLS13_CHACHA20_POLY1305_SHA256", "TLS13_AES_128_GCM_SHA256",
  "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
]"""


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority")


@pytest.mark.parametrize(
    ("lines", "agreed_12", "agreed_13"),
    [
        (TLS12, "TLSv1.2, Cipher is ECDHE-ECDSA-AES256-GCM-SHA384", NOTHING),
        (TLS13, NOTHING, "TLSv1.3, Cipher is TLS_AES_256_GCM_SHA384"),
        (f"{TLS12}\n{IANA}", "TLSv1.2, Cipher is ECDHE-ECDSA-AES128-GCM-SHA256", NOTHING),
        (RUSTLS, "TLSv1.2, Cipher is ECDHE-ECDSA-CHACHA20-POLY1305", "TLSv1.3, Cipher is TLS_AES_256_GCM_SHA384"),
    ],
    ids=["1.2", "1.3", "IANA", "rustls"],
)
def test_versions_and_ciphers_of_the_file(
    start_proxy: StartProxy, authority: Authority, lines: str, agreed_12: str, agreed_13: str
) -> None:
    files = authority.write("default", "localhost")
    proxy = start_proxy(https_proxy(1, f"{files.lines}\n{lines}", before="worker_count = 1"))
    assert agreed_12 in s_client(proxy.port, "-tls1_2")
    assert agreed_13 in s_client(proxy.port, "-tls1_3")
    assert NOTHING in s_client(proxy.port, "-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0")
    counted = ctl_json(proxy, "metrics", "get", "--names", "tls.")["total"]
    agreed = [word for word in (agreed_12, agreed_13) if word != NOTHING]
    ciphers = {name: count for name, count in counted.items() if name.startswith("tls.cipher.") and count}
    assert counted["tls.handshakes"] == sum(ciphers.values()) == len(agreed)
    assert counted["tls.cipher.other"] == 0
    # What the last one offers is on in no listener; who speaks 1.2 to one of 1.3 fails for the version.
    assert counted["tls.handshake.failed.version"] + counted["tls.handshake.failed.nothing_in_common"] == 3 - len(
        agreed
    )


def test_of_certificates_for_one_name_the_client_gets_one_that_it_can_check(
    start_proxy: StartProxy, authority: Authority
) -> None:
    default = authority.write("default", "localhost")
    proxy = start_proxy(https_proxy(1, default.lines, before="worker_count = 1"))
    for kind, key in {"rsa": rsa_key(), "ecdsa": key_of_kind("ecdsa"), "ed25519": key_of_kind("ed25519")}.items():
        files = authority.write(kind, "a.example", key=key)
        given = ("--certificate", str(files.certificate), "--key", str(files.key))
        ctl_json(proxy, "certificate", "add", "--address", f"127.0.0.1:{proxy.port}", *given)
    for options, shown in (
        (("-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-GCM-SHA384", "-sigalgs", "ECDSA+SHA256"), "id-ecPublicKey"),
        (("-tls1_2", "-cipher", "ECDHE-RSA-AES256-GCM-SHA384"), "rsaEncryption"),
        (("-tls1_3", "-sigalgs", "rsa_pss_rsae_sha256"), "rsaEncryption"),
        (("-tls1_3", "-sigalgs", "ecdsa_secp256r1_sha256"), "id-ecPublicKey"),
        (("-tls1_3", "-sigalgs", "ed25519"), "ED25519"),
    ):
        said = s_client(proxy.port, "-servername", "a.example", *options)
        assert f"PKEY: {shown}," in said, (options, said)


def test_who_names_nobody_is_shown_the_certificate_for_the_address(
    start_proxy: StartProxy, authority: Authority
) -> None:
    """And who names the address, which RFC 6066 forbids, gets what there is for it as well, or nothing."""
    files = authority.write("address", "127.0.0.1", common_name="address")
    lines = files.lines.replace("\n", ", ")
    proxy = start_proxy(https_proxy(1, "", before="worker_count = 1", frontend=f", {lines}"))
    assert "CN = address" in s_client(proxy.port, "-servername", "127.0.0.1")
    assert "CN = address" in s_client(proxy.port, "-noservername")
    assert "unrecognized name" in s_client(proxy.port, "-servername", "unknown.example")
    host = f"127.0.0.1:{proxy.port}"
    assert ctl_json(proxy, "explain", f"https://{host}/")["shown"]["by"] == "address"
    assert ctl_json(proxy, "explain", f"https://unknown.example:{proxy.port}/")["outcome"] == "refused"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_python_resumes_a_session_many_times_and_the_access_log_says_so(
    nginx: Nginx, start_proxy: StartProxy, authority: Authority, version: ssl.TLSVersion
) -> None:
    nginx.files.joinpath("hello").write_bytes(b"hello")
    files = authority.write("default", "localhost")
    proxy = start_proxy(https_proxy(nginx.port, files.lines, before='worker_count = 1\naccess_logs_format = "json"'))
    context = authority.context
    context.minimum_version = context.maximum_version = version
    session: ssl.SSLSession | None = None
    for number in range(4):
        with connect_tls(proxy.port, context, session=session) as client:
            client.sendall(get("/hello", ["Connection: close"]))
            assert receive_all(client).endswith(b"hello")
            assert client.session_reused == (number > 0)
            session = client.session
    counted = ctl_json(proxy, "metrics", "get")["total"]
    assert (counted["tls.handshakes"], counted["tls.resumed"]) == (4, 3)

    def resumed() -> list[str]:
        return re.findall(r'"tls_resumed":(\w+)', proxy.output())

    wait_until(lambda: len(resumed()) == 4)
    assert resumed() == ["false", "true", "true", "true"]
