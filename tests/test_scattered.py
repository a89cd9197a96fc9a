"""Windows in any order, read from files that stay open, have the bits of those in order."""

from __future__ import annotations

import os
import pickle
import resource
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
from conftest import Write, open_files, save_hdf5, save_npy, wait_until, write_sound
from hypothesis import given
from hypothesis import strategies as st

import pipeline as pl
from pipeline.features import bind
from pipeline.grid import WindowGrid
from pipeline.recordings import OpenFiles
from pipeline.recordings.recordings import Recordings
from pipeline.scattered import compute_at
from pipeline.windows import compute_windows

Array = npt.NDArray[Any]
RATE = 1000
MEL = pl.MelSpectrogram(n_mels=8, n_fft=128, hop_length=50, pad_mode="reflect")
FEATURES = {
    "spectrogram": pl.Spectrogram(n_fft=64, frame_length=20),
    "mel": MEL,
    "pcen": pl.PCEN(n_mels=8, n_fft=128, hop_length=50, time_constant=0.05),
    "waveform": pl.Waveform(),
}


def assert_as_in_order(
    recordings: Recordings, grid: WindowGrid, feature: pl.Feature, windows: Array, **options: Any
) -> npt.NDArray[np.bool_]:
    """Also those of a second time, when files are open; which windows could be read."""
    feature = bind(feature, grid.samplerate, grid.window_samples / grid.samplerate)
    expected, readable = compute_windows(recordings, grid, feature, **options)
    files = OpenFiles(recordings, 2)
    for _ in range(2):
        found, valid = compute_at(files, grid, feature, windows, **options)
        np.testing.assert_array_equal(found, expected[windows])
        np.testing.assert_array_equal(valid, readable[windows])
    files.close()
    return readable


def any_order(n: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).integers(0, n, 2 * n)


@given(
    n_samples=st.lists(st.integers(1, 3500), min_size=1, max_size=4),
    window=st.sampled_from([0.1, 0.5, 1.0]),
    hop=st.sampled_from([0.1, 0.25, 0.75, 1.0]),
    tail=st.sampled_from(["pad", "drop"]),
    used=st.sampled_from([(1, 0), (2, 1), (2, "mix")]),
    rate=st.sampled_from([RATE, 2 * RATE, 1500]),
    name=st.sampled_from(sorted(FEATURES)),
    data=st.data(),
)
def test_any_order_gives_the_bits_of_windows_in_order(
    tmp_path_factory: pytest.TempPathFactory,
    n_samples: list[int],
    window: float,
    hop: float,
    tail: Any,
    used: tuple[int, Any],
    rate: int,
    name: str,
    data: st.DataObject,
) -> None:
    folder, (channels, channel) = tmp_path_factory.mktemp("x"), used
    for i, n in enumerate(n_samples):
        noise = np.random.default_rng(i).uniform(-0.2, 0.2, (n, channels))
        soundfile.write(folder / f"{i}.wav", noise, RATE)
    recordings = pl.scan(folder, channel=channel, samplerate=rate)
    grid = WindowGrid(recordings, window, hop, tail)
    some: list[int] = []
    if len(grid):
        numbers = st.integers(0, len(grid) - 1)
        runs = st.tuples(numbers, numbers).map(lambda ends: [*range(min(ends), max(ends) + 1)])
        some = data.draw(st.lists(numbers, max_size=20) | st.lists(runs, max_size=3).map(sum_of))
    assert_as_in_order(recordings, grid, FEATURES[name], np.array(some, np.int64))


def sum_of(runs: list[list[int]]) -> list[int]:
    return [t for run in runs for t in run]


@pytest.mark.parametrize(
    ("name", "subtype"),
    [
        *(("x.wav", "PCM_16"), ("x.wav", "MS_ADPCM"), ("x.aiff", "PCM_24"), ("x.flac", "PCM_16")),
        *(("x.ogg", "VORBIS"), ("x.ogg", "OPUS"), ("x.mp3", "MPEG_LAYER_III")),
    ],
)
def test_all_formats_are_read_in_any_order(tmp_path: Path, name: str, subtype: str) -> None:
    recordings = pl.scan(write_sound(tmp_path, name, subtype, 16000, 2, 43.2))
    assert len(recordings.sequential()) == name.endswith(("ogg", "mp3"))
    grid = WindowGrid(recordings)
    assert_as_in_order(recordings, grid, pl.Waveform(), any_order(len(grid))[:20])
    two = np.array([40, 41, 42, 5, 6, 7])
    assert_as_in_order(recordings, grid, pl.Waveform(), two)


