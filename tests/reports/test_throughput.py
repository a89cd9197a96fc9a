"""Throughput is what the lines of a record say of time and hosts."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.layout import Layout
from pipeline.record import Done
from pipeline.reports.throughput import throughput_of

LAYOUT = Layout(95, (1,), "float32", 1, 10, 10)


def done(region: int, time: float, seconds: float, host: str = "a", pid: int = 1) -> Done:
    return Done(region, (), seconds=seconds, worker=f"{host}:{pid}", time=time)


def test_nothing_done_is_no_throughput() -> None:
    assert throughput_of(LAYOUT, []) is None


def test_time_in_which_nobody_worked_does_not_count() -> None:
    lines = [done(0, 1010, 10), done(1, 1015, 10), done(9, 9000, 5)]
    found: Any = throughput_of(LAYOUT, lines)
    assert (found["began"], found["ended"]) == (
        "1970-01-01T00:16:40+00:00",
        "1970-01-01T02:30:00+00:00",
    )
    assert found["seconds"] == 25
    assert found["windows_per_second"] == pytest.approx((10 + 10 + 5) / (15 + 5))
    rates = [row["windows_per_second"] for row in found["timeline"]]
    length = (9000 - 1000) / len(rates)
    assert sum(rates) * length == pytest.approx(25, abs=0.1)
    assert set(rates[1:-1]) == {0}


def test_slow_hosts_come_first() -> None:
    lines = [done(i, 100 + i, 1, "fast", i % 3) for i in range(6)]
    lines += [done(6, 110, 4, "slow.example:8"), done(7, 120, 6, "slow.example:8")]
    hosts = throughput_of(LAYOUT, lines)["hosts"]  # type: ignore[index]
    assert [(row["host"], row["workers"], row["regions"], row["slow"]) for row in hosts] == [
        ("slow.example:8", 1, 2, True),
        ("fast", 3, 6, False),
    ]
    assert hosts[0]["seconds"] == 0.5
    assert hosts[0]["relative"] == 5


def test_one_host_is_not_slow() -> None:
    hosts = throughput_of(LAYOUT, [done(0, 10, 1), done(1, 20, 9)])["hosts"]  # type: ignore[index]
    assert [row["slow"] for row in hosts] == [False]
