"""What two tables must not say together, and the listeners that frontends ask for without a table of their own.

A problem stands at the later of the two places and names the earlier one.
"""

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass

from sozu_trio.config import schema
from sozu_trio.config.addresses import Address
from sozu_trio.config.certificates import CertificateFiles
from sozu_trio.config.clusters import Backend, HttpFrontend, TcpFrontend
from sozu_trio.config.listeners import HttpListener, HttpsListener, Listener, TcpListener
from sozu_trio.config.patterns import canonical_host
from sozu_trio.config.program import Program
from sozu_trio.config.report import Report, an, place
from sozu_trio.config.resolve import clusters_of, frontends_of
from sozu_trio.config.values import show

_CARRIED_BY = {"http": ("http", "https"), "tcp": ("tcp", "udp")}
"""Protocol of a cluster → those of the listeners its frontends may name. Sōzu declares UDP services as tcp clusters."""
NO_HSTS = "want none: HSTS never goes out over plain HTTP (RFC 6797 §7.2)"


@dataclass(frozen=True, slots=True)
class Site:
    """What listens at an address. `protocol` is None where the file gives none that can be read."""

    where: str
    protocol: str | None
    expect_proxy: bool = False


def find_sites(file: schema.FileTable, report: Report) -> dict[Address, Site]:
    """What listens at which address, as far as the file's listeners go; the first of two at one address counts."""
    sites: dict[Address, Site] = {}
    for index, table in enumerate(file.listeners):
        where = place("listeners", index)
        if table.public_address is not None and table.expect_proxy:
            found = show(table.public_address)
            report.wrong(
                place(where, "public_address"), f"found {found} and expect_proxy = true; want only one of both"
            )
        if table.hsts is not None and table.protocol == "http":
            report.wrong(place(where, "hsts"), f"found a table; {NO_HSTS}")
        if table.address is None:
            continue
        first = sites.setdefault(table.address, Site(where, table.protocol, table.expect_proxy))
        if first.where != where:
            report.wrong(
                place(where, "address"), f"found {show(table.address)}, where {first.where} listens; want another"
            )
    return sites


def link_frontends(
    file: schema.FileTable, sites: dict[Address, Site], program: Program, report: Report
) -> tuple[Listener, ...]:
    """Hold each frontend against the listener it names. Returns those that no table declares; `sites` gains them."""
    created: list[Listener] = []
    for at, _, cluster in clusters_of(file):
        if cluster.protocol is None:
            continue
        for where, frontend in frontends_of(cluster, at):
            if frontend.address is None:
                continue
            site = sites.get(frontend.address)
            if site is None:
                protocol = "https" if cluster.protocol == "http" and frontend.certificate else cluster.protocol
                created.append(_default_listener(protocol, frontend.address, program))
                site = sites[frontend.address] = Site(where, protocol)
                report.info(where, f"no listener at {frontend.address}: a default {protocol} listener is created")
            elif site.protocol is not None and site.protocol not in _CARRIED_BY[cluster.protocol]:
                what = f"{an(site.protocol)} listener ({site.where}); want one that speaks {cluster.protocol}"
                report.wrong(place(where, "address"), f"found {show(frontend.address)}, {what}")
            if (cluster.protocol, site.protocol) == ("http", "http"):
                _check_without_tls(frontend, where, site, report)
    return tuple(created)


def _check_without_tls(frontend: schema.FrontendTable, where: str, site: Site, report: Report) -> None:
    for key in ("certificate", "key", "certificate_chain"):
        if (value := getattr(frontend, key)) is not None:
            what = f"found {show(value)}, and {site.where} speaks http; want this key left out, or https there"
            report.wrong(place(where, key), what)
    if frontend.hsts is not None:
        report.wrong(place(where, "hsts"), f"found a table; {NO_HSTS}")


def _default_listener(protocol: str, address: Address, program: Program) -> Listener:
    if protocol == "tcp":
        return TcpListener(address=address, timeouts=program.settings.timeouts, active=program.activate_listeners)
    kind = HttpsListener if protocol == "https" else HttpListener
    return kind(address=address, timeouts=program.settings.timeouts, active=program.activate_listeners)


def tell_of_bare_listeners(
    sites: Mapping[Address, Site], certificates: Iterable[CertificateFiles], report: Report
) -> None:
    """Of https listeners that nobody can connect to, unless a certificate comes over the socket."""
    equipped = {each.address for each in certificates}
    for address, site in sites.items():
        if site.protocol == "https" and address not in equipped:
            report.warn(site.where, "no certificate: who connects is refused until `ctl certificate add` brings one")


def check_proxy_headers(file: schema.FileTable, sites: Mapping[Address, Site], report: Report) -> None:
    """A tcp cluster gets a PROXY header from all of its listeners or from none: its backends cannot tell which."""
    for at, _, cluster in clusters_of(file):
        addresses = [each.address for each in cluster.frontends if each.address is not None and each.address in sites]
        expecting = [address for address in addresses if sites[address].expect_proxy]
        others = [address for address in addresses if not sites[address].expect_proxy]
        if cluster.protocol == "tcp" and expecting and others:
            what = f"found listener {expecting[0]} with expect_proxy and {others[0]} without; want all alike"
            report.wrong(place(at, "frontends"), what)


def check_http_frontends(frontends: Mapping[str, HttpFrontend], report: Report) -> None:
    rules = ((where, _rule(frontend)) for where, frontend in frontends.items())
    for where, first in _repeated(rules):
        report.wrong(where, f"asks the same of a request as {first} (address, hostname, path, method); want only one")


def check_tcp_frontends(frontends: Mapping[str, TcpFrontend], report: Report) -> None:
    for where, first in _repeated((where, frontend.address) for where, frontend in frontends.items()):
        cluster_id = frontends[first].cluster_id
        found = show(frontends[where].address)
        report.wrong(
            place(where, "address"), f"found {found}, which {first} sends to cluster {cluster_id!r}; want another"
        )


def check_backends(backends: Mapping[str, Backend], report: Report) -> None:
    keys = ((where, (backend.cluster_id, backend.backend_id)) for where, backend in backends.items())
    for where, first in _repeated(keys):
        found = show(backends[where].backend_id)
        report.wrong(place(where, "backend_id"), f"found {found}, the id of {first}; want one of its own")


def _rule(frontend: HttpFrontend) -> Hashable:
    try:
        host = canonical_host(frontend.hostname)
    except ValueError:
        host = frontend.hostname  # refused before; two of the same are still two of the same
    return frontend.address, host, frontend.path_type, frontend.path, frontend.method


def _repeated(keyed: Iterable[tuple[str, Hashable]]) -> Iterable[tuple[str, str]]:
    """(place, first place) of each key that was there before."""
    firsts: dict[Hashable, str] = {}
    for where, key in keyed:
        first = firsts.setdefault(key, where)
        if first != where:
            yield where, first
