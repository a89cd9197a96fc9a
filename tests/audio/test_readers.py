"""Reading: the same bits wherever a read begins, and NaN behind the end."""

from __future__ import annotations

import csv
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from conftest import (
    Samples,
    decode,
    mp3_frames,
    open_files,
    read,
    read_all,
    save_hdf5,
    save_npy,
    sound,
    wait_until,
    write_sound,
)

from pipeline.audio.readers import open_reader, probe, suffixes

# name, subtype, Hz, channels, seconds
LOSSLESS = [
    *(("x.wav", s, 8000, 1, 5) for s in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32")),
    *(("x.wav", s, 11025, 2, 3) for s in ("PCM_16", "PCM_24", "FLOAT", "DOUBLE", "ULAW")),
    ("x.WAV", "PCM_16", 8000, 6, 3),
    ("x.aiff", "PCM_16", 22050, 2, 4),
    ("x.flac", "PCM_16", 16000, 1, 30),
    ("x.flac", "PCM_24", 48000, 2, 8),
]
LOSSY = [
    ("x.wav", "IMA_ADPCM", 8000, 1, 6),
    ("x.wav", "IMA_ADPCM", 16000, 2, 6),
    ("x.ogg", "VORBIS", 8000, 1, 40),
    ("x.ogg", "VORBIS", 44100, 2, 30),
    ("x.opus", "OPUS", 16000, 1, 40),
    ("x.opus", "OPUS", 48000, 2, 45),
    # The lower two rates make MPEG-2, the higher two MPEG-1.
    *(("x.mp3", "MPEG_LAYER_III", *c) for c in ((16000, 1, 40), (22050, 2, 20))),
    *(("x.mp3", "MPEG_LAYER_III", *c) for c in ((44100, 1, 20), (48000, 2, 20))),
]


def assert_blocks_equal(path: Path, whole: Samples, count: int = 8) -> None:
    """Blocks of one and of several seconds, in random order, each by a fresh reader."""
    rate = probe(path).samplerate
    rng = np.random.default_rng(1)
    starts = rng.permutation(np.arange(0, len(whole), rate))[: count - 2].tolist()
    starts += [max(0, len(whole) - rate // 3), int(rng.integers(len(whole)))]
    for i, start in enumerate(starts):
        stop = min(len(whole), start + (1, 1, 5)[i % 3] * rate)
        np.testing.assert_array_equal(read(path, start, stop), whole[start:stop])


@pytest.mark.parametrize("case", [*LOSSLESS, *LOSSY], ids=lambda c: "-".join(map(str, c)))
def test_blocks_equal_the_whole_file_bit_for_bit(case: Any, tmp_path: Path) -> None:
    path = write_sound(tmp_path, *case)
    _, _, rate, channels, seconds = case
    header = probe(path)
    whole = read_all(path)
    assert (header.samplerate, header.channels) == (rate, channels)
    np.testing.assert_array_equal(whole, decode(path))
    if case in LOSSLESS:
        expected = soundfile.read(path, dtype="float32", always_2d=True)[0]
        assert header.n_samples == seconds * rate
        np.testing.assert_array_equal(whole, expected)
    assert_blocks_equal(path, whole, count=16 if "OPUS" in case else 8)


def test_blocks_of_real_recordings_equal_the_whole_file(audio: Path) -> None:
    with open(audio / "manifest.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if not row["path"].startswith("broken")]
    rows.sort(key=lambda row: int(row["bytes"]))  # the largest Ogg and MP3 files are sought in
    one_of_each = {(row["format"], row["subtype"], row["samplerate"]): row for row in rows}
    assert len(one_of_each) > 10
    for row in one_of_each.values():
        whole = read_all(audio / row["path"])
        assert whole.shape == (int(row["decoded_frames"]), int(row["channels"]))
        np.testing.assert_array_equal(whole, decode(audio / row["path"]))
        assert_blocks_equal(audio / row["path"], whole, count=5)


@pytest.mark.parametrize("case", [LOSSLESS[1], LOSSLESS[11], LOSSY[2], LOSSY[4], LOSSY[6]])
def test_one_reader_reads_forwards_over_gaps_and_nan_behind_the_end(
    case: Any, tmp_path: Path
) -> None:
    path = write_sound(tmp_path, *case)
    whole, reader = decode(path), open_reader(path)
    n = len(whole)
    for start, stop in ((0, 10), (10, 5000), (5000, 5001), (n // 2, n // 2 + 9000), (n - 50, n)):
        np.testing.assert_array_equal(reader.read(start, stop), whole[start:stop])
    reader.close()
    samples = read(path, n - 100, n + 100)
    np.testing.assert_array_equal(samples[:100], whole[-100:])
    assert np.isnan(samples[100:]).all()


@pytest.mark.parametrize("name", ["x.wav", "x.flac", "x.ogg", "x.mp3"])
def test_very_short_files_are_whole(name: str, tmp_path: Path) -> None:
    for n_samples in (1, 2, 577):
        soundfile.write(tmp_path / name, np.full(n_samples, 0.5), 8000)
        assert probe(tmp_path / name).n_samples == n_samples
        np.testing.assert_array_equal(read_all(tmp_path / name), decode(tmp_path / name))


@pytest.mark.parametrize("name", ["bare.mp3", "bare.wav"])
@pytest.mark.parametrize(("rate", "channels", "frame"), [(44100, 2, 1152), (16000, 1, 576)])
def test_mp3_without_info_header_has_its_true_length_whatever_its_name(
    name: str, rate: int, channels: int, frame: int, tmp_path: Path
) -> None:
    full = write_sound(tmp_path, "x.mp3", "MPEG_LAYER_III", rate, channels, 20)
    bare, data = tmp_path / name, full.read_bytes()
    places = mp3_frames(data)
    header = max(data.find(tag, 0, places[1]) for tag in (b"Xing", b"Info"))
    delay = (data[header + 141] << 4 | data[header + 142] >> 4) + 529  # of encoder and decoder
    bare.write_bytes(data[places[1] :])
    assert probe(full).n_samples == 20 * rate
    assert probe(bare).n_samples == (len(places) - 2) * frame
    whole = read_all(bare)
    assert not np.isnan(whole).any()
    np.testing.assert_array_equal(whole[delay:][: 20 * rate], read_all(full))
    assert_blocks_equal(bare, whole)


@pytest.mark.parametrize(
    ("case", "name"), [(LOSSY[6], "x.wav"), (LOSSLESS[1], "x.mp3"), (LOSSLESS[5], "x.MP3")], ids=str
)
def test_a_file_under_another_format_s_name_is_read_exactly(
    case: Any, name: str, tmp_path: Path
) -> None:
    true_name = write_sound(tmp_path, "true-" + case[0], *case[1:])
    shutil.copy(true_name, tmp_path / name)
    assert probe(tmp_path / name) == probe(true_name)
    whole = read_all(tmp_path / name)
    assert len(whole) == case[-1] * case[2]
    np.testing.assert_array_equal(whole, decode(true_name))
    assert_blocks_equal(tmp_path / name, whole)


@pytest.mark.parametrize("size", [100, 70_000, 200_000])
@pytest.mark.parametrize("info_header", [True, False])
def test_an_id3_tag_in_front_changes_neither_length_nor_samples(
    size: int, info_header: bool, tmp_path: Path
) -> None:
    data = write_sound(tmp_path, "x.mp3", "MPEG_LAYER_III", 16000, 1, 12).read_bytes()
    data = data if info_header else data[mp3_frames(data)[1] :]
    plain, tagged = tmp_path / "plain.mp3", tmp_path / "tagged.mp3"
    plain.write_bytes(data)
    synchsafe = bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))
    payload = np.random.default_rng(size).bytes(size)  # as a picture: it has false sync words
    tagged.write_bytes(b"ID3\x03\x00\x00" + synchsafe + payload + data)
    assert probe(tagged) == probe(plain)
    whole = read_all(plain)
    assert len(whole) >= 12 * 16000
    assert not np.isnan(whole).any()
    np.testing.assert_array_equal(read_all(tagged), whole)
    assert_blocks_equal(tagged, whole, count=4)


def test_a_thread_reads_two_mp3_files_by_turns_and_backwards(tmp_path: Path) -> None:
    one = write_sound(tmp_path, "one.mp3", "MPEG_LAYER_III", 16000, 1, 12)
    two = write_sound(tmp_path, "two.mp3", "MPEG_LAYER_III", 22050, 2, 12)
    wholes = {one: decode(one), two: decode(two)}
    for second in (0, 1, 2, 9, 8, 7, 3):
        for path, whole in wholes.items():
            part = slice(second * 16000, (second + 1) * 16000)
            np.testing.assert_array_equal(read(path, part.start, part.stop), whole[part])
    reader = open_reader(one)
    for start in (100_000, 50_000, 50_000, 0):
        np.testing.assert_array_equal(reader.read(start, start + 7), wholes[one][start:][:7])


def test_threads_read_one_mp3_file_at_once(tmp_path: Path) -> None:
    path = write_sound(tmp_path, "x.mp3", "MPEG_LAYER_III", 16000, 1, 12)
    seconds = [4, 9, 0, 7, 11, 2, 8, 1, 10, 3, 6, 5]
    with ThreadPoolExecutor(4) as pool:
        parts = pool.map(lambda second: read(path, second * 16000, (second + 1) * 16000), seconds)
    np.testing.assert_array_equal(list(parts), decode(path).reshape(12, 16000, 1)[seconds])


def test_an_mp3_file_that_is_replaced_is_opened_anew(tmp_path: Path) -> None:
    path = write_sound(tmp_path, "x.mp3", "MPEG_LAYER_III", 16000, 1, 12)
    read(path, 0, 16000)
    soundfile.write(path, np.random.default_rng(0).uniform(-0.5, 0.5, 90_000), 16000)
    np.testing.assert_array_equal(read(path, 16000, 90_000), decode(path)[16000:])


@pytest.mark.parametrize("save", [save_npy, save_hdf5])
@pytest.mark.parametrize("dtype", ["int16", ">i2", "int32", "float32", "float64"])
@pytest.mark.parametrize("shape", [(2000,), (2000, 1), (2000, 3)])
def test_arrays_are_read_and_whole_numbers_scaled(
    save: Callable[..., Path], dtype: str, shape: tuple[int, ...], tmp_path: Path
) -> None:
    values = np.random.default_rng(0).standard_normal(shape)
    scale = {"int16": 2**15, ">i2": 2**15, "int32": 2**31}.get(dtype, 1)
    values = (values.clip(-4, 4) / 4 * (scale - 1)).astype(dtype)
    path = save(tmp_path / "x", values)
    header = probe(path, samplerate=250)
    expected = (values.reshape(2000, -1) / scale).astype(np.float32)
    assert (header.samplerate, header.n_samples, header.channels) == (250, *expected.shape)
    for start, stop in ((0, 2000), (1500, 1750), (250, 500), (1999, 2000)):
        part = read(path, start, stop)
        assert part.dtype == np.float32
        np.testing.assert_array_equal(part, expected[start:stop])
    beyond = read(path, 1990, 2010)
    np.testing.assert_array_equal(beyond[:10], expected[1990:])
    assert np.isnan(beyond[10:]).all()


def test_close_gives_the_file_back(tmp_path: Path) -> None:
    paths = [save(tmp_path / "x", np.zeros(9000, np.int16)) for save in (save_npy, save_hdf5)]
    for name in ("x.wav", "x.flac", "x.ogg"):
        paths.append(tmp_path / name)
        soundfile.write(paths[-1], sound(2, 8000, 1), 8000)
    for path in paths:
        probe(path, samplerate=8000)
        before, readers = open_files(), []  # that are still referred to when files are counted
        for _ in range(5):
            readers.append(open_reader(path))
            assert readers[-1].read(100, 9000).shape == (8900, 1)
            readers[-1].close()
        assert open_files() == before


def test_at_most_one_mp3_file_stays_open_in_a_thread(tmp_path: Path) -> None:
    first = write_sound(tmp_path, "0.mp3", "MPEG_LAYER_III", 16000, 1, 60)  # more than a pipe holds
    paths = [shutil.copy(first, tmp_path / f"{i}.mp3") for i in range(1, 9)]
    before, threads = open_files(), threading.active_count()

    def read_each() -> None:
        for path in paths:
            assert probe(path).n_samples == 60 * 16000
            read(path, 0, 10)
        assert wait_until(lambda: open_files() <= before + 3)  # a pipe, and what feeds it

    with ThreadPoolExecutor(1) as pool:
        pool.submit(read_each).result()
    assert wait_until(lambda: open_files() <= before)
    assert wait_until(lambda: threading.active_count() <= threads)


def test_suffixes_are_those_that_a_reader_is_for() -> None:
    assert {".wav", ".flac", ".ogg", ".opus", ".mp3", ".aiff", ".aif", ".npy", ".h5"} <= suffixes()
    assert not suffixes() & {".zarr", ".csv", ".txt", ".raw", ".png"}
