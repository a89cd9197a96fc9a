"""Windows are read lazily, each file once a block, and any block gives the same bits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask
import numpy as np
import numpy.typing as npt
import pytest
from conftest import Write
from hypothesis import given
from hypothesis import strategies as st

import pipeline.recordings
from pipeline import Spectrogram, WindowGrid, map_windows, open_windows, scan
from pipeline.readers import Reader
from pipeline.recordings import Recordings
from pipeline.windows import compute_features, read_windows, why_unreadable

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Energy:
    """A user's own feature, with one axis and no knowledge of ours."""

    frequencies = np.array([0.0])
    times = None
    shape = (1,)

    def __call__(self, windows: Array) -> Array:
        return (windows**2).mean(axis=1, keepdims=True)


@pytest.fixture
def recordings(write_wav: Write) -> Recordings:
    """Many short files, and a long one."""
    paths = [write_wav(f"{i}.wav", seconds=0.3 + 0.2 * i, seed=i) for i in range(5)]
    return scan([*paths, write_wav("long.wav", seconds=20.7, seed=9)])


def test_nothing_is_read_before_it_is_computed(recordings: Recordings) -> None:
    asked: list[int] = []

    def reader(recordings: Recordings, grid: WindowGrid) -> npt.NDArray[np.float32]:
        asked.append(len(grid))
        return np.ones((len(grid), grid.window_samples), np.float32)

    grid = WindowGrid(recordings)
    audio = open_windows(recordings, grid, block=8, reader=reader)
    X = map_windows(Spectrogram(), audio, grid)
    assert audio.shape == (len(grid), 8000)
    assert X.shape == (len(grid), 257, 400)
    assert audio.chunks[0] == X.chunks[0]
    assert asked == []
    X[3:5].compute(scheduler="synchronous")
    assert asked == [8]


