"""Global keys to the Program."""

from collections.abc import Callable
from pathlib import Path

from sozu_trio.config.listeners import Timeouts
from sozu_trio.config.load import Config
from sozu_trio.config.program import Program, Settings

Problems = Callable[[str], list[str]]
Load = Callable[[str], Config]


def test_an_empty_file_gives_the_defaults(load: Load) -> None:
    socket = Path.cwd() / "sozu.sock"
    assert load("").program == Program(command_socket=socket, runtime_directory=Path(f"{socket}.d"))


def test_every_key_arrives(load: Load) -> None:
    program = load("""
        command_buffer_size = 1
        max_command_buffer_size = 2
        command_allowed_uids = [3]
        ctl_command_timeout = 4
        worker_count = 5
        worker_automatic_restart = false
        worker_timeout = 6
        shutdown_timeout = 0
        max_connections = 7
        max_connections_total = 9
        max_connections_per_source = 8
        max_connections_per_ip = 7
        max_requests_per_ip = 6
        max_requests_per_ip_burst = 5
        retry_after = 0
        front_timeout = 0
        back_timeout = 1.5
        connect_timeout = 2
        request_timeout = 3
        activate_listeners = false
        log_level = "warn"
        log_target = "stderr"
        log_colored = true
        access_logs_target = "udp://127.0.0.1:514"
        access_logs_format = "json"
        disable_cluster_metrics = true
        """).program
    assert program == Program(
        command_socket=program.command_socket,
        runtime_directory=program.runtime_directory,
        command_buffer_size=1,
        max_command_buffer_size=2,
        command_allowed_uids=(3,),
        ctl_command_timeout=4,
        worker_count=5,
        worker_automatic_restart=False,
        worker_timeout=6,
        shutdown_timeout=0,
        settings=Settings(
            timeouts=Timeouts(front=0, back=1.5, connect=2, request=3),
            log_level="warn",
            max_connections=7,
            max_connections_total=9,
            max_connections_per_source=8,
            max_connections_per_ip=7,
            max_requests_per_ip=6,
            max_requests_per_ip_burst=5,
            retry_after=0,
        ),
        activate_listeners=False,
        log_target="stderr",
        log_colored=True,
        access_logs_target="udp://127.0.0.1:514",
        access_logs_format="json",
        access_logs_colored=True,
        disable_cluster_metrics=True,
    )


def test_paths_are_relative_to_the_file(load: Load, tmp_path: Path) -> None:
    program = load("""
        command_socket = "./run/sock"
        pid_file_path = "pid"
        saved_state = "state.json"
        log_target = "file://logs/sozu.log"
        access_logs_target = "unix://log.sock"
        audit_logs_target = "file:///var/log/audit"
        audit_logs_json_target = "stdout"
        """).program
    assert program.command_socket == tmp_path / "run/sock"
    assert program.runtime_directory == tmp_path / "run/sock.d"
    assert program.pid_file_path == tmp_path / "pid"
    assert program.saved_state == tmp_path / "state.json"
    assert program.log_target == f"file://{tmp_path}/logs/sozu.log"
    assert program.access_logs_target == f"unix://{tmp_path}/log.sock"
    assert program.audit_logs_target == "file:///var/log/audit"
    assert program.audit_logs_json_target == "stdout"


def test_the_runtime_directory_can_be_moved(load: Load, tmp_path: Path) -> None:
    assert load("runtime_directory = 'run'").program.runtime_directory == tmp_path / "run"


def test_access_logs_may_have_colours_of_their_own(load: Load) -> None:
    assert not load("log_colored = true\naccess_logs_colored = false").program.access_logs_colored


def test_a_unix_socket_has_a_short_path(problems: Problems, load: Load) -> None:
    longest = "/" + "a" * 106
    control = longest[:103]
    assert load(f"command_socket = '{control}'").program.command_socket == Path(control)
    shown = longest[:79]
    assert problems(f"command_socket = '{control}b'\nlog_target = 'unix://{longest}é'") == [
        f"command_socket: found '{shown}…', 104 bytes; want at most 103 for a unix socket",
        f"log_target: found '{shown}…', 109 bytes; want at most 107 for a unix socket",
    ]


def test_saving_the_state_needs_a_place(problems: Problems) -> None:
    assert problems("automatic_state_save = true") == [
        "saved_state: missing; want a path, since automatic_state_save = true"
    ]


def test_where_the_state_is_kept(load: Load, tmp_path: Path) -> None:
    config = load("saved_state = 'state.json'\nautomatic_state_save = true")
    assert (config.program.saved_state, config.notices) == (tmp_path / "state.json", ())
