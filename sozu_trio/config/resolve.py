"""Tables of the file → the records the program works with: what must be there is asked for, defaults are inherited.

Each record is returned with the place it came from, so that later checks can name it. A table that lacks what it needs
gives a problem and no record. How records fit together is judged in `check.py`.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from sozu_trio.config import schema
from sozu_trio.config.backend_tls import BackendTlsFiles, read_backend_tls_table
from sozu_trio.config.client_auth import refuse_client_auth
from sozu_trio.config.clusters import Backend, Cluster, HttpFrontend, LoadBalancing, TcpFrontend
from sozu_trio.config.hsts import read_hsts
from sozu_trio.config.https import https_listener
from sozu_trio.config.limits import HeadLimits
from sozu_trio.config.listeners import HttpListener, Listener, TcpListener, Timeouts
from sozu_trio.config.patterns import check_path, parse_host, why_idle
from sozu_trio.config.program import Program
from sozu_trio.config.report import Report, place
from sozu_trio.config.values import show

WANT_ADDRESS = "ip:port, such as 127.0.0.1:8080 or [::1]:8080"


def clusters_of(file: schema.FileTable) -> Iterator[tuple[str, str, schema.ClusterTable]]:
    """(place, id, table) of each cluster."""
    for cluster_id, cluster in file.clusters.items():
        yield place("clusters", cluster_id), cluster_id, cluster


def frontends_of(cluster: schema.ClusterTable, where: str) -> Iterator[tuple[str, schema.FrontendTable]]:
    """(place, table) of each frontend of the cluster at `where`."""
    for index, frontend in enumerate(cluster.frontends):
        yield place(place(where, "frontends"), index), frontend


def http_frontend_tables(file: schema.FileTable) -> dict[str, schema.FrontendTable]:
    """The frontends of all http clusters, by place."""
    http = ((at, cluster) for at, _, cluster in clusters_of(file) if cluster.protocol == "http")
    return {where: table for at, cluster in http for where, table in frontends_of(cluster, at)}


def resolve_listeners(file: schema.FileTable, program: Program, report: Report) -> dict[str, Listener]:
    """The listeners by place. Those of udp are known to `unbuilt.py` and left out."""
    listeners: dict[str, Listener] = {}
    for index, table in enumerate(file.listeners):
        where = place("listeners", index)
        if table.address is None:
            report.missing(place(where, "address"), WANT_ADDRESS)
        if table.protocol is None:
            report.missing(place(where, "protocol"), "'http', 'https' or 'tcp'")
        listener = _listener(table, where, program, report)
        if listener is not None:
            listeners[where] = listener
    return listeners


def _listener(table: schema.ListenerTable, where: str, program: Program, report: Report) -> Listener | None:
    if table.protocol in ("http", "tcp", "udp"):
        refuse_client_auth(table, where, report)
    if table.address is None:
        return None
    if table.protocol == "tcp":
        return TcpListener(
            address=table.address,
            public_address=table.public_address,
            expect_proxy=table.expect_proxy,
            timeouts=_timeouts(table, program.settings.timeouts),
            active=program.activate_listeners,
        )
    if table.protocol == "udp" or table.protocol is None:
        return None
    http = HttpListener(
        address=table.address,
        public_address=table.public_address,
        expect_proxy=table.expect_proxy,
        timeouts=_timeouts(table, program.settings.timeouts),
        limits=_limits(table, where, report),
        sozu_id_header=table.sozu_id_header,
        elide_x_real_ip=table.elide_x_real_ip,
        send_x_real_ip=table.send_x_real_ip,
        trusted_proxies=table.trusted_proxies,
        upgrade_protocols=table.upgrade_protocols,
        via=table.via,
        max_body_size=table.max_body_size,
        max_requests_per_connection=table.max_requests_per_connection,
        min_body_rate=table.min_body_rate,
        active=program.activate_listeners,
    )
    return https_listener(http, table, where, report) if table.protocol == "https" else http


def _timeouts(table: schema.ListenerTable, inherited: Timeouts) -> Timeouts:
    return Timeouts(
        front=inherited.front if table.front_timeout is None else table.front_timeout,
        back=inherited.back if table.back_timeout is None else table.back_timeout,
        connect=inherited.connect if table.connect_timeout is None else table.connect_timeout,
        request=inherited.request if table.request_timeout is None else table.request_timeout,
    )


def _limits(table: schema.ListenerTable, where: str, report: Report) -> HeadLimits:
    line = table.max_request_line
    if line is not None and line > table.max_head_size:
        want = f"at most max_head_size, which is {table.max_head_size}"
        report.wrong(place(where, "max_request_line"), f"found {line}; want {want}")
    if line is None:
        line = min(HeadLimits().request_line, table.max_head_size)
    return HeadLimits(head=table.max_head_size, request_line=line, fields=table.max_fields)


def resolve_clusters(file: schema.FileTable, report: Report) -> tuple[Cluster, ...]:
    clusters = []
    for where, cluster_id, table in clusters_of(file):
        if table.protocol is None:
            report.missing(place(where, "protocol"), "'http' or 'tcp'")
            continue
        cluster = Cluster(
            cluster_id=cluster_id,
            protocol=table.protocol,
            load_balancing=_balancing(table),
            load_metric=table.load_metric,
            send_proxy=table.send_proxy and table.protocol == "tcp",
            max_idle_connections=table.max_idle_connections,
            idle_timeout=table.idle_timeout,
            max_connections=table.max_connections,
            max_queue=table.max_queue,
            queue_timeout=table.queue_timeout,
            max_requests=table.max_requests,
            max_requests_burst=table.max_requests_burst,
            max_connections_per_ip=table.max_connections_per_ip,
            retry_after=table.retry_after,
            https_redirect=table.https_redirect and table.protocol == "http",
            https_redirect_port=_redirect_port(table, where, report),
            tls=None if table.tls is None else read_backend_tls_table(table.tls, place(where, "tls"), report),
        )
        clusters.append(cluster)
    return tuple(clusters)


def _redirect_port(table: schema.ClusterTable, where: str, report: Report) -> int | None:
    if table.protocol != "http":
        return None  # `unbuilt.py` has said that it has no effect there.
    if table.https_redirect_port is not None and not table.https_redirect:
        report.warn(place(where, "https_redirect_port"), "has no effect without https_redirect")
    return table.https_redirect_port


def resolve_backend_tls(file: schema.FileTable, directory: Path) -> tuple[BackendTlsFiles, ...]:
    """Which files each cluster that speaks TLS names; relative paths are relative to `directory`."""
    return tuple(
        BackendTlsFiles(
            where=place(where, "tls"),
            cluster_id=cluster_id,
            ca=None if tls.ca is None else directory / tls.ca,
            certificate=None if tls.certificate is None else directory / tls.certificate,
            key=None if tls.key is None else directory / tls.key,
        )
        for where, cluster_id, table in clusters_of(file)
        if (tls := table.tls) is not None
    )


def _balancing(table: schema.ClusterTable) -> LoadBalancing:
    """What is not built was refused in `unbuilt.py`; the value given here for it is never used."""
    built = table.load_balancing in LoadBalancing.__members__
    return LoadBalancing(table.load_balancing) if built else LoadBalancing.ROUND_ROBIN


def resolve_http_frontends(file: schema.FileTable, report: Report) -> dict[str, HttpFrontend]:
    """The rules of http and https listeners, by place."""
    frontends = {}
    for at, cluster_id, cluster in clusters_of(file):
        if cluster.protocol != "http":
            continue
        for where, table in frontends_of(cluster, at):
            _check_http_frontend(table, where, report)
            if table.address is not None and table.hostname is not None:
                frontends[where] = HttpFrontend(
                    address=table.address,
                    hostname=table.hostname,
                    path=table.path or "",
                    path_type=table.path_type,
                    method=table.method,
                    position=table.position,
                    cluster_id=cluster_id,
                    tags=_tags(table.tags),
                    hsts=read_hsts(table.hsts, place(where, "hsts"), report),
                    max_body_size=table.max_body_size,
                )
    return frontends


def _check_http_frontend(table: schema.FrontendTable, where: str, report: Report) -> None:
    if table.address is None:
        report.missing(place(where, "address"), WANT_ADDRESS)
    if table.hostname is None:
        report.missing(place(where, "hostname"), "a host, such as example.com, *.example.com or *")
    else:
        try:
            parse_host(table.hostname)
        except ValueError as error:
            report.wrong(place(where, "hostname"), str(error))
    try:
        check_path(table.path_type, table.path or "")
    except ValueError as error:
        report.wrong(place(where, "path"), str(error))
    if idle := why_idle(table.path_type, table.path or ""):
        report.warn(place(where, "path"), idle)


def resolve_tcp_frontends(file: schema.FileTable, report: Report) -> dict[str, TcpFrontend]:
    frontends = {}
    for at, cluster_id, cluster in clusters_of(file):
        if cluster.protocol != "tcp":
            continue
        for where, table in frontends_of(cluster, at):
            _check_tcp_frontend(table, where, report)
            if table.address is not None:
                frontends[where] = TcpFrontend(address=table.address, cluster_id=cluster_id, tags=_tags(table.tags))
    return frontends


def _check_tcp_frontend(table: schema.FrontendTable, where: str, report: Report) -> None:
    if table.address is None:
        report.missing(place(where, "address"), WANT_ADDRESS)
    for key in (*("hostname", "path", "certificate", "key", "certificate_chain", "hsts"), "client_auth", "client_ca"):
        value = getattr(table, key)
        if value and value != "none":
            what = f"found {show(value)}; want none: a tcp frontend sends all of its listener to one cluster"
            report.wrong(place(where, key), what)


def resolve_backends(file: schema.FileTable, report: Report) -> dict[str, Backend]:
    backends = {}
    for at, cluster_id, cluster in clusters_of(file):
        for index, table in enumerate(cluster.backends):
            where = place(place(at, "backends"), index)
            if table.address is None:
                report.missing(place(where, "address"), WANT_ADDRESS)
            else:
                backends[where] = Backend(
                    cluster_id=cluster_id,
                    backend_id=table.backend_id or f"{cluster_id}-{index}-{table.address}",
                    address=table.address,
                    weight=table.weight,
                    backup=table.backup,
                    max_connections=table.max_connections,
                )
    return backends


def _tags(tags: Mapping[str, str]) -> Mapping[str, str]:
    return MappingProxyType(dict(tags))