def test_each_file_is_opened_once_a_block(
    recordings: Recordings, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: Counter[str] = Counter()
    true_open = pipeline.recordings.open_reader

    def counting(path: Path) -> Reader:
        opened[path.name] += 1
        return true_open(path)

    monkeypatch.setattr(pipeline.recordings, "open_reader", counting)
    grid = WindowGrid(recordings, 1.0, 0.25)
    blocks = -(-len(grid) // 16)
    audio = open_windows(recordings, grid, block=16)
    map_windows(Spectrogram(), audio, grid).compute(scheduler="synchronous")
    files_in_blocks = Counter(
        recordings[number].path.rsplit("/", 1)[1]
        for block in range(blocks)
        for number in {w.recording for w in grid[block * 16 : block * 16 + 16]}
    )
    assert opened == files_in_blocks


@given(block=st.integers(1, 40), hop=st.sampled_from([0.25, 1.0, 1.7]))
def test_any_block_gives_the_same_bits(block: int, hop: float) -> None:
    recordings = _NOISE["recordings"]
    grid = WindowGrid(recordings, 1.0, hop)
    whole = read_windows(recordings, grid)
    audio = open_windows(recordings, grid, block=block)
    with dask.config.set(scheduler="synchronous"):
        assert np.array_equal(audio.compute(), whole)
        X = map_windows(Spectrogram(n_fft=64), audio, grid).compute()
    feature = Spectrogram(n_fft=64)
    assert np.array_equal(X, compute_features(feature, whole, grid.locate()[2]))


_NOISE: dict[str, Recordings] = {}


@pytest.fixture(scope="module", autouse=True)
def _noise(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    import soundfile

    folder = tmp_path_factory.mktemp("noise")
    rng = np.random.default_rng(3)
    for i, n in enumerate([100, 8000, 33333, 8001, 1]):
        soundfile.write(folder / f"{i}.flac", rng.standard_normal(n) / 10, 8000)
    _NOISE["recordings"] = scan(folder)
    yield
    _NOISE.clear()


def test_windows_hold_the_samples_of_the_files(recordings: Recordings) -> None:
    grid = WindowGrid(recordings, 0.5, 0.2)
    block = read_windows(recordings, grid)
    for row, (number, start, stop) in zip(block, grid, strict=True):
        with recordings[number].open() as audio:
            expected = audio.read(start, stop)
        assert np.array_equal(row[: stop - start], expected)
        assert (row[stop - start :] == 0).all()


def test_a_feature_of_one_s_own_is_given_what_it_asks_for(recordings: Recordings) -> None:
    grid = WindowGrid(recordings)
    audio = open_windows(recordings, grid)
    X = map_windows(Energy(), audio, grid).compute()
    assert X.shape == (len(grid), 1)
    np.testing.assert_allclose(X, (audio.compute() ** 2).mean(axis=1, keepdims=True), rtol=1e-6)

    class Counted(Energy):
        def __call__(self, windows: Array, n_samples: Array | None = None) -> Array:
            assert n_samples is not None
            return n_samples[:, None].astype(np.float32)

    counted = map_windows(Counted(), audio, grid).compute()
    assert np.array_equal(counted[:, 0], grid.locate()[2])


def test_a_feature_may_not_give_another_shape_or_what_is_not_finite(
    recordings: Recordings,
) -> None:
    grid = WindowGrid(recordings)
    audio = open_windows(recordings, grid)

    class Wide(Energy):
        def __call__(self, windows: Array) -> Array:
            return windows[:, :2]

    class Infinite(Energy):
        def __call__(self, windows: Array) -> Array:
            return np.full((len(windows), 1), np.inf)

    for feature, message in ((Wide(), "its shape says"), (Infinite(), "not finite")):
        with pytest.raises(ValueError, match=message):
            map_windows(feature, audio, grid).compute(scheduler="synchronous")


def test_audio_and_grid_must_fit(recordings: Recordings) -> None:
    grid = WindowGrid(recordings)
    audio = open_windows(recordings, grid)
    with pytest.raises(ValueError, match="give the grid that audio was opened with"):
        map_windows(Spectrogram(), audio, grid[1:])
    with pytest.raises(ValueError, match="block is 0"):
        open_windows(recordings, grid, block=0)
    part = map_windows(Spectrogram(), audio[4:9], grid[4:9]).compute()
    assert np.array_equal(part, map_windows(Spectrogram(), audio, grid)[4:9].compute())


@pytest.mark.parametrize("block", [1, 7, 64])
def test_unreadable_windows_are_nan_in_audio_and_floor_in_features(audio: Path, block: int) -> None:
    recordings = scan(audio / "broken" / "flipped_bytes.flac")
    grid = WindowGrid(recordings)
    windows = open_windows(recordings, grid, block=block)
    read = windows.compute()
    bad = np.isnan(read).any(axis=1)
    assert np.array_equal(bad, np.isnan(read).all(axis=1))
    assert not bad[:7].any()
    assert bad[7]
    original = scan(audio / "hydrophone-8k-flac" / "67416073.210610034155.flac")
    good = read_windows(original, WindowGrid(original))
    assert np.array_equal(read[~bad], good[: len(read)][~bad])
    assert np.array_equal(np.flatnonzero(bad), _bad_one_by_one(recordings, grid))
    X = map_windows(Spectrogram(), windows, grid).compute()
    assert np.isfinite(X).all()
    assert (X[bad] == np.float32(Spectrogram().floor)).all()
    assert "flipped_bytes.flac: it cannot be read from sample 614" in why_unreadable(
        recordings, grid, 7
    )


def _bad_one_by_one(recordings: Recordings, grid: WindowGrid) -> list[int]:
    return [t for t in range(len(grid)) if np.isnan(_read_alone(recordings, grid, t)).any()]


def _read_alone(recordings: Recordings, grid: WindowGrid, t: int) -> npt.NDArray[np.float32]:
    part, used = grid[t : t + 1].detached()
    return read_windows(recordings[used], part)


def test_samples_that_are_not_finite_mask_their_window(tmp_path: Path) -> None:
    import soundfile

    samples = np.zeros(32000, np.float32)
    samples[9000], samples[25000] = np.nan, np.inf
    soundfile.write(tmp_path / "x.wav", samples, 8000, subtype="FLOAT")
    recordings = scan(tmp_path / "x.wav")
    read = read_windows(recordings, WindowGrid(recordings))
    assert np.isnan(read).all(axis=1).tolist() == [False, True, False, True]


def test_a_file_that_is_gone_is_an_error_not_a_mask(recordings: Recordings) -> None:
    Path(recordings[2].path).unlink()
    with pytest.raises(OSError, match=r"2\.wav: No such file"):
        read_windows(recordings, WindowGrid(recordings))


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_a_damaged_page_of_ogg_is_masked_and_shifts_nothing(tmp_path: Path, subtype: str) -> None:
    import soundfile

    rng = np.random.default_rng(0)
    path = tmp_path / "x.ogg"
    with soundfile.SoundFile(path, "w", 16000, 1, subtype, format="OGG") as file:
        for _ in range(90):
            file.write(rng.standard_normal(16000) / 10)
    recordings = scan(path)
    good = read_windows(recordings, WindowGrid(recordings))
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 4
    path.write_bytes(data)
    recordings = scan(path)
    grid = WindowGrid(recordings)
    whole = read_windows(recordings, grid)
    lost = np.isnan(whole).all(axis=1)
    assert 0 < lost.sum() < 20
    assert lost[29:32].any()
    assert np.array_equal(whole[~lost], good[~lost])
    for block in (1, 7, 32):
        blocks = open_windows(recordings, grid, block=block).compute(scheduler="synchronous")
        assert np.array_equal(blocks, whole, equal_nan=True)


def test_a_feature_s_axes_must_fit_its_shape(recordings: Recordings) -> None:
    class Wrong(Energy):
        frequencies = np.arange(7.0)

    class Bare(Energy):
        frequencies = None  # type: ignore[assignment]

    grid = WindowGrid(recordings)
    for feature in (Wrong(), Bare()):
        with pytest.raises(ValueError, match="must have one value for each place"):
            map_windows(feature, open_windows(recordings, grid), grid)


def test_overlapping_windows_of_mp3_are_decoded_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import soundfile

    import pipeline.readers

    samples = np.random.default_rng(0).standard_normal(90 * 16000) / 10
    soundfile.write(tmp_path / "x.mp3", samples, 16000)
    recordings = scan(tmp_path / "x.mp3")
    grid = WindowGrid(recordings, 1.0, 0.4)
    whole = read_windows(recordings, grid)
    opened = 0
    true_open = pipeline.readers._open_sequential

    def counting(path: Path) -> Any:
        nonlocal opened
        opened += 1
        return true_open(path)

    monkeypatch.setattr(pipeline.readers, "_open_sequential", counting)
    blocks = open_windows(recordings, grid, block=16).compute(scheduler="synchronous")
    assert np.array_equal(blocks, whole)
    assert opened <= 2
