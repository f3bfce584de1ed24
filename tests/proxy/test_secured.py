"""Which hosts a connection over TLS is for, and Strict-Transport-Security."""

import pytest

from sozu_trio.config.addresses import Address
from sozu_trio.config.clusters import HttpFrontend
from sozu_trio.config.hsts import Hsts
from sozu_trio.config.listeners import HttpsListener
from sozu_trio.proxy.secured import Secured
from sozu_trio.routing.decisions import MISDIRECTED, NOT_FOUND, Decision, Outcome
from sozu_trio.routing.resolver import Shown
from sozu_trio.telemetry.access_log import AccessRecord, TlsFacts
from sozu_trio.wire.heads import Line
from tests.tls.parts import issue, rsa_key

HERE = Address("127.0.0.1", 443)
ONE = issue("a.example", "b.example", "*.wild.example", "192.0.2.1", "2001:db8::1").read()
OTHER = issue("a.example", key=rsa_key()).read()
DATE = b"Date: today"
THEIRS = b"strict-transport-security: max-age=1"


class Everywhere:
    """Routes that lead all to one frontend, and note who was asked for."""

    def __init__(self, frontend: HttpFrontend | None = None) -> None:
        self.asked: list[bytes] = []
        self._decision = Decision(Outcome.DENY, None, frontend, {}) if frontend else NOT_FOUND

    def find(self, host: bytes, path: bytes, method: bytes) -> Decision:
        self.asked.append(host)
        return self._decision


def secured(
    name: str | None = "a.example",
    shown: Shown | None = None,
    *,
    strict: bool = True,
    hsts: Hsts | None = None,
    frontend: HttpFrontend | None = None,
) -> Secured:
    facts = TlsFacts(version="TLSv1.3", cipher="x", server_name=name, alpn=None, resumed=False)
    listener = HttpsListener(address=HERE, strict_sni_binding=strict, hsts=hsts)
    made = Secured(listener, facts, shown or Shown(certificates=(ONE,), why="exact"))
    made.routes = Everywhere(frontend)
    return made


@pytest.mark.parametrize(
    ("host", "fits"),
    [
        (b"a.example", True),
        (b"b.example", True),
        (b"x.wild.example", True),
        (b"x.y.wild.example", False),
        (b"wild.example", False),
        (b"192.0.2.1", True),
        (b"[2001:db8::1]", True),
        (b"[2001:db8::2]", False),
        (b"c.example", False),
        (b"", False),
        (b"\xff", False),
    ],
)
def test_hosts_of_the_certificate_fit_and_others_are_misdirected(host: bytes, fits: bool) -> None:
    for strict in (True, False):
        connection = secured(strict=strict)
        for _ in range(2):
            decision = connection.find(host, b"/", b"GET")
            assert decision is (NOT_FOUND if fits or not strict else MISDIRECTED)


def test_a_host_that_fitted_makes_no_other_one_fit() -> None:
    connection = secured()
    outcomes = [connection.find(host, b"/", b"GET") for host in (b"a.example", b"c.example", b"a.example")]
    assert outcomes == [NOT_FOUND, MISDIRECTED, NOT_FOUND]


def test_of_two_certificates_that_may_have_been_shown_both_must_be_for_it() -> None:
    connection = secured(shown=Shown(certificates=(ONE, OTHER), why="exact"))
    assert connection.find(b"a.example", b"/", b"GET") is NOT_FOUND
    assert connection.find(b"b.example", b"/", b"GET") is MISDIRECTED


def test_under_the_default_the_name_asked_for_fits() -> None:
    connection = secured("Z.example.", Shown(certificates=(ONE,), why="default"))
    assert connection.find(b"z.example", b"/", b"GET") is NOT_FOUND
    assert connection.find(b"c.example", b"/", b"GET") is MISDIRECTED


@pytest.mark.parametrize(
    ("hsts", "theirs", "expected"),
    [
        (None, [THEIRS], [THEIRS]),
        (Hsts(enabled=False, force_replace_backend=True), [THEIRS], [THEIRS]),
        (Hsts(max_age=7), [], [b"Strict-Transport-Security: max-age=7"]),
        (Hsts(max_age=7), [THEIRS], [THEIRS]),
        (Hsts(max_age=7, force_replace_backend=True), [THEIRS], [b"Strict-Transport-Security: max-age=7"]),
    ],
)
def test_what_becomes_of_the_field_of_a_backend(hsts: Hsts | None, theirs: list[Line], expected: list[Line]) -> None:
    assert secured(hsts=hsts).lines([DATE, *theirs]) == [DATE, *expected]


@pytest.mark.parametrize(
    ("of_frontend", "value"),
    [(None, "max-age=7"), (Hsts(max_age=9, preload=True), "max-age=9; preload"), (Hsts(enabled=False), "")],
)
def test_a_frontend_says_it_for_its_own_requests(of_frontend: Hsts | None, value: str) -> None:
    frontend = HttpFrontend(address=HERE, hostname="*", hsts=of_frontend)
    connection = secured(hsts=Hsts(max_age=7), frontend=frontend)
    connection.find(b"a.example", b"/", b"GET")
    assert connection.hsts_value == value
    connection.note(AccessRecord("session", "192.0.2.7:1", "HTTP", 0.0))
    assert connection.hsts_value == "max-age=7"
