"""How evenly connections are spread, and the configuration of a proxy with as many workers as wanted."""

from pathlib import Path

from benchmarks.peers import many_hosts, sozu_trio
from benchmarks.workers import ratio
from sozu_trio.config.load import load_config


def test_the_busier_worker_against_the_other() -> None:
    assert ratio([128, 128]) == 1
    assert ratio([96, 160]) == ratio([160, 96]) == 160 / 96
    assert ratio([0, 256]) == float("inf")


def test_configuration(tmp_path: Path) -> None:
    sozu_trio(many_hosts(3), workers=3).command(tmp_path, 8080, 9000)
    config = load_config(tmp_path / "config.toml")
    assert config.program.worker_count == 3
    assert len(config.clusters) == 3
