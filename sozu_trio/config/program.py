"""The global keys that live on after loading: what main and its workers are told besides listeners and clusters.

Paths are absolute once they come from a file. The file's listeners have taken over the global timeouts already;
they are kept for listeners that come later.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from sozu_trio.config.listeners import Timeouts


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The global keys that change while everything runs; they are part of State."""

    timeouts: Timeouts = field(default_factory=Timeouts)
    """What a listener takes that is added without timeouts of its own."""
    log_level: str = "info"
    """Directives, as `config.directives` reads them."""
    max_connections: int | None = None
    """Client connections per worker; None = 10,000, or as many as descriptors suffice for."""
    max_connections_total: int = 0
    """Client connections of all workers together; 0 = any number."""
    max_connections_per_source: int = 0
    """Client connections of one client address, over all listeners and workers; 0 = any number."""
    max_connections_per_ip: int = 0
    """Client connections of one client address that were routed to one cluster, over all workers; 0 = any number."""
    max_requests_per_ip: int = 0
    """HTTP requests a second of one client address, over all workers; 0 = any number."""
    max_requests_per_ip_burst: int = 0
    """Of these at once, after a pause; 0 = those of one second."""
    retry_after: int = 60
    """What Retry-After says, in seconds; 0 = the field is left out."""
    overload_lag: int = 100
    """Milliseconds of lag from which on a worker sheds; 0 = never."""
    max_memory: int | None = None
    """Bytes of a worker; None = its share of what the control group allows, 0 = any number."""
    evict_on_queue_full: bool = False
    """Where there is no room, idle clients leave for new ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What the whole program goes by. Seconds unless said otherwise."""

    command_socket: Path = Path("sozu.sock")
    runtime_directory: Path = Path("sozu.sock.d")
    command_buffer_size: int = 1_000_000
    """Bytes."""
    max_command_buffer_size: int = 2_000_000
    """Bytes."""
    command_allowed_uids: tuple[int, ...] | None = None
    """None = whoever the file mode of the socket lets in."""
    command_read_only_uids: tuple[int, ...] = ()
    """Those of them who may look and change nothing."""
    ctl_command_timeout: int = 30_000
    """Milliseconds; 0 = none."""
    worker_count: int = 2
    worker_automatic_restart: bool = True
    worker_timeout: float = 10
    shutdown_timeout: float = 30
    """How long a soft stop waits for sessions before it turns hard; 0 = for ever."""
    orphan_timeout: float = 300
    """How long a worker whose main has died serves on until another one comes; 0 = for ever."""
    upgrade_drain_timeout: float = 300
    """How long a worker that has a successor keeps what cannot move to it; 0 = for ever."""
    sandbox: Literal["require", "auto", "off"] = "auto"
    """Whether a worker serves without a layer of its sandbox."""
    sandbox_violation: Literal["deny", "kill"] = "deny"
    """What becomes of a worker's system call that is not allowed, or of the worker."""
    user: str | None = None
    """Whom workers run as; None = as main."""
    group: str | None = None
    """None = the user's."""
    certificate_check_interval: float = 10
    """Between two looks at the files of certificates; 0 = nobody looks. A look at 10,000 files takes 50 ms of a thread,
    and a renewal comes days before it is needed.
    """
    settings: Settings = field(default_factory=Settings)
    """As the file has them; those in force are in State."""
    activate_listeners: bool = True
    pid_file_path: Path | None = None
    saved_state: Path | None = None
    automatic_state_save: bool = False
    log_target: str = "stdout"
    log_colored: bool = False
    access_logs_target: str | None = None
    """None = where the log goes."""
    access_logs_format: Literal["ascii", "json"] = "ascii"
    access_logs_colored: bool = False
    audit_logs_target: str | None = None
    audit_logs_json_target: str | None = None
    disable_cluster_metrics: bool = False
