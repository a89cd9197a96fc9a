"""The grid covers every sample once, and is the same however it is cut."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.grid import Indices, Tail, Window, WindowGrid, count_windows


@dataclass(frozen=True)
class Lengths:
    n_samples: Indices
    samplerate: int = 10


lengths = st.lists(st.integers(0, 200), max_size=6).map(lambda n: Lengths(np.array(n, np.int64)))
seconds = st.integers(1, 40).map(lambda samples: samples / 10)
tails = st.sampled_from(["pad", "drop"])


def by_hand(n: int, window: int, hop: int, tail: Tail) -> list[tuple[int, int]]:
    """Windows of one recording, by walking along it."""
    found: list[tuple[int, int]] = []
    start = 0
    while start < n and (tail == "pad" or start + window <= n):
        found.append((start, min(start + window, n)))
        if start + window >= n:
            break
        start += hop
    return found


@given(lengths, seconds, seconds, tails)
def test_windows_are_those_found_by_walking(
    recordings: Lengths, window: float, hop: float, tail: Tail
) -> None:
    grid = WindowGrid(recordings, window, hop, tail)
    expected = [
        Window(i, start, stop)
        for i, n in enumerate(recordings.n_samples)
        for start, stop in by_hand(int(n), round(window * 10), round(hop * 10), tail)
    ]
    assert list(grid) == expected
    assert len(grid) == len(expected)


@given(lengths, seconds)
def test_windows_side_by_side_cover_every_sample_once(recordings: Lengths, window: float) -> None:
    seen = [np.zeros(n, int) for n in recordings.n_samples]
    for recording, start, stop in WindowGrid(recordings, window):
        seen[recording][start:stop] += 1
    assert all((counts == 1).all() for counts in seen)


@given(lengths, seconds, seconds, tails, st.data())
def test_a_slice_holds_the_same_windows(
    recordings: Lengths, window: float, hop: float, tail: Tail, data: st.DataObject
) -> None:
    grid = WindowGrid(recordings, window, hop, tail)
    windows = list(grid)
    a, b = (data.draw(st.integers(0, len(windows))) for _ in range(2))
    assert list(grid[a:b]) == windows[a:b]
    c = data.draw(st.integers(0, len(windows)))
    assert list(grid[a:b][c:]) == windows[a:b][c:]
    part, used = grid[a:b].detached()
    assert [Window(w.recording + used.start, w.start, w.stop) for w in part] == windows[a:b]
    touched = {w.recording for w in windows[a:b]}
    assert (used.stop - used.start) <= (max(touched) - min(touched) + 1 if touched else 0)


@given(lengths, seconds, seconds, tails, st.data())
def test_runs_hold_the_same_windows(
    recordings: Lengths, window: float, hop: float, tail: Tail, data: st.DataObject
) -> None:
    grid = WindowGrid(recordings, window, hop, tail)
    a, b = sorted(data.draw(st.integers(0, len(grid))) for _ in range(2))
    part = grid[a:b]
    found = [
        (recording, start + i * grid.hop_samples)
        for recording, start, count in part.runs()
        for i in range(count)
    ]
    assert found == [(w.recording, w.start) for w in part]


@pytest.mark.parametrize("n", [1, 7999, 8000, 8001, 16000, 479 * 8000 + 800])
def test_the_number_of_windows_is_the_article_s(n: int) -> None:
    assert count_windows(n, 8000, 8000) == int(np.ceil(n / 8000))


def test_locate_gives_recording_start_and_true_length() -> None:
    grid = WindowGrid(Lengths(np.array([25, 0, 30])))
    recording, start, n_samples = grid.locate()
    assert recording.tolist() == [0, 0, 0, 2, 2, 2]
    assert start.tolist() == [0, 10, 20, 0, 10, 20]
    assert n_samples.tolist() == [10, 10, 5, 10, 10, 10]
    assert grid[-1] == Window(2, 20, 30)


def test_a_grid_over_years_of_audio_takes_no_memory_a_window() -> None:
    grid = WindowGrid(Lengths(np.array([10**15])))
    assert len(grid) == 10**14
    assert grid[10**13] == Window(0, 10**14, 10**14 + 10)
    assert len(grid[10**13 : 10**13 + 64]) == 64


@pytest.mark.parametrize("value", [0.0, -1.0, 0.01, float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["window", "hop"])
def test_a_window_shorter_than_a_sample_is_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"{name} is .*at least one sample, 0.1 s at 10 Hz"):
        WindowGrid(Lengths(np.array([25])), **{name: value})


def test_windows_that_are_not_there_are_refused() -> None:
    grid = WindowGrid(Lengths(np.array([25])))
    with pytest.raises(IndexError, match="window 3 of a grid of 3 windows"):
        grid[3]
    with pytest.raises(ValueError, match="step 1, not 2"):
        grid[::2]
    with pytest.raises(ValueError, match="allowed are pad and drop"):
        WindowGrid(Lengths(np.array([25])), tail="keep")  # type: ignore[arg-type]
