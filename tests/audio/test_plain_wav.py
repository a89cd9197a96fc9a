"""WAV of 16 bits, read where its bytes are: the samples that libsndfile gives."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import open_files
from hypothesis import given
from hypothesis import strategies as st

from pipeline.audio import open_reader
from pipeline.audio.sound_readers import PlainReader

N, CHANNELS = 70_000, 3
NOISE = np.random.default_rng(0).integers(-(1 << 15), 1 << 15, (N, CHANNELS), np.int16)
PLAIN = {"wav": {"format": "WAV"}, "wavex": {"format": "WAVEX"}, "rf64": {"format": "RF64"}}


@pytest.fixture(scope="module", params=[*PLAIN, "comment before", "chunk behind"])
def plain(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("plain") / "x.wav"
    soundfile.write(path, NOISE, 8000, "PCM_16", **PLAIN.get(request.param, {}))
    data = path.read_bytes()
    if request.param == "comment before":  # as AudioMoth writes it, and of an odd length
        chunk = b"LIST" + struct.pack("<I", 15) + b"INFOICMT" + struct.pack("<I", 3) + b"owl\0"
        path.write_bytes(data[:36] + chunk + data[36:])
    if request.param == "chunk behind":
        path.write_bytes(data + b"guan" + struct.pack("<I", 4) + b"GUAN")
    return path


@given(st.data())
def test_samples_are_those_of_libsndfile(plain: Path, data: st.DataObject) -> None:
    expected, _ = soundfile.read(plain, dtype="float32", always_2d=True)
    assert len(expected) == N
    behind = np.full((100, CHANNELS), np.nan, np.float32)
    expected = np.concatenate([expected, behind])
    length = data.draw(st.integers(0, 40_000))
    firsts = data.draw(st.lists(st.integers(0, N + 100 - length), max_size=5))
    reader = open_reader(plain)
    assert isinstance(reader, PlainReader)
    apart = reader.read_apart(firsts, length)
    assert apart.shape == (len(firsts), length, CHANNELS)
    for first, found in zip(firsts, apart, strict=True):
        np.testing.assert_array_equal(found, expected[first : first + length])
        np.testing.assert_array_equal(reader.read(first, first + length), found)
    reader.close()


@pytest.mark.parametrize(
    ("name", "subtype", "endian"),
    [
        ("big.wav", "PCM_16", "BIG"),
        ("x.wav", "PCM_24", "FILE"),
        ("x.wav", "FLOAT", "FILE"),
        ("x.aiff", "PCM_16", "FILE"),
        ("x.flac", "PCM_16", "FILE"),
    ],
)
def test_all_else_is_left_to_libsndfile(
    name: str, subtype: str, endian: str, tmp_path: Path
) -> None:
    soundfile.write(tmp_path / name, NOISE, 8000, subtype, endian)
    reader = open_reader(tmp_path / name)
    assert not isinstance(reader, PlainReader)
    expected, _ = soundfile.read(tmp_path / name, dtype="float32")
    np.testing.assert_array_equal(reader.read(0, 9), expected[:9])
    np.testing.assert_array_equal(reader.read(5, 900), expected[5:900])
    reader.close()


def test_what_is_cut_off_while_it_is_open_is_nan(tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    soundfile.write(path, NOISE, 8000)
    reader = open_reader(path)
    assert isinstance(reader, PlainReader)
    os.truncate(path, 44 + 1000 * 2 * CHANNELS + 1)  # within a sample
    found = reader.read_apart([0, 900, 5000], 200)
    np.testing.assert_array_equal(found[0], NOISE[:200] / np.float32(1 << 15))
    np.testing.assert_array_equal(np.isnan(found[1:, :, 0]).sum(axis=1), [100, 200])
    reader.close()


def test_no_descriptor_stays_open(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.wav", NOISE, 8000)
    (tmp_path / "broken.wav").write_bytes(b"RIFF\x24\0\0\0WAVEfmt ")
    before = open_files()
    for _ in range(3):
        open_reader(tmp_path / "x.wav").close()
        with pytest.raises(OSError, match="libsndfile"):
            open_reader(tmp_path / "broken.wav")
    assert open_files() == before
