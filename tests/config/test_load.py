"""Files and texts to a Config, with every mistake at once."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sozu_trio.config.load import Config, build_config, load_config, parse_config
from sozu_trio.errors import ConfigError

HERE = Path(__file__).parent


def complaint(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_config(text, "x.toml", HERE)
    return str(caught.value)


def test_an_empty_file_is_a_configuration(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_bytes(b"\xef\xbb\xbf")  # some editors leave a byte order mark even there
    config = load_config(path)
    assert (config.source, config.listeners, config.notices) == (str(path), (), ())


def test_all_problems_at_once(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text("""
        worker_count = "two"
        log_level = "inof"
        max_conections = 5
        [[listeners]]
        protocol = "http"
        address = "127.0.0.1:80"
        adress = "127.0.0.1:81"
        [[listeners]]
        protocol = "tcp"
        address = "127.0.0.1:80"
        front_timeout = -1
        [clusters.api]
        protocol = "http"
        sticky_session = true
        frontends = [{ address = "127.0.0.1:80", hostname = "/(/.example", path = "(", path_type = "REGEX" }]
        backends = [{ address = "127.0.0.1:1" }, { address = "x" }]
        """)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    want_address = "want ip:port, such as 127.0.0.1:8080 or [::1]:8080 (names are not resolved)"
    assert str(caught.value).splitlines() == [
        f"{path}: worker_count: found 'two'; want an integer from 1 to 65535",
        f"{path}: listeners[0].adress: unknown key; did you mean 'address'?",
        f"{path}: listeners[1].front_timeout: found -1; want a number of seconds from 0 to 4294967295",
        f"{path}: clusters.api.backends[1].address: found 'x'; {want_address}",
        f"{path}: max_conections: unknown key; did you mean 'max_connections'?",
        f"{path}: clusters.api.sticky_session: found true; want false; not built yet: sticky sessions",
        f"{path}: log_level: log directives 'inof': 'inof' is not a level (did you mean 'info'?); "
        "levels are off, error, warn, warning, info, debug, trace",
        f"{path}: listeners[1].address: found '127.0.0.1:80', where listeners[0] listens; want another",
        f"{path}: clusters.api.frontends[0].hostname: "
        "'/(/.example' is not a host: '(' is not a regex: missing ), unterminated subpattern at position 0",
        f"{path}: clusters.api.frontends[0].path: '(' is not a regex: missing ), unterminated subpattern at position 0",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a = 1\n\n  = 3", "x.toml: line 3, column 3: Invalid statement"),
        ("a = 1\r\nb 2", "x.toml: line 2, column 3: Expected '=' after a key in a key/value pair"),
        ("a = 1\nb = ", "x.toml: line 2, column 5: Invalid value (the file ends here)"),
        ("a = ", "x.toml: line 1, column 5: Invalid value (the file ends here)"),
        ("a = " + "1" * 5000, "x.toml: Exceeds the limit (4300 digits) for integer string conversion"),
        ("a = " + "[" * 100_000, "x.toml: is nested too deeply"),
    ],
)
def test_what_is_no_toml(text: str, message: str) -> None:
    assert complaint(text).startswith(message)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "none.toml"
    with pytest.raises(ConfigError, match=r"none\.toml: cannot be read: No such file or directory"):
        load_config(path)


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_bytes(b"a = 1\nb = '\xff'")
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert str(caught.value) == f"{path}: line 2, column 6: found a byte that is not UTF-8; want UTF-8"


def test_paths_follow_the_file_wherever_it_is_named_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.toml").write_text("command_socket = 'sock'")
    monkeypatch.chdir(tmp_path)
    assert load_config(Path("x.toml")).program.command_socket == tmp_path / "sock"


def outcome(document: dict[str, Any] | str) -> Config | ConfigError:
    try:
        if isinstance(document, str):
            return parse_config(document, "x.toml", HERE)
        return build_config(document, "x.toml", HERE)
    except ConfigError as error:
        return error


@given(st.text(max_size=40))
@settings(max_examples=150, deadline=None)
def test_any_text_is_a_configuration_or_an_error(text: str) -> None:
    result = outcome(text)
    assert isinstance(result, Config) or len(str(result).splitlines()) == len(result.problems)


ADDRESSES = st.sampled_from(["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:0", "x", 3])
LISTENERS = st.fixed_dictionaries(
    {}, optional={"address": ADDRESSES, "protocol": st.sampled_from(["http", "https", "tcp", "udp", "x"]),
                  "expect_proxy": st.booleans(), "public_address": ADDRESSES, "front_timeout": st.floats(),
                  "max_head_size": st.integers(200, 9000), "max_request_line": st.integers(200, 9000)}
)  # fmt: skip
FRONTENDS = st.fixed_dictionaries(
    {}, optional={"address": ADDRESSES, "hostname": st.sampled_from(["a.b", "*", "/[/", ""]) | st.text(max_size=6),
                  "path": st.text(max_size=6), "path_type": st.sampled_from(["PREFIX", "REGEX"]),
                  "certificate": st.text(max_size=2), "hsts": st.just({})}
)  # fmt: skip
BACKENDS = st.fixed_dictionaries(
    {}, optional={"address": ADDRESSES, "backend_id": st.sampled_from(["a", ""]), "weight": st.integers(-1, 300)}
)  # fmt: skip
CLUSTERS = st.fixed_dictionaries(
    {"protocol": st.sampled_from(["http", "tcp", "x"])},
    optional={"frontends": st.lists(FRONTENDS, max_size=3), "backends": st.lists(BACKENDS, max_size=3),
              "load_balancing": st.sampled_from(["RANDOM", "HRW"])},
)  # fmt: skip
DOCUMENTS = st.fixed_dictionaries(
    {},
    optional={
        "listeners": st.lists(LISTENERS, max_size=3),
        "clusters": st.dictionaries(st.text(max_size=4), CLUSTERS, max_size=3),
        "saved_state": st.text(max_size=4),
        "log_target": st.sampled_from(["stdout", "unix://" + "x" * 200]),
    },
)


@given(DOCUMENTS)
@settings(max_examples=250, deadline=None)
def test_what_nearly_is_a_configuration_is_one_or_an_error(document: dict[str, Any]) -> None:
    result = outcome(document)
    if isinstance(result, Config):
        listening = {listener.address for listener in result.listeners}
        assert len(listening) == len(result.listeners)
        assert {each.address for each in result.http_frontends} <= listening
        assert {each.address for each in result.tcp_frontends} <= listening
    else:
        assert len(str(result).splitlines()) == len(result.problems) > 0


def test_sozus_own_sample_is_served() -> None:
    path = HERE.parents[1] / "docs" / "examples" / "sozu-sample.toml"
    config = load_config(path)
    assert [str(listener.address) for listener in config.listeners] == ["127.0.0.1:8080", "127.0.0.1:8081"]
    assert [cluster.cluster_id for cluster in config.clusters] == ["MyCluster", "TcpTest"]
    assert [backend.weight for backend in config.backends] == [100, 50, 100, 50]
    assert (len(config.http_frontends), len(config.tcp_frontends)) == (3, 1)
    assert config.tcp_frontends[0].tags == {"owner": "team-b"}
    assert config.program.settings.max_connections == 500
    assert {notice.where for notice in config.notices} == {
        *(
            "command_buffer_size",
            "max_buffers",
            "metrics",
        ),
    }
