"""Windows may be read with the samples of the recording before and after them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from pipeline.grid import WindowGrid
from pipeline.recordings import Recordings, read_windows, scan, why_unreadable

LENGTHS = 100, 8000, 33333, 8001, 1


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Recordings:
    folder = tmp_path_factory.mktemp("noise")
    rng = np.random.default_rng(4)
    for i, n in enumerate(LENGTHS):
        soundfile.write(folder / f"{i}.flac", rng.standard_normal(n) / 10, 8000)
    return scan(folder)


@given(
    before=st.integers(0, 20_000),
    after=st.integers(0, 20_000),
    hop=st.sampled_from([0.25, 1.0, 1.7, 3.1]),
    block=st.integers(1, 12),
)
def test_context_is_what_stands_beside_the_window_and_zeros_outside_the_recording(
    recordings: Recordings, before: int, after: int, hop: float, block: int
) -> None:
    grid = WindowGrid(recordings, 0.5, hop)
    read = [
        read_windows(recordings, grid[t : t + block], before, after)
        for t in range(0, len(grid), block)
    ]
    whole = [np.pad(soundfile.read(item.path, dtype="float32")[0], (before, after + 8000))
             for item in recordings]  # fmt: skip
    width = before + grid.window_samples + after
    expected = [whole[number][start : start + width] for number, start, _ in grid]
    assert np.array_equal(np.concatenate(read), np.stack(expected))


def test_a_window_whose_context_is_damaged_cannot_be_read(tmp_path: Path) -> None:
    samples = np.zeros(40_000, np.float32)
    samples[20_500] = np.nan
    soundfile.write(tmp_path / "a.wav", samples, 8000, "FLOAT")
    recordings = scan(tmp_path)
    grid = WindowGrid(recordings)
    alone = np.isnan(read_windows(recordings, grid)).all(axis=1)
    assert alone.tolist() == [False, False, True, False, False]
    behind = np.isnan(read_windows(recordings, grid, before=4000)).all(axis=1)
    assert behind.tolist() == [False, False, True, True, False]
    assert "sample 20500" in why_unreadable(recordings, grid, 3, before=4000)
    with pytest.raises(OSError, match="not always read alike"):
        why_unreadable(recordings, grid, 3)
