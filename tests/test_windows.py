"""Windows are read lazily, each file once a block, and any block gives the same bits."""

from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import dask
import h5py
import numpy as np
import numpy.typing as npt
import pytest
import soundfile
from conftest import Sequential, Write
from hypothesis import given
from hypothesis import strategies as st

import pipeline.recordings.recording
from pipeline import Spectrogram, WindowGrid, map_windows, open_windows, scan
from pipeline.audio.readers import Reader
from pipeline.features import compute_features
from pipeline.recordings import read_windows, why_unreadable
from pipeline.recordings.recording import OpenRecording
from pipeline.recordings.recordings import Recordings

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
    true_open = pipeline.recordings.recording.open_reader

    def counting(path: Path) -> Reader:
        opened[path.name] += 1
        return true_open(path)

    monkeypatch.setattr(pipeline.recordings.recording, "open_reader", counting)
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


def test_a_feature_may_not_give_another_shape_or_what_is_not_finite(recordings: Recordings) -> None:
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
    with pytest.raises(
        ValueError, match="has 26 windows, of which Spectrogram needs 8000 samples each"
    ):
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
    samples = np.zeros(32000, np.float32)
    samples[9000], samples[25000] = np.nan, np.inf
    soundfile.write(tmp_path / "x.wav", samples, 8000, subtype="FLOAT")
    recordings = scan(tmp_path / "x.wav")
    read = read_windows(recordings, WindowGrid(recordings))
    assert np.isnan(read).all(axis=1).tolist() == [False, True, False, True]


def test_a_file_that_is_gone_is_an_error_not_a_mask(recordings: Recordings) -> None:
    Path(recordings[2].path).unlink()
    with pytest.raises(FileNotFoundError, match=r"2\.wav: No such file") as raised:
        read_windows(recordings, WindowGrid(recordings))
    assert raised.value.errno == errno.ENOENT


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_a_damaged_page_of_ogg_is_masked_and_shifts_nothing(tmp_path: Path, subtype: str) -> None:
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
    import pipeline.audio.sound_readers

    samples = np.random.default_rng(0).standard_normal(90 * 16000) / 10
    soundfile.write(tmp_path / "x.mp3", samples, 16000)
    recordings = scan(tmp_path / "x.mp3")
    grid = WindowGrid(recordings, 1.0, 0.4)
    whole = read_windows(recordings, grid)
    opened = 0
    true_open = pipeline.audio.sound_readers.open_sequential

    def counting(path: Path) -> Any:
        nonlocal opened
        opened += 1
        return true_open(path)

    monkeypatch.setattr(pipeline.audio.readers, "open_sequential", counting)
    blocks = open_windows(recordings, grid, block=16).compute(scheduler="synchronous")
    assert np.array_equal(blocks, whole)
    assert opened <= 2


