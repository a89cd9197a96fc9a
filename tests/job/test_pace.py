"""The pace of a job, by the ends of its regions."""

from __future__ import annotations

import random

import numpy as np
import pytest

from pipeline.job.pace import MOST, Host, Pace
from pipeline.layout import Layout
from pipeline.record import Done

N = 5000
LAYOUT = Layout(10 * N, (1,), "float32", 10, 10, 10)


def done(region: int, time: float, seconds: float, host: str = "one") -> Done:
    return Done(region, (), seconds=seconds, worker=f"{host}:{region % 3}", time=time)


def rate(entries: list[Done], now: float) -> float:
    return sum(host.windows_per_second for host in hosts(entries, now).values())


def hosts(entries: list[Done], now: float) -> dict[str, Host]:
    pace, stored = Pace(LAYOUT), np.zeros(N, np.bool_)
    for entry in random.Random(0).sample(entries, len(entries)):
        pace.add(entry)
        stored[entry.region] = True
    return {host.name: host for host in pace.hosts(stored, now)}


def test_nothing_done_has_no_pace() -> None:
    assert rate([], 1e9) == 0


def test_a_steady_pace_is_told_from_the_first_region_on() -> None:
    for n in (1, 2, 7, 500, 2 * MOST):
        entries = [done(i, 1000 + 5.0 * (i + 1), 5) for i in range(n)]
        assert rate(entries, entries[-1].time) == pytest.approx(2.0)  # 10 windows in 5 s


def test_workers_side_by_side_add_up() -> None:
    entries = [done(i, 1000 + 8.0 * (i // 4 + 1) + i % 4 / 100, 8) for i in range(400)]
    assert rate(entries, entries[-1].time) == pytest.approx(4 * 10 / 8, rel=0.02)


def test_the_pace_is_that_of_late() -> None:
    slow = [done(i, 1000 + 10.0 * (i + 1), 10) for i in range(50)]
    fast = [done(50 + i, slow[-1].time + i + 1, 1) for i in range(200)]
    assert rate(slow + fast, fast[-1].time) == pytest.approx(10)


def test_time_in_which_a_job_was_killed_does_not_count() -> None:
    before = [done(i, 1000 + 5.0 * (i + 1), 5) for i in range(4)]
    resumed = [done(4 + i, 90_000 + 5.0 * (i + 1), 5) for i in range(2)]
    assert rate(before + resumed, resumed[-1].time) == pytest.approx(2)


def test_that_nothing_ends_for_long_is_slow() -> None:
    entries = [done(i, 1000 + 5.0 * (i + 1), 5) for i in range(20)]
    at = entries[-1].time
    assert rate(entries, at + 4) == pytest.approx(2)
    assert rate(entries, at + 105) == pytest.approx(1)


def test_hosts_have_their_own_regions_and_pace() -> None:
    entries = [done(i, 1000 + 5.0 * (i + 1), 5, "gone") for i in range(20)]
    entries += [done(20 + i, 2000 + 5.0 * (i + 1), 5, "a") for i in range(60)]
    entries += [done(80 + i, 2000 + 10.0 * (i + 1), 10, "b") for i in range(30)]
    entries += [done(0, 2300, 5, "b")]  # again, as it was damaged
    found = hosts(sorted(entries, key=lambda entry: entry.time), 2300)
    assert {name: host.regions for name, host in found.items()} == {"a": 60, "b": 31, "gone": 19}
    assert [*found][2] == "gone"  # the last heard of comes first
    assert found["a"].windows_per_second == pytest.approx(2, rel=0.05)
    assert found["b"].windows_per_second == pytest.approx(1, rel=0.1)
    assert (found["gone"].windows_per_second, found["gone"].last_seen) == (0, 1100)
