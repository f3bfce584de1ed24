"""Addresses of this machine at which nobody listens."""

from benchmarks.ports import free_port
from sozu_trio.config.addresses import Address


def free_address(host: str = "127.0.0.1") -> Address:
    """One to listen at, or to be refused at: nobody else comes to have it."""
    return Address(host, free_port())
