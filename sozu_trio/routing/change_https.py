"""What an https listener has that others have not, patched in place."""

from dataclasses import fields, replace

from sozu_trio.config.bodies import given
from sozu_trio.config.client_auth import CLIENT_FIELDS, check_client_fields, field_names
from sozu_trio.config.hsts import patched_hsts
from sozu_trio.config.https_bodies import HttpsListenerBody
from sozu_trio.config.listeners import HttpsListener
from sozu_trio.config.reading import settings_of
from sozu_trio.config.report import Report
from sozu_trio.config.structure import hyphened
from sozu_trio.routing.refusal import Refusal

_KEYS = tuple(each.name for each in fields(HttpsListenerBody))


def patched_https(listener: HttpsListener, body: HttpsListenerBody) -> HttpsListener:
    """Raises Refusal for what cannot be honoured together with what the listener has."""
    report = Report()
    settings = settings_of(given(body, _KEYS), listener.tls, "", report)
    patched = replace(
        listener,
        **given(body, ("strict_sni_binding", *CLIENT_FIELDS)),
        tls=settings,
        hsts=patched_hsts(listener.hsts, body),
    )
    check_client_fields("", report, field_names(patched), hyphened)
    for problem in report.problems:
        raise Refusal(problem.where, problem.what)
    return patched
