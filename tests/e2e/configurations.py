"""Configurations for the proxy under test: backends on 127.0.0.1."""

PATIENT = "front_timeout = 0\nrequest_timeout = 0\n"
"""Global keys with which clients that say nothing may stay."""


def http_proxy(port: int, *backends: int, before: str = "", listener: str = "", cluster: str = "") -> str:
    """A configuration: HTTP on 127.0.0.1:`port` before backends on 127.0.0.1; the others are lines for their tables."""
    members = ", ".join(f'{{ address = "127.0.0.1:{backend}" }}' for backend in backends)
    return f"""
{before}
[[listeners]]
protocol = "http"
address = "127.0.0.1:{port}"
{listener}
[clusters.web]
protocol = "http"
frontends = [{{ address = "127.0.0.1:{port}", hostname = "*" }}]
backends = [{members}]
{cluster}
"""


def tcp_proxy(port: int, *backends: int, listener: str = "") -> str:
    """A configuration: TCP on 127.0.0.1:`port` before backends on 127.0.0.1."""
    members = ", ".join(f'{{ address = "127.0.0.1:{backend}" }}' for backend in backends)
    return f"""
[[listeners]]
protocol = "tcp"
address = "127.0.0.1:{port}"
{listener}
[clusters.relay]
protocol = "tcp"
frontends = [{{ address = "127.0.0.1:{port}" }}]
backends = [{members}]
"""


def both_proxies(http: int, tcp: int, *, web: int, echo: int, relay: int, before: str = "", after: str = "") -> str:
    """A configuration: HTTP on 127.0.0.1:`http` before a backend on port `web`, and one on port `echo` for the path
    /echo; TCP on 127.0.0.1:`tcp` before one on port `relay`.
    """
    return f"""
{before}
[[listeners]]
protocol = "http"
address = "127.0.0.1:{http}"
[[listeners]]
protocol = "tcp"
address = "127.0.0.1:{tcp}"
[clusters.web]
protocol = "http"
frontends = [{{ address = "127.0.0.1:{http}", hostname = "*" }}]
backends = [{{ address = "127.0.0.1:{web}" }}]
[clusters.echo]
protocol = "http"
frontends = [{{ address = "127.0.0.1:{http}", hostname = "*", path = "/echo" }}]
backends = [{{ address = "127.0.0.1:{echo}" }}]
[clusters.relay]
protocol = "tcp"
frontends = [{{ address = "127.0.0.1:{tcp}" }}]
backends = [{{ address = "127.0.0.1:{relay}" }}]
{after}
"""
