"""Broken files, and what is no audio: NaN or a reason, and nothing else is harmed."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pytest
import soundfile
from conftest import decode, open_files, read, read_all, save_hdf5, wait_until

from pipeline.readers import open_reader, probe

GARBAGE = np.random.default_rng(0).bytes(9999)
MPEG_LIKE = {"zeros.mp3": b"\xff\xfb" + bytes(9999), "garbage.wav": b"\xff\xfb" + GARBAGE}


def cut_npy(path: Path) -> None:
    np.save(path, np.zeros(9000))
    os.truncate(path, 5000)


def make_npz(path: Path) -> None:
    with open(path, "wb") as file:
        np.savez(file, audio=np.zeros(9))


def make_group(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_group("audio").attrs["sampling_rate"] = 8000


NO_AUDIO: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing.wav": (lambda path: None, "does not exist"),
    "missing.mp3": (lambda path: None, "does not exist"),
    "missing.npy": (lambda path: None, "does not exist"),
    "folder.wav": (Path.mkdir, "."),
    **{
        name: (lambda path, data=data: path.write_bytes(data), "^libsndfile: .+")
        for name, data in MPEG_LIKE.items()
    },
    "text.mp3": (lambda path: path.write_bytes(b"text" * 9999), "."),
    "none.wav": (lambda path: soundfile.write(path, np.zeros(0), 8000), "holds no samples"),
    "none.npy": (lambda path: np.save(path, np.zeros((0, 2))), "holds no samples"),
    "none.h5": (lambda path: save_hdf5(path, np.zeros((9, 0))), "holds no samples"),
    "labels.npy": (lambda path: np.save(path, np.zeros(9, np.int64)), "dtype int64; audio has"),
    "cube.npy": (lambda path: np.save(path, np.zeros((9, 2, 2))), r"shape \(9, 2, 2\)"),
    "cube.h5": (lambda path: save_hdf5(path, np.zeros((9, 2, 2))), r"shape \(0, 2, 2\)"),
    "empty.npy": (Path.touch, "No data left"),
    "empty.h5": (Path.touch, "signature"),
    "garbage.npy": (lambda path: path.write_bytes(GARBAGE), "damaged, or not what its name says"),
    "cut.npy": (cut_npy, "damaged, or not what its name says"),
    "objects.npy": (lambda path: np.save(path, np.array([{}, None])), "[Oo]bject"),
    "many.npy": (make_npz, "damaged, or not what its name says"),
    "group.h5": (make_group, "damaged, or not what its name says"),
    "scalar.h5": (lambda path: save_hdf5(path, np.array(1.5)), "shape|not what its name says"),
    "words.h5": (lambda path: save_hdf5(path, np.zeros(9), rate="abc"), "abc"),
    "nan.h5": (lambda path: save_hdf5(path, np.zeros(9), rate=np.nan), "is nan; it must be one"),
    "half.h5": (lambda path: save_hdf5(path, np.zeros(9), rate=44100.5), "44100.5; it must be one"),
    "bare.h5": (lambda path: h5py.File(path, "w").close(), "no dataset 'audio'"),
    "no.h5": (lambda path: save_hdf5(path, np.zeros(9), rate=None), "no attribute 'sampling_rate'"),
    "low.h5": (
        lambda path: save_hdf5(path, np.zeros(9), rate=0),
        "is 0.*; it must be one whole number",
    ),
    "two.h5": (
        lambda path: save_hdf5(path, np.zeros(9), rate=[8, 9]),
        "it must be one whole number",
    ),
}


@pytest.mark.parametrize("name", NO_AUDIO)
def test_what_is_no_audio_is_an_os_error_with_its_reason(name: str, tmp_path: Path) -> None:
    make, reason = NO_AUDIO[name]
    make(tmp_path / name)
    before = open_files()
    for _ in range(3):
        with pytest.raises(OSError, match=reason):
            probe(tmp_path / name, samplerate=8000)
    assert wait_until(lambda: open_files() <= before)


def test_a_missing_mp3_leaves_no_thread_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed: list[object] = []
    monkeypatch.setattr(threading, "excepthook", failed.append)
    before = threading.active_count()
    for _ in range(9):
        with pytest.raises(FileNotFoundError, match="does not exist"):
            probe(tmp_path / "missing.mp3")
        with pytest.raises(FileNotFoundError, match="does not exist"):
            open_reader(tmp_path / "missing.mp3")
    assert wait_until(lambda: threading.active_count() <= before)
    assert failed == []


def test_files_that_cannot_be_opened_never_close_what_other_threads_opened(tmp_path: Path) -> None:
    for name, data in MPEG_LIKE.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "own").touch()
    inode, ended, lost = (tmp_path / "own").stat().st_ino, threading.Event(), []

    def hold_files() -> None:
        while not ended.is_set():
            handles = [os.open(tmp_path / "own", os.O_RDONLY) for _ in range(8)]
            for handle in handles:
                try:
                    if os.fstat(handle).st_ino != inode:
                        lost.append("another thread's file took its place")
                    else:
                        os.close(handle)
                except OSError as error:
                    lost.append(str(error))

    def fail(number: int) -> str:
        with pytest.raises(OSError, match=r"^libsndfile: ") as error:
            probe(tmp_path / [*MPEG_LIKE][number % 2])
        return str(error.value)

    before = open_files()
    with ThreadPoolExecutor(8) as pool:
        holding = [pool.submit(hold_files) for _ in range(2)]
        reasons = list(pool.map(fail, range(200)))
        ended.set()
        for future in holding:
            future.result()
    assert lost == []
    assert all(len(reason) > len("libsndfile: ") for reason in reasons)
    assert wait_until(lambda: open_files() <= before)


DAMAGED = [  # name, made from, samples announced, first sample that cannot be read
    ("truncated.flac", "hydrophone-8k-flac/67416073.210610033655.flac", 2_400_137, 303_104),
    ("flipped_bytes.flac", "hydrophone-8k-flac/67416073.210610034155.flac", 2_400_292, 61_440),
    ("truncated.mp3", "speech-music-mp3/musanmix.mp3", 1_192_367, 530_543),
    ("truncated.ogg", "scenes-stereo-ogg/wind.ogg", 264_896, 264_896),
    ("truncated_pcm16_stereo.wav", "acoustic-scene/acoustic_scene.wav", 174_989, 174_989),
    ("truncated_pcm24_stereo.wav", "drums-48k-24bit-stereo/drums_long.wav", 99_992, 99_992),
]


@pytest.mark.parametrize(("name", "original", "n_samples", "good"), DAMAGED)
def test_damage_is_nan_and_what_is_before_it_is_the_original(
    name: str, original: str, n_samples: int, good: int, audio: Path
) -> None:
    path, expected = audio / "broken" / name, decode(audio / original)[:n_samples]
    assert probe(path).n_samples == n_samples
    whole = read_all(path)
    np.testing.assert_array_equal(whole[:good], expected[:good])
    assert np.isnan(whole[good:]).all()
    last = read(path, good - 1000, good)
    np.testing.assert_array_equal(last, expected[good - 1000 : good])
    reader = open_reader(path)  # one that goes on after damage must not be out of step
    for start in range(0, n_samples, 40_000):
        samples = reader.read(start, min(n_samples, start + 40_000))
        read_well = ~np.isnan(samples)
        original_samples = expected[start : start + 40_000]
        np.testing.assert_array_equal(samples[read_well], original_samples[read_well])


def test_a_fresh_reader_reads_on_behind_a_damaged_place(audio: Path) -> None:
    expected = decode(audio / DAMAGED[1][1])
    for second in (20, 9, 23, 12):
        part = slice(second * 8000, (second + 1) * 8000)
        samples = read(audio / "broken" / "flipped_bytes.flac", part.start, part.stop)
        np.testing.assert_array_equal(samples, expected[part])
