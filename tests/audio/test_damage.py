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
from conftest import (
    Samples,
    decode,
    open_files,
    read,
    read_all,
    save_hdf5,
    sound,
    wait_until,
    write_sound,
)

from pipeline.audio.readers import open_reader, probe

GARBAGE = np.random.default_rng(0).bytes(9999)
MPEG_LIKE = {"zeros.mp3": b"\xff\xfb" + bytes(9999), "garbage.wav": b"\xff\xfb" + GARBAGE}


def cut_header_npy(path: Path) -> None:
    np.save(path, np.zeros(9000))
    os.truncate(path, 100)


def lie_npy(path: Path) -> None:
    np.save(path, np.zeros(9000))
    header = path.read_bytes()
    path.write_bytes(header.replace(b"(9000,), }      ", b"(9000000000,), }"))


def cut_columns_npy(path: Path) -> None:
    np.save(path, np.asfortranarray(np.zeros((900, 2))))
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
    "cube.h5": (lambda path: save_hdf5(path, np.zeros((9, 2, 2))), r"shape \(9, 2, 2\)"),
    "empty.npy": (Path.touch, "damaged, or not what its name says"),
    "empty.h5": (Path.touch, "signature"),
    "garbage.npy": (lambda path: path.write_bytes(GARBAGE), "damaged, or not what its name says"),
    "cut.npy": (cut_header_npy, "damaged, or not what its name says"),
    "lies.npy": (lie_npy, "announces the shape"),
    "columns.npy": (cut_columns_npy, "too few for the shape"),
    "raw.au": (lambda path: path.write_bytes(GARBAGE), "no header"),
    "fast.wav": (lambda path: soundfile.write(path, np.zeros(99), 20_000_000), "from 1 to"),
    "objects.npy": (lambda path: np.save(path, np.array([{}, None])), "[Oo]bject"),
    "many.npy": (make_npz, "damaged, or not what its name says"),
    "turned.npy": (lambda path: np.save(path, np.zeros((2, 9))), r"shape \(2, 9\); audio has"),
    "turned.h5": (lambda path: save_hdf5(path, np.zeros((2, 9))), r"shape \(2, 9\); audio has"),
    "row.h5": (lambda path: save_hdf5(path, np.zeros((1, 9))), r"shape \(1, 9\); audio has"),
    "noise.raw": (lambda path: path.write_bytes(GARBAGE), "no header"),
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
    ("truncated_pcm16_stereo.wav", "acoustic-scene/acoustic_scene.wav", 441_001, 174_989),
    ("truncated_pcm24_stereo.wav", "drums-48k-24bit-stereo/drums_long.wav", 1_152_000, 99_992),
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


