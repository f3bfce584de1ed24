"""Configurations for the proxy under test: one listener, one cluster, backends on 127.0.0.1."""


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
