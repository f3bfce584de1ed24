"""What every context of ours begins with."""

import ssl
from types import SimpleNamespace

import pytest

from sozu_trio.tls.fresh_context import fresh_context


@pytest.fixture
def defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of CPython 3.11.2: a FIN may stand for the end of what is said."""

    def with_them(protocol: int) -> ssl.SSLContext:
        context = ssl.SSLContext(protocol)
        context.options |= ssl.OP_IGNORE_UNEXPECTED_EOF
        return context

    monkeypatch.setattr("sozu_trio.tls.fresh_context.ssl", SimpleNamespace(**{**vars(ssl), "SSLContext": with_them}))


@pytest.mark.usefixtures("defaults")
@pytest.mark.parametrize("protocol", [ssl.PROTOCOL_TLS_SERVER, ssl.PROTOCOL_TLS_CLIENT])
def test_a_fin_is_no_good_end_whatever_the_defaults_are(protocol: int) -> None:
    options = fresh_context(protocol, ["TLS_V12"]).options
    assert not options & ssl.OP_IGNORE_UNEXPECTED_EOF
    assert options & ssl.OP_NO_RENEGOTIATION


def test_it_speaks_the_versions_it_is_for() -> None:
    context = fresh_context(ssl.PROTOCOL_TLS_SERVER, ["TLS_V13", "TLS_V12"])
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.maximum_version == ssl.TLSVersion.TLSv1_3
