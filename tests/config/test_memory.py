"""What the control group allows, and the share of a worker."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sozu_trio.config.memory import LEAST, OF_MAIN, group_limit, share

MEBIBYTE = 1 << 20


class Machine:
    """Files as the kernel has them."""

    def __init__(self, folder: Path) -> None:
        self.own = folder / "cgroup"
        self.groups = folder / "groups"

    def put(self, path: str, said: str) -> None:
        file = self.groups / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(said + "\n")

    def limit(self, *lines: str) -> int | None:
        self.own.write_text("".join(f"{line}\n" for line in lines))
        return group_limit(self.own, self.groups)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_version_2(machine: Machine) -> None:
    machine.put("system.slice/sozu.service/memory.max", str(512 * MEBIBYTE))
    assert machine.limit("0::/system.slice/sozu.service") == 512 * MEBIBYTE


def test_version_1(machine: Machine) -> None:
    machine.put("memory/docker/1/memory.limit_in_bytes", str(100 * MEBIBYTE))
    assert machine.limit("12:cpu,cpuacct:/docker/1", "4:memory:/docker/1", "0::/") == 100 * MEBIBYTE


def test_the_least_of_all_groups_around_holds(machine: Machine) -> None:
    machine.put("a/memory.max", str(200 * MEBIBYTE))
    machine.put("a/b/memory.max", str(300 * MEBIBYTE))
    machine.put("a/b/c/memory.max", "max")
    assert machine.limit("0::/a/b/c") == 200 * MEBIBYTE


def test_in_a_container_only_the_root_is_seen(machine: Machine) -> None:
    machine.put("memory.max", str(64 * MEBIBYTE))
    assert machine.limit("0::/host/path/of/it") == 64 * MEBIBYTE


@pytest.mark.parametrize("said", ["max", str((1 << 63) - 4096), "garbage"])
def test_no_limit(machine: Machine, said: str) -> None:
    machine.put("a/memory.max", said)
    machine.put("memory/a/memory.limit_in_bytes", said)
    assert machine.limit("0::/a", "4:memory:/a") is None


def test_a_kernel_without_groups(machine: Machine) -> None:
    assert machine.limit() is None
    assert group_limit(machine.own.with_name("nothing"), machine.groups) is None


@given(st.integers(0, 1 << 40), st.integers(0, 64))
def test_shares_fit_together_with_main(limit: int, workers: int) -> None:
    each = share(limit, workers)
    assert each >= LEAST
    assert workers * each + OF_MAIN <= limit or each == LEAST or workers == 0
