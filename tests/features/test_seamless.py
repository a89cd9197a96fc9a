"""Features see the recording around their windows, the same in every block, share and store."""

from __future__ import annotations

import dataclasses
import itertools
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
from conftest import SUFFIXES, Cli, Write, features_of, stored
from hypothesis import given, settings
from hypothesis import strategies as st

import pipeline as pl
from pipeline.features import bind
from pipeline.grid import WindowGrid
from pipeline.kernels import PadMode
from pipeline.kernels.padding import padded
from pipeline.windows import compute_windows

Array = npt.NDArray[Any]


@dataclasses.dataclass(frozen=True)
class Seen:
    """How many samples before and after each window are not silent, and where they end."""

    context: tuple[float, float] = (0.5, 0.25)
    samplerate: int | None = None
    shape = (4,)
    axes = (pl.Axis("number", np.arange(4)),)

    def __call__(self, windows: Array, inside: Array, n_samples: Array) -> Array:
        before, after = (round(seconds * (self.samplerate or 0)) for seconds in self.context)
        heard = windows != 0
        ends = [heard[:, :before].sum(axis=1), heard[:, windows.shape[1] - after :].sum(axis=1)]
        return np.stack([*ends, inside[:, 1] - inside[:, 0], n_samples], axis=1).astype(np.float32)


def lengths(tmp_path: Path, *samples: int) -> Path:
    tmp_path.mkdir(exist_ok=True)
    for i, n in enumerate(samples):
        noise = np.random.default_rng(i).uniform(0.1, 0.2, n)
        soundfile.write(tmp_path / f"{i}.wav", noise, 1000, subtype="FLOAT")
    return tmp_path


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_ones_own_feature_is_given_the_recording_around_each_window(
    tmp_path: Path, suffix: str
) -> None:
    source = lengths(tmp_path, 2600, 300, 1000)
    report = pl.extract(source, tmp_path / f"x{suffix}", Seen())
    assert report.ok
    expected = [
        [0, 250, 1250, 1000],  # the first window: nothing before it
        [500, 250, 1750, 1000],
        [500, 0, 1100, 600],  # the partial last one
        [0, 0, 300, 300],
        [0, 0, 1000, 1000],
    ]
    np.testing.assert_array_equal(features_of(tmp_path / f"x{suffix}"), expected)
    streamed = np.concatenate([X for X, _ in pl.stream(source, Seen(), batch_size=2)])
    np.testing.assert_array_equal(streamed, expected)


@pytest.mark.parametrize("context", [0.5, (0.5,), (0.5, -1), ("a", "b"), (0.1, float("nan"))])
def test_a_context_that_is_none_is_refused(write_wav: Write, tmp_path: Path, context: Any) -> None:
    with pytest.raises(
        ValueError, match=r"^Seen has the context .*; it must be two numbers, the se"
    ):
        pl.extract(write_wav(), tmp_path / "x.zarr", Seen(context))


MEL = pl.MelSpectrogram(n_mels=8, n_fft=128, hop_length=50, pad_mode="reflect")


@settings(max_examples=25)
@given(
    n_samples=st.lists(st.integers(1, 3500), min_size=1, max_size=4),
    window=st.sampled_from([0.1, 0.5, 1.0]),
    hop=st.sampled_from([0.1, 0.5, 0.75, 1.0]),
    cuts=st.lists(st.integers(0, 60), max_size=4),
    center=st.sampled_from([True, False, "hop"]),
    pad_mode=st.sampled_from(["constant", "reflect", "symmetric", "edge"]),
)
def test_blocks_make_no_difference(
    tmp_path_factory: pytest.TempPathFactory,
    n_samples: list[int],
    window: float,
    hop: float,
    cuts: list[int],
    center: Any,
    pad_mode: Any,
) -> None:
    source = lengths(tmp_path_factory.mktemp("x"), *n_samples)
    recordings = pl.scan(source)
    grid = WindowGrid(recordings, window, hop)
    feature = bind(dataclasses.replace(MEL, center=center, pad_mode=pad_mode), 1000, window)
    whole, valid = compute_windows(recordings, grid, feature)
    assert valid.all()
    edges = sorted({0, len(grid), *(cut for cut in cuts if cut < len(grid))})
    parts = [
        compute_windows(recordings, grid[a:b], feature)[0] for a, b in itertools.pairwise(edges)
    ]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


