"""The benchmark of certificates: its files are what the proxy takes, and what the meter wrote is read right."""

from pathlib import Path

import pytest

from benchmarks import certificates
from sozu_trio.config.load import load_config
from sozu_trio.main.certificate_files import read_certificate_files


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificates, "CERTIFICATES", 3)


def test_every_rule_has_a_certificate(tmp_path: Path) -> None:
    certificates.write(tmp_path)
    file = tmp_path / "proxy.toml"
    file.write_text(certificates.configuration(8443, tmp_path))
    read = read_certificate_files(load_config(file), ())
    assert [each.certificate.names for each in read.records] == [(f"host-{number}.example",) for number in range(3)]
    file.write_text(certificates.configuration(8443, None))
    assert load_config(file).certificates == ()


def test_the_batch_adds_as_many_again() -> None:
    verbs = [each["verb"] for each in certificates.additions(8443)]
    assert verbs == ["certificate add"] * 3


def test_the_longest_hold_within_a_time(tmp_path: Path) -> None:
    meter = tmp_path / "meter"
    meter.write_text("1.0 9.0 9.0 before\n2.0 0.05 0.001 client 1 (uid 0)\n2.5 0.02 0.01 other\n4.0 9.0 9.0 after\n")
    assert certificates.longest_of_main(meter, 1.5, 3) == (0.05, 0.01)
    assert certificates.longest_of_main(meter, 5, 6) == (0, 0)
