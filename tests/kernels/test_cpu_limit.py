"""The cores that a container may use, read from files as Linux has them."""

import math
import os

import pytest

from tfcharlm.kernels import available_cores, shards
from tfcharlm.kernels.cpu_limit import cpu_limit

NESTED = "0::/kubepods/pod7\n"
OLD = "11:memory:/docker/1\n4:cpu,cpuacct:/docker/1\n1:name=systemd:/docker/1\n"
CASES = {
    "a container": ("0::/\n", {"cpu.max": "400000 100000\n"}, 4),
    "a half": ("0::/\n", {"cpu.max": "50000 100000\n"}, 0.5),
    "no limit": ("0::/\n", {"cpu.max": "max 100000\n"}, math.inf),
    "no file": ("0::/\n", {}, math.inf),
    "damage": ("0::/\n", {"cpu.max": "many"}, math.inf),
    "the lowest one": (NESTED, {"kubepods/cpu.max": "300000 100000", "kubepods/pod7/cpu.max": "800000 100000"}, 3),
    "its own": (NESTED, {"kubepods/cpu.max": "max 100000", "kubepods/pod7/cpu.max": "200000 100000"}, 2),
    "of another": (NESTED, {"kubepods/pod8/cpu.max": "200000 100000"}, math.inf),
    "above the root": ("0::/../pod7\n", {"pod7/cpu.max": "200000 100000"}, math.inf),
    "version 1": (OLD, {"cpu/cpu.cfs_quota_us": "150000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1.5),
    "version 1, nested": (
        OLD, {"cpu/docker/1/cpu.cfs_quota_us": "200000", "cpu/docker/1/cpu.cfs_period_us": "100000"}, 2,
    ),
    "version 1, no limit": (OLD, {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, math.inf),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_limits_of_control_groups(case, tmp_path):
    membership, files, expected = CASES[case]
    (tmp_path / "membership").write_text(membership)
    for name, text in files.items():
        file = tmp_path / "root" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    assert cpu_limit(tmp_path / "root", tmp_path / "membership") == expected


def test_without_control_groups_there_is_no_limit(tmp_path):
    assert cpu_limit(tmp_path, tmp_path / "none") == math.inf


@pytest.mark.parametrize(("limit", "cores"), [(0.5, 1), (3.5, 4), (64, 8), (math.inf, 8)])
def test_cores_are_those_that_may_be_used(limit, cores, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    monkeypatch.setattr(shards, "cpu_limit", lambda: limit)
    assert available_cores() == cores