@settings(max_examples=25)
@given(
    n=st.integers(1, 40),
    extra=st.integers(0, 499),
    center=st.sampled_from([True, False, "hop"]),
    pad_mode=st.sampled_from(["constant", "reflect", "symmetric", "edge"]),
)
def test_columns_side_by_side_are_those_of_the_whole_recording(
    tmp_path_factory: pytest.TempPathFactory, n: int, extra: int, center: Any, pad_mode: Any
) -> None:
    recordings = pl.scan(lengths(tmp_path_factory.mktemp("x"), n * 500 + extra))
    feature = dataclasses.replace(MEL, center=center, pad_mode=pad_mode)
    found = []
    for window in (0.5, (n + 1) * 0.5):  # pieces, and all of it as one window
        X, _ = compute_windows(
            recordings, WindowGrid(recordings, window), bind(feature, 1000, window)
        )
        found.append(np.concatenate(X, axis=1))
    pieces, whole = found
    np.testing.assert_array_equal(pieces, whole[:, : pieces.shape[1]])
    # The frame at the very end of the recording, where it is a whole number of windows, is of none.
    beyond = whole[:, pieces.shape[1] + 1 :]
    assert (beyond == np.float32(feature.floor)).all()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_shares_streams_and_lazy_arrays_give_the_bits_of_one_job(
    cli: Cli, tmp_path: Path, suffix: str
) -> None:
    source = lengths(tmp_path / "audio", 1500, 90_400, 20_000)
    job = ["extract", source, "--feature", "melspectrogram", "--n-mels", "8", "--n-fft", "128"]
    job += ["--hop-length", "50", "--pad-mode", "reflect"]
    whole, shared = tmp_path / f"whole{suffix}", tmp_path / f"shared{suffix}"
    assert cli(*job, "--out", whole).code == 0
    for share in (2, 0, 1):
        assert cli(*job, "--out", shared, "--share", f"{share}/3").code == 0
    assert stored(shared) == stored(whole)
    expected = features_of(whole)
    streamed = np.concatenate([X for X, _ in pl.stream(source, MEL)])
    np.testing.assert_array_equal(streamed, expected)
    recordings = pl.scan(source)
    grid = WindowGrid(recordings)
    audio = pl.open_windows(recordings, grid, block=7, context=MEL)
    np.testing.assert_array_equal(pl.map_windows(MEL, audio, grid).compute(), expected)
    with pytest.raises(ValueError, match=r"pass what open_windows\(recordings, grid, context=feat"):
        pl.map_windows(MEL, pl.open_windows(recordings, grid), grid)


def test_what_cannot_be_read_masks_the_windows_that_see_it(tmp_path: Path) -> None:
    lengths(tmp_path, 6000)
    samples, _ = soundfile.read(tmp_path / "0.wav")
    samples[3010] = np.nan  # in window 3, and seen from window 2
    soundfile.write(tmp_path / "0.wav", samples, 1000, subtype="FLOAT")
    with pytest.warns(RuntimeWarning, match="sample 3010"):
        X = np.concatenate([X for X, _ in pl.stream(tmp_path, MEL)])
    masked = np.isclose(X, MEL.floor).all(axis=(1, 2))
    assert masked.tolist() == [False, False, True, True, False, False]


@pytest.mark.parametrize("mode", ["reflect", "symmetric", "edge"])
def test_padding_a_long_stretch_takes_little_more_than_the_stretch(mode: PadMode) -> None:
    rows = np.arange(1_000_000, dtype=np.float32)[None]
    tracemalloc.start()
    try:
        found = padded(rows, np.array([[300, 999_700]]), mode)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1.1 * rows.nbytes
    expected = np.pad(rows[0, 300:999_700], 300, mode=mode)
    np.testing.assert_array_equal(found[0], expected)