def _read_in_order(path: Path) -> int:
    """Samples that libsndfile gives, from the first on."""
    n, piece = 0, np.empty((256, 2), np.float32)
    with Sequential(path) as file:
        try:
            while got := len(file.read(out=piece)):
                n += got
        except soundfile.LibsndfileError:
            pass
    return n


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, float, float]]:
    """Files of 12 s, and between which seconds each is damaged."""
    folder, found = tmp_path_factory.mktemp("damaged"), {}
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, (12 * 16000, 2))
    for suffix in ("wav", "flac", "mp3"):
        for percent in (35, 70):
            path = folder / f"{percent}.{suffix}"
            soundfile.write(path, samples, 16000)
            os.truncate(path, path.stat().st_size * percent // 100)
            found[path.name] = path, _read_in_order(path) / 16000, np.inf
    with h5py.File(folder / "x.h5", "w") as file:
        audio = file.create_dataset("audio", data=samples, chunks=(24000, 2), fletcher32=True)
        audio.attrs["sampling_rate"] = 16000
        place = audio.id.get_chunk_info(3).byte_offset + 1000
    data = bytearray((folder / "x.h5").read_bytes())
    data[place] ^= 1
    (folder / "x.h5").write_bytes(data)
    return {**found, "x.h5": (folder / "x.h5", 4.5, 6.0)}


@given(
    name=st.sampled_from(["35.wav", "35.flac", "70.flac", "35.mp3", "70.mp3", "x.h5"]),
    window=st.sampled_from([0.3, 1.0]),
    hop=st.sampled_from([0.21, 0.5, 1.0, 1.7]),
    samplerate=st.sampled_from([None, 8000, 11025]),
    channel=st.sampled_from([0, 1, "mix"]),
    tail=st.sampled_from(["pad", "drop"]),
    block=st.integers(1, 20),
)
def test_windows_of_damage_are_masked_and_those_before_and_behind_are_not(
    name: str,
    window: float,
    hop: float,
    samplerate: int | None,
    channel: Any,
    tail: Any,
    block: int,
    damaged: dict[str, tuple[Path, float, float]],
) -> None:
    path, first, last = damaged[name]
    recordings = scan(path, samplerate=samplerate, channel=channel)
    assert recordings.seconds == pytest.approx(12, abs=0.2)
    grid = WindowGrid(recordings, window, hop, tail)
    read = np.concatenate(
        [read_windows(recordings, grid[t : t + block]) for t in range(0, len(grid), block)]
    )
    masked = np.isnan(read).all(axis=1)
    assert np.array_equal(masked, np.isnan(read).any(axis=1))
    # A filter spreads the damage; the last frames of a cut MP3 may not be given.
    reach = 0.0 if samplerate is None else 0.1
    reach += 0.2 if path.suffix == ".mp3" else 0.0
    # An array gives nothing of a read that fails, and segments of 2 s are resampled.
    far = reach + 2.2 if path.suffix == ".h5" and samplerate is not None else reach
    _, start, n_samples = grid.locate()
    begin, end = start / grid.samplerate, (start + n_samples) / grid.samplerate
    assert not masked[(end <= first - far) | (begin >= last + far)].any()
    assert masked[(begin < last - reach) & (end > first + reach)].all()
    assert 0 < masked.sum() < len(masked)


class _Unreadable:
    """What a reader makes of an error of the disk."""

    def read(self, start: int, stop: int) -> npt.NDArray[np.float32]:
        return np.full((stop - start, 1), np.nan, np.float32)

    def close(self) -> None:
        pass


def test_an_error_of_the_system_is_raised_and_not_masked(
    recordings: Recordings, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = Path("/proc/self/mem")  # at its beginning there is nothing, which is an EIO
    if not memory.is_file():
        pytest.skip("this system has no file that gives an input/output error")
    monkeypatch.setattr(pipeline.recordings.recording, "open_reader", lambda _: _Unreadable())
    status = memory.stat()
    changed = {"size": status.st_size, "modified": status.st_mtime_ns, "location": str(memory)}
    failing = Recordings([replace(recordings[1], **changed)])
    for _ in range(2):  # it is not remembered
        with pytest.raises(OSError, match=r"1\.wav: Input/output error"):
            read_windows(failing, WindowGrid(failing))
        with pytest.raises(OSError, match=r"1\.wav: Input/output error"):
            why_unreadable(failing, WindowGrid(failing), 0)


@pytest.mark.parametrize("name", ["x.wav", "x.mp3", "x.h5"])
@pytest.mark.parametrize("samplerate", [None, 5000])
def test_an_error_that_passes_is_gone_when_it_is_read_again(
    name: str, samplerate: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, 8 * 16000)
    if name == "x.h5":
        with h5py.File(tmp_path / name, "w") as file:
            file["audio"] = samples
            file["audio"].attrs["sampling_rate"] = 16000
    else:
        soundfile.write(tmp_path / name, samples, 16000)
    recordings = scan(tmp_path / name, samplerate=samplerate)
    grid = WindowGrid(recordings)[1:5]
    expected = read_windows(recordings, grid)
    assert np.isfinite(expected).all()
    true_open, errors = pipeline.recordings.recording.open_reader, [_Unreadable()]

    def opened(path: Path) -> Reader:
        return errors.pop() if errors else true_open(path)

    monkeypatch.setattr(pipeline.recordings.recording, "open_reader", opened)
    assert np.array_equal(read_windows(recordings, grid), expected)
    assert not errors
    with pytest.raises(OSError, match=f"{name}: samples .* are not always read alike"):
        why_unreadable(recordings, grid, 2)


@pytest.mark.parametrize("hop", [0.5, 1.5])
@pytest.mark.parametrize("name", ["x.wav", "x.flac", "x.mp3"])
def test_a_file_that_is_cut_while_it_is_read_is_an_error_not_a_mask(
    name: str, hop: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / name
    # Longer than what waits in a pipe.
    soundfile.write(path, np.random.default_rng(0).uniform(-0.5, 0.5, 90 * 16000), 16000)
    recordings = scan(path)
    grid = WindowGrid(recordings, 1.0, hop)
    true_read, cut = OpenRecording.read, []

    def read(self: OpenRecording, start: int, stop: int) -> npt.NDArray[np.float32]:
        if not cut:
            true_read(self, 0, 10)
            os.truncate(path, path.stat().st_size // 3)
            cut.append(path)
        return true_read(self, start, stop)

    monkeypatch.setattr(OpenRecording, "read", read)
    with pytest.raises(OSError, match=f"{name}: it has changed since it was scanned"):
        read_windows(recordings, grid)
    assert cut


def test_a_damaged_file_is_read_through_once(
    damaged: dict[str, tuple[Path, float, float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for path, *_ in damaged.values():
        recordings = scan(path)
        grid = WindowGrid(recordings, 0.5)
        checks = pipeline.recordings.recording._read_through
        before, sizes = checks.cache_info().misses, []
        for t in range(len(grid)):
            if np.isnan(read_windows(recordings, grid[t : t + 1])).any():
                sizes.append(why_unreadable(recordings, grid, t))
        assert len(sizes) > 2
        assert checks.cache_info().misses <= before + 1