# Every container that announces a length, and of which libsndfile says so.
ANNOUNCING = [
    *(("WAV", s) for s in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW")),
    *(("WAV", s) for s in ("ALAW", "IMA_ADPCM", "MS_ADPCM", "GSM610", "G721_32", "NMS_ADPCM_24")),
    *(("WAVEX", s) for s in ("PCM_16", "PCM_24", "FLOAT", "ULAW")),
    *(("RF64", s) for s in ("PCM_16", "PCM_24", "DOUBLE", "ALAW")),
    *(("W64", s) for s in ("PCM_16", "PCM_24", "FLOAT", "IMA_ADPCM", "MS_ADPCM", "GSM610")),
    *(("AIFF", s) for s in ("PCM_S8", "PCM_16", "PCM_24", "FLOAT", "ULAW", "IMA_ADPCM", "GSM610")),
    *(("AU", s) for s in ("PCM_16", "PCM_24", "DOUBLE", "ULAW", "G721_32", "G723_40")),
    *(("SVX", "PCM_16"), ("WVE", "ALAW"), ("AVR", "PCM_16"), ("MPC2K", "PCM_16")),
    *(("MAT4", "PCM_16"), ("MAT5", "FLOAT"), ("NIST", "PCM_24"), ("SDS", "PCM_16")),
    *(("FLAC", "PCM_16"), ("FLAC", "PCM_24"), ("MP3", "MPEG_LAYER_III")),
]


@pytest.mark.parametrize("part", [0.3, 0.6, 0.95])
@pytest.mark.parametrize(("kind", "subtype"), ANNOUNCING)
def test_a_cut_file_is_as_long_as_its_header_says_and_nan_where_nothing_is(
    kind: str, subtype: str, part: float, tmp_path: Path
) -> None:
    path = tmp_path / "x.sound"
    rate = 16000 if kind == "MP3" else 8000
    soundfile.write(path, sound(3.01, rate, 1), rate, subtype, format=kind)
    whole = read_all(path)
    os.truncate(path, int(path.stat().st_size * part))
    assert probe(path).n_samples == len(whole)
    rest = read_all(path)
    n = int(np.argmax(np.isnan(rest)))
    assert 0.4 * part * len(whole) < n < (part + 0.05) * len(whole)
    np.testing.assert_array_equal(rest[:n], whole[:n])
    assert np.isnan(rest[n:]).all()
    for start in (0, n - 900, n - 100, n, len(whole) - 500):
        np.testing.assert_array_equal(read(path, start, start + 500), rest[start : start + 500])


@pytest.mark.parametrize(
    "size", [0xFFFFFFFF, 0xFFFFFFDB, 0x7FFFF000, 0x7FFFFFFF, 0x7F000000, 0x80000000, 0x80000024]
)
@pytest.mark.parametrize("subtype", ["PCM_16", "IMA_ADPCM"])
def test_a_stream_whose_writer_did_not_know_its_length_is_as_long_as_it_is(
    size: int, subtype: str, tmp_path: Path
) -> None:
    path = tmp_path / "x.wav"
    soundfile.write(path, sound(2, 8000, 1), 8000, subtype)
    whole, data = read_all(path), bytearray(path.read_bytes())
    place = data.index(b"data") + 4
    data[4:8] = data[place : place + 4] = size.to_bytes(4, "little")
    path.write_bytes(data)
    np.testing.assert_array_equal(read_all(path), whole)


def test_a_length_that_nobody_recorded_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "x.w64"
    soundfile.write(path, sound(2, 8000, 1), 8000, "PCM_16", format="W64")
    data = bytearray(path.read_bytes())
    place = data.index(b"data\xf3") + 16
    data[16:24] = data[place : place + 8] = (1 << 42).to_bytes(8, "little")
    path.write_bytes(data)
    with pytest.raises(OSError, match="announces 4398046511104 bytes, but it has 32104 bytes; cor"):
        probe(path)


@pytest.mark.parametrize("shape", [(9000,), (3000, 3)])
def test_a_cut_array_has_the_shape_of_its_header(shape: tuple[int, ...], tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    np.save(path, np.arange(1, 9001, dtype=np.float32).reshape(shape))
    whole = read_all_npy(path)
    os.truncate(path, 128 + 5000)
    rest, n = read_all_npy(path), 5000 // (36000 // shape[0])
    assert rest.shape == whole.shape
    np.testing.assert_array_equal(rest[:n], whole[:n])
    assert np.isnan(rest[n:]).all()


def read_all_npy(path: Path) -> Samples:
    return read(path, 0, probe(path, samplerate=8000).n_samples)


def test_a_damaged_frame_of_flac_is_nan_and_never_zeros(tmp_path: Path) -> None:
    path = tmp_path / "x.flac"
    soundfile.write(path, sound(5, 8000, 1), 8000)
    whole, data = read_all(path), path.read_bytes()
    for place in range(200, len(data), len(data) // 40):
        path.write_bytes(data[:place] + bytes([data[place] ^ 8]) + data[place + 1 :])
        for start in (0, 12_000, 28_000):
            rest = read(path, start, 40_000)
            good = ~np.isnan(rest)
            np.testing.assert_array_equal(rest[good], whole[start:][good])


@pytest.mark.parametrize(("name", "subtype"), [("x.ogg", "VORBIS"), ("x.opus", "OPUS")])
def test_a_damaged_page_of_ogg_shifts_nothing(name: str, subtype: str, tmp_path: Path) -> None:
    path = write_sound(tmp_path, name, subtype, 16000, 1, 40)
    whole, data = read_all(path), path.read_bytes()
    pages = [i for i in range(len(data)) if data[i : i + 4] == b"OggS"]
    for page in pages[2:-1:3]:
        path.write_bytes(data[: page + 60] + bytes([data[page + 60] ^ 8]) + data[page + 61 :])
        assert probe(path).n_samples == len(whole)
        rest = read_all(path)
        good = ~np.isnan(rest)
        np.testing.assert_array_equal(rest[good], whole[good])


def test_mpeg_is_nan_behind_damage_that_its_decoder_leaves_out(tmp_path: Path) -> None:
    path = write_sound(tmp_path, "x.mp3", "MPEG_LAYER_III", 16000, 1, 12)
    whole, data = read_all(path), path.read_bytes()
    middle = len(data) // 2
    path.write_bytes(data[:middle] + GARBAGE[:6000].replace(b"\xff", b"\0") + data[middle:])
    rest = read_all(path)
    good = int(np.argmax(np.isnan(rest)))
    assert 0.4 * len(whole) < good < 0.55 * len(whole)
    assert np.isnan(rest[good:]).all()
    reader = open_reader(path)
    for start in range(0, len(whole), 7000):
        part = reader.read(start, min(start + 7000, len(whole)))
        np.testing.assert_array_equal(part, rest[start : start + 7000])
