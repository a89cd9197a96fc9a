"""Coverage tells how much of each hour was recorded, in the time of the place."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

import pipeline as pl
from pipeline.recordings import NAT, offset_text
from pipeline.reports.coverage import _by_hour, _rows, local_iso
from pipeline.reports.findings import findings_of

RATE = 100


def coverage_of(folder: Path, names: dict[str, float], **settings: Any) -> Any:
    for name, seconds in names.items():
        soundfile.write(folder / name, np.full(round(seconds * RATE), 0.1), RATE)
    out = folder / "x.zarr"
    pl.extract(
        [folder / name for name in names], out, pl.Waveform(), datetime="%Y%m%d_%H%M%S", **settings
    )
    return findings_of(out)["coverage"]


def test_hours_are_those_of_the_place(tmp_path: Path) -> None:
    names = {"20260302_233000.wav": 3600, "20260304_020000.wav": 900.5}
    found = coverage_of(tmp_path, names, timezone="+02:00", window=60)
    assert (found["unit"], found["offset"]) == ("day", "+02:00")
    assert found["seconds"] == 4500.5
    days = {row["from"]: row for row in found["rows"]}
    assert [*days] == ["2026-03-02", "2026-03-03", "2026-03-04"]
    hours = {
        (day, hour): share
        for day, row in days.items()
        for hour, share in enumerate(row["hours"])
        if share
    }
    assert hours == {
        ("2026-03-02", 23): 0.5,
        ("2026-03-03", 0): 0.5,
        ("2026-03-04", 2): pytest.approx(0.25, abs=1e-3),
    }
    assert days["2026-03-03"]["share"] == 1800 / 86400


def test_what_overlaps_counts_once(tmp_path: Path) -> None:
    found = coverage_of(tmp_path, {"20260302_100000.wav": 60}, timezone="UTC", window=10, hop=2)
    assert found["seconds"] == pytest.approx(60, abs=10)
    assert found["seconds"] <= 60


def test_what_cannot_be_read_does_not_count(tmp_path: Path) -> None:
    samples = np.full(60 * RATE, 0.1)
    samples[:3000] = np.nan
    soundfile.write(tmp_path / "20260302_100000.wav", samples, RATE, subtype="FLOAT")
    out = tmp_path / "x.zarr"
    pl.extract(
        tmp_path / "20260302_100000.wav",
        out,
        pl.Waveform(),
        datetime="%Y%m%d_%H%M%S",
        timezone="UTC",
    )
    assert findings_of(out)["coverage"]["seconds"] == 30


def test_windows_without_a_time_are_told_of(tmp_path: Path) -> None:
    found = coverage_of(tmp_path, {"20260302_100000.wav": 5, "other.wav": 3}, timezone="UTC")
    assert (found["seconds"], found["undated"]) == (5, 3)


@given(
    st.lists(
        st.tuples(st.integers(0, 40 * 3600), st.floats(0.1, 3 * 3600)), min_size=1, max_size=20
    )
)
def test_all_that_is_recorded_is_in_some_hour(spans: list[tuple[int, float]]) -> None:
    starts, lengths, at = [], [], 0.0
    for gap, length in spans:  # which do not overlap
        starts.append(int(np.ceil(at)) + gap)
        lengths.append(length)
        at = starts[-1] + length
    hours, seconds = _by_hour(np.array(starts), np.array(lengths))
    assert seconds.sum() == pytest.approx(sum(lengths))
    rows = _rows(hours, seconds)["rows"]
    assert sum(row["seconds"] for row in rows) == pytest.approx(sum(lengths))
    begin = datetime.fromisoformat(rows[0]["from"]).replace(tzinfo=UTC)
    expected = np.zeros(len(rows) * 24)
    for start, length in zip(starts, lengths, strict=True):
        for hour in range(len(expected)):
            a = begin.timestamp() + 3600 * hour
            expected[hour] += max(0.0, min(start + length, a + 3600) - max(start, a))
    shares = np.array([row["hours"] for row in rows]).ravel()
    np.testing.assert_allclose(shares, expected / 3600, atol=1e-4)


@pytest.mark.parametrize(
    ("days", "unit", "first", "n"),
    [
        (3, "day", "2026-03-04", 3),
        (300, "week", "2026-03-02", 44),
        (2000, "month", "2026-03-01", 66),
        (20000, "year", "2026-01-01", 55),
    ],
)
def test_long_times_have_longer_units(days: int, unit: str, first: str, n: int) -> None:
    begin = int(datetime(2026, 3, 4, tzinfo=UTC).timestamp()) // 3600
    hours = np.array([begin + 5, begin + 24 * (days - 1)])
    found = _rows(hours, np.array([1800.0, 3600.0]))
    assert (found["unit"], found["rows"][0]["from"], len(found["rows"])) == (unit, first, n)
    last = datetime.fromisoformat(found["rows"][-1]["from"]).replace(tzinfo=UTC)
    assert last <= datetime(2026, 3, 4, tzinfo=UTC) + timedelta(days=days - 1)
    assert found["rows"][0]["seconds"] == 1800
    assert found["rows"][-1]["seconds"] == 3600


def test_times_are_local_with_their_offset() -> None:
    time = int(datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC).timestamp()) * 10**9
    assert local_iso(time, 7200) == "2026-03-04T07:06:07+02:00"
    assert local_iso(time, -34200) == "2026-03-03T19:36:07-09:30"
    assert local_iso(NAT, 0) is None
    assert [offset_text(o) for o in (0, 45, 50400)] == ["+00:00", "+00:00:45", "+14:00"]
