"""Limits of control groups, read from made-up folders, as containers see them."""

import os

import pytest

from minialex import control_groups
from minialex.kernels.runtime import threads


@pytest.fixture
def system(tmp_path, monkeypatch):
    """Write files, and say which groups the process is in."""
    monkeypatch.setattr(control_groups, "_MOUNTED", tmp_path)
    monkeypatch.setattr(control_groups, "_MEMBERSHIP", tmp_path / "membership")

    def has(membership, **files):
        (tmp_path / "membership").write_text(membership)
        for name, content in files.items():
            file = tmp_path / name.replace("__", "/").replace("_max", ".max").replace("_cfs_", ".cfs_")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content)

    return has


def test_the_tightest_quota_of_version_2_counts(system):
    system("0::/pod/box\n", pod__cpu_max="400000 100000\n", pod__box__cpu_max="max 100000\n")
    assert control_groups.processors() == 4
    system("0::/pod/box\n", pod__box__cpu_max="150000 100000\n")
    assert control_groups.processors() == 1.5
    assert [path.name for path in control_groups.groups()][:2] == ["box", "pod"]


def test_a_quota_of_version_1_counts_though_the_path_is_that_of_the_host(system):
    system(
        "9:memory:/docker/a1\n4:cpu,cpuacct:/docker/a1\n1:name=systemd:/\n",
        **{"cpu,cpuacct__cpu_cfs_quota_us": "250000\n", "cpu,cpuacct__cpu_cfs_period_us": "100000\n"},
    )
    assert control_groups.processors() == 2.5
    assert control_groups.groups() == []
    system("4:cpu,cpuacct:/\n", **{"cpu,cpuacct__cpu_cfs_quota_us": "-1\n"})
    assert control_groups.processors() is None


@pytest.mark.parametrize("content", ["", "max 100000", "max", "100000", "a b", "0 100000", "100000 0"])
def test_what_is_no_quota_limits_nothing(system, content):
    system("0::/\n", cpu_max=content)
    assert control_groups.processors() is None


def test_a_system_without_groups_limits_nothing(system, tmp_path):
    assert control_groups.processors() is None
    system("0::/not/mounted\n")
    assert control_groups.processors() is None


@pytest.mark.parametrize(
    ("quota", "expected"), [("50000 100000", 1), ("150000 100000", 2), ("max 100000", 64)]
)
def test_there_are_no_more_threads_than_the_quota_lets_run(system, monkeypatch, quota, expected):
    """A container of two processors' time on a machine of 64 has an affinity of 64."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    system("0::/\n", cpu_max=quota)
    assert threads.available_threads() == expected
