"""What makes a listener one of https, and which files its certificates are in.

A listener's own certificate is shown to clients that ask for a name nobody has a certificate for; in Sōzu it is only
lent to frontends that have none.
"""

from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from pathlib import Path

from sozu_trio.config import schema
from sozu_trio.config.addresses import Address
from sozu_trio.config.certificates import CertificateFiles
from sozu_trio.config.client_auth import (
    CLIENT_FIELDS,
    AuthorityFile,
    check_client_auth,
    check_client_fields,
    field_names,
)
from sozu_trio.config.hsts import read_hsts
from sozu_trio.config.listeners import HttpListener, HttpsListener
from sozu_trio.config.report import Report, place
from sozu_trio.config.tls_settings import read_settings


def https_listener(http: HttpListener, table: schema.ListenerTable, where: str, report: Report) -> HttpsListener:
    """`http` with what the table says of TLS."""
    settings = read_settings(
        where,
        report,
        versions=table.tls_versions,
        ciphers=table.cipher_list,
        groups=table.groups_list,
        alpn=table.alpn_protocols,
        tickets=table.send_tls13_tickets,
    )
    check_client_auth(where, report, client_auth=table.client_auth, has_authorities=table.client_ca is not None)
    check_client_fields(where, report, field_names(table))
    _warn_of_idle_fields(table, where, report)
    return HttpsListener(
        **{each.name: getattr(http, each.name) for each in fields(http)},
        **{key: getattr(table, key) for key in CLIENT_FIELDS},
        tls=replace(settings, client_auth=table.client_auth),
        strict_sni_binding=table.strict_sni_binding,
        hsts=read_hsts(table.hsts, place(where, "hsts"), report),
    )


def _warn_of_idle_fields(table: schema.ListenerTable, where: str, report: Report) -> None:
    plain = schema.ListenerTable()
    for key in CLIENT_FIELDS:
        if table.client_auth == "none" and getattr(table, key) != getattr(plain, key):
            report.warn(place(where, key), "has no effect without client_auth")


def resolve_authorities(file: schema.FileTable, directory: Path) -> tuple[AuthorityFile, ...]:
    """The files of those who sign certificates of clients; relative paths are relative to `directory`."""
    return tuple(
        AuthorityFile(
            where=place(place("listeners", index), "client_ca"), address=each.address, path=directory / each.client_ca
        )
        for index, each in enumerate(file.listeners)
        if each.protocol == "https" and each.address is not None and each.client_ca is not None
    )


def resolve_certificates(
    file: schema.FileTable, frontends: Mapping[str, schema.FrontendTable], directory: Path, report: Report
) -> tuple[CertificateFiles, ...]:
    """All that the file names, each once for each listener. `frontends`: those of http clusters, by place; relative
    paths are relative to `directory`.
    """
    found: dict[object, CertificateFiles] = {}
    for where, address, table, default in _tables(file, frontends):
        files = _files(table, where, address, directory, report, default=default)
        if files is not None:
            key = (files.address, files.certificate, files.key, files.chain, files.default)
            found.setdefault(key, files)
    return tuple(found.values())


def _tables(
    file: schema.FileTable, frontends: Mapping[str, schema.FrontendTable]
) -> Iterator[tuple[str, Address | None, schema.ListenerTable | schema.FrontendTable, bool]]:
    for index, listener in enumerate(file.listeners):
        if listener.protocol == "https":
            yield place("listeners", index), listener.address, listener, True
    for where, frontend in frontends.items():
        yield where, frontend.address, frontend, False


def _files(
    table: schema.ListenerTable | schema.FrontendTable,
    where: str,
    address: Address | None,
    directory: Path,
    report: Report,
    *,
    default: bool,
) -> CertificateFiles | None:
    """Sōzu's `certificate` may hold the chain as well, and so does ours."""
    certificate, key, chain = table.certificate, table.key, table.certificate_chain
    if certificate is None:
        for name, path in (("key", key), ("certificate_chain", chain)):
            if path is not None:
                report.missing(place(where, "certificate"), f"the path of a PEM file, as there is {name}")
                return None
        return None
    if key is None:
        report.missing(place(where, "key"), "the path of the certificate's private key, a PEM file")
        return None
    if address is None:
        return None
    return CertificateFiles(
        where=where,
        address=address,
        certificate=directory / certificate,
        key=directory / key,
        chain=None if chain is None else directory / chain,
        default=default,
    )