def test_arrays_are_read_in_any_order(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(-99, 99, (4321, 2), np.int16)
    paths = [save_npy(tmp_path / "x", noise), save_hdf5(tmp_path / "y", noise, RATE)]
    recordings = pl.scan(paths, samplerate=RATE)
    assert not len(recordings.sequential())
    grid = WindowGrid(recordings, 0.5)
    assert_as_in_order(recordings, grid, pl.Waveform(), any_order(len(grid)))


def test_values_are_written_once_as_they_are_stored(write_wav: Write) -> None:
    recordings = pl.scan(write_wav(seconds=9.5))
    grid = WindowGrid(recordings)
    assert_as_in_order(recordings, grid, pl.Spectrogram(), any_order(10), dtype=np.float16)
    feature = bind(pl.Spectrogram(), 8000, 1.0)
    for windows in (np.array([3, 1]), np.array([1, 2])):
        out = np.empty((2, *feature.shape), np.float32)
        assert compute_at(OpenFiles(recordings), grid, feature, windows, out=out)[0] is out
        np.testing.assert_array_equal(out, compute_windows(recordings, grid, feature)[0][windows])


@dataclass(frozen=True)
class Infinite:
    """A feature that gives what may not be stored."""

    frequencies = np.array([0.0])
    times = None
    shape = (1,)

    def __call__(self, windows: Array) -> Array:
        return np.full((len(windows), 1), np.inf)


def test_what_is_wrong_names_the_windows(write_wav: Write) -> None:
    recordings = pl.scan(write_wav(seconds=9.5))
    grid = WindowGrid(recordings)
    files = OpenFiles(recordings)
    with pytest.raises(ValueError, match="that is, in 2 windows from 3 to 7;"):
        compute_at(files, grid, Infinite(), np.array([7, 3]))
    for t in (-1, 10):
        with pytest.raises(IndexError, match=f"window {t} of a grid of 10 windows"):
            compute_at(files, grid, Infinite(), np.array([7, t]))


SHORTER = ("truncated_pcm16_stereo.wav", "truncated.ogg")  # by their headers, too
BROKEN = ("flipped_bytes.flac", "truncated.flac", "truncated.mp3", *SHORTER)


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("feature", [pl.Waveform(), pl.MelSpectrogram(n_mels=8)], ids=["", "mel"])
def test_damage_masks_the_same_windows(audio: Path, name: str, feature: pl.Feature) -> None:
    recordings = pl.scan(audio / "broken" / name, samplerate=8000)
    grid = WindowGrid(recordings)
    windows = any_order(len(grid))[:50]
    readable = assert_as_in_order(recordings, grid, feature, windows)
    assert name in SHORTER or not readable[windows].all()


def test_samples_that_are_not_finite_mask_the_windows_that_see_them(tmp_path: Path) -> None:
    samples = np.random.default_rng(0).uniform(-0.2, 0.2, 9000)
    samples[3010] = np.nan
    soundfile.write(tmp_path / "x.wav", samples, RATE, subtype="FLOAT")
    recordings = pl.scan(tmp_path)
    grid = WindowGrid(recordings, 1.0, 0.5)
    for name, feature in FEATURES.items():
        readable = assert_as_in_order(recordings, grid, feature, any_order(len(grid)))
        assert (~readable).sum() == {"pcen": 6, "mel": 3}.get(name, 2)


@pytest.fixture
def many(write_wav: Write) -> Recordings:
    return pl.scan([write_wav(f"{i}.wav", 2.5, RATE, seed=i) for i in range(40)])


@contextmanager
def no_more_files_than(n: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (n, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_files_stay_open_within_bounds(many: Recordings) -> None:
    grid, feature, before = WindowGrid(many), bind(pl.Waveform(), RATE, 1.0), open_files()
    windows = any_order(len(grid))
    expected = compute_windows(many, grid, feature)[0][windows]
    files = OpenFiles(many, 8)
    np.testing.assert_array_equal(compute_at(files, grid, feature, windows)[0], expected)
    assert open_files() == before + 8
    files.close()
    assert open_files() == before
    compute_at(files, grid, feature, windows)
    del files
    assert open_files() == before


def test_where_the_system_allows_no_more_files_others_are_closed(many: Recordings) -> None:
    grid, feature = WindowGrid(many), bind(pl.Waveform(), RATE, 1.0)
    windows = any_order(len(grid))
    expected = compute_windows(many, grid, feature)[0][windows]
    highest = max(map(int, os.listdir("/proc/self/fd")))
    files = OpenFiles(many, 99)
    with no_more_files_than(highest + 8):
        np.testing.assert_array_equal(compute_at(files, grid, feature, windows)[0], expected)
    with no_more_files_than(64):
        assert OpenFiles(many).most == 16


def test_threads_share_the_files(many: Recordings) -> None:
    grid, feature = WindowGrid(many), bind(pl.Waveform(), RATE, 1.0)
    expected = compute_windows(many, grid, feature)[0]
    files, before = OpenFiles(many, 8), open_files()

    def work(seed: int) -> bool:
        windows = any_order(len(grid), seed)
        return np.array_equal(compute_at(files, grid, feature, windows)[0], expected[windows])

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(20)))
    assert open_files() <= before + 8


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("name", ["x.wav", "x.flac", "x.ogg", "x.mp3"])
def test_a_forked_process_opens_its_own(tmp_path: Path, name: str) -> None:
    recordings = pl.scan(tone(tmp_path / name))
    grid, feature = WindowGrid(recordings), bind(pl.Waveform(), 8000, 1.0)
    files, windows = OpenFiles(recordings), any_order(len(grid))
    expected = compute_windows(recordings, grid, feature)[0][windows]

    def same() -> bool:
        return np.array_equal(compute_at(files, grid, feature, windows)[0], expected)

    assert same()
    pid = os.fork()
    if not pid:
        os._exit(41 if same() and same() else 1)
    assert same()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 41
    sent = pickle.loads(pickle.dumps(files))
    assert np.array_equal(compute_at(sent, grid, feature, windows)[0], expected)


def tone(path: Path) -> Path:
    soundfile.write(path, 0.5 * np.sin(np.arange(30 * 8000) ** 1.2 / 50), 8000)
    return path


@pytest.mark.parametrize("name", ["x.wav", "x.flac", "x.mp3"])
def test_a_file_that_changed_while_it_was_open_is_an_error(tmp_path: Path, name: str) -> None:
    recordings = pl.scan(tone(tmp_path / name))
    grid, feature, before = WindowGrid(recordings), bind(pl.Waveform(), 8000, 1.0), open_files()
    files, windows = OpenFiles(recordings), np.array([5, 2])
    compute_at(files, grid, feature, windows)
    status = (tmp_path / name).stat()
    os.utime(tmp_path / name, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    for _ in range(2):
        with pytest.raises(OSError, match=rf"{name}: it has changed since it was scanned"):
            compute_at(files, grid, feature, windows)
    (tmp_path / name).unlink()
    with pytest.raises(FileNotFoundError, match=name):
        compute_at(files, grid, feature, windows)
    assert name == "x.mp3" or wait_until(lambda: open_files() == before)


def test_lost_recordings_are_masked(write_wav: Write) -> None:
    items = [*pl.scan([write_wav(f"{i}.wav", 3.5, RATE, seed=i) for i in range(3)])]
    items[1] = replace(items[1], lost=True)
    Path(items[1].path).unlink()
    recordings = Recordings(items)
    grid = WindowGrid(recordings)
    readable = assert_as_in_order(recordings, grid, MEL, any_order(len(grid)))
    assert readable.tolist() == [True] * 4 + [False] * 4 + [True] * 4
