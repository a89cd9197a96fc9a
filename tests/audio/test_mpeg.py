"""MPEG: frames are read as long as they follow each other, and never from another place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import decode, mp3_frames, read_all

from pipeline import WindowGrid, scan
from pipeline.audio.mpeg import find_start, whole_frames
from pipeline.audio.readers import open_reader, probe
from pipeline.recordings import read_windows, why_unreadable

WINDOW = 0.1


def mp3(path: Path, seconds: float = 20, rate: int = 16000, channels: int = 1) -> bytes:
    samples = np.random.default_rng(rate).uniform(-0.5, 0.5, (int(seconds * rate), channels))
    soundfile.write(path, samples, rate)
    return path.read_bytes()


def bare(data: bytes) -> bytes:
    """Without the frame that says how many there are."""
    return data[mp3_frames(data)[1] :]


def zeros(data: bytes, at: int, n: int) -> bytes:
    return data[:at] + bytes(n) + data[at + n :]


def flip(data: bytes, at: int, n: int) -> bytes:
    """Flip a bit in the header of the next frame."""
    at = next(place for place in mp3_frames(data) if place >= at) + n
    return data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :]


DAMAGES: dict[str, Callable[[bytes, int], bytes]] = {
    "600 zeros": lambda data, at: zeros(data, at, 600),
    "4096 zeros": lambda data, at: zeros(data, at, 4096),
    "4096 cut out": lambda data, at: data[:at] + data[at + 4096 :],
    "one cut out": lambda data, at: data[:at] + data[at + 1 :],
    "one put in": lambda data, at: data[:at] + b"x" + data[at:],
    "700 put in": lambda data, at: data[:at] + data[at : at + 700] + data[at:],
    "sync": lambda data, at: flip(data, at, 0),
    "version": lambda data, at: flip(data, at, 1),
    "bits a second": lambda data, at: flip(data, at, 2),
}


def check(path: Path, data: bytes, damaged: bytes, least: float) -> None:
    """What is valid is as it was, but near the damage; it is so up to a part of the file."""
    path.write_bytes(data)
    whole = scan(path)
    expected = read_windows(whole, WindowGrid(whole, WINDOW))
    path.write_bytes(damaged)
    recordings = scan(path)
    grid = WindowGrid(recordings, WINDOW)
    read = read_windows(recordings, grid)
    valid = ~np.isnan(read).any(axis=1)
    n = min(len(read), len(expected))
    assert np.array_equal(read[:n][valid[:n]], expected[:n][valid[:n]])
    assert valid[: int(least * len(expected))].all()
    assert not valid[-1]
    assert not valid[n:].any()
    first = int(np.argmin(valid))
    assert "there its MPEG frames are" in why_unreadable(recordings, grid, first)
    for t in (first - 1, first, first + 1):
        alone = read_windows(recordings, grid[t : t + 1])
        assert np.array_equal(alone, read[t : t + 1], equal_nan=True)


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("make", [bytes, bare])
def test_nothing_behind_damage_is_read_from_another_place(
    damage: str, make: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    data = make(mp3(tmp_path / "x.mp3"))
    for part in (0.3, 0.71):
        at = int(len(data) * part)
        check(tmp_path / "y.mp3", data, DAMAGES[damage](data, at), part - 0.03)


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["speech-music-mp3/musanmix.mp3", "acoustic-scene/*.mp3"])
def test_real_recordings_are_not_shifted_either(
    damage: str, name: str, audio: Path, tmp_path: Path
) -> None:
    (path,) = audio.glob(name)
    data = path.read_bytes()
    with open(path, "rb") as file:
        start = find_start(file)
    assert start is not None
    damaged = data[:start] + DAMAGES[damage](data[start:], len(data) // 2)
    check(tmp_path / "y.mp3", data, damaged, 0.45)


def test_damage_within_frames_shifts_nothing(tmp_path: Path) -> None:
    data = mp3(tmp_path / "x.mp3")
    expected, frames = decode(tmp_path / "x.mp3"), mp3_frames(data)
    head = frames[len(frames) // 2]
    (tmp_path / "x.mp3").write_bytes(zeros(data, head + 8, 100))
    recordings = scan(tmp_path / "x.mp3")
    read = read_windows(recordings, WindowGrid(recordings, 1.0)).reshape(-1)
    wrong = np.flatnonzero(read != expected[:, 0])
    assert len(expected) // 2 - 8000 < wrong[0]
    assert wrong[-1] < wrong[0] + 8000


def test_a_file_whose_first_frame_is_damaged_is_refused(tmp_path: Path) -> None:
    data = mp3(tmp_path / "x.mp3")
    for damaged in (zeros(data, 0, 300), flip(data, 0, 1), flip(data, 0, 2), data[700:]):
        (tmp_path / "x.mp3").write_bytes(damaged)
        with pytest.raises(OSError, match=r"MPEG frames is damaged|libsndfile"):
            probe(tmp_path / "x.mp3")


ID3 = b"ID3\x04\x00\x00\x00\x00\x02\x00" + b"\xff\xfb\x90\x00" * 64
ID3V1 = b"TAG" + b"\xff\xfb\x90\x64" * 31 + b"."
APE = b"APETAGEX\xd0\x07\x00\x00\x2c\x01\x00\x00" + bytes(16) + b"\xff\xfb\x90\x00" * 75
LYRICS = b"LYRICSBEGIN" + b"la" * 999 + b"001011LYRICS200"


@pytest.mark.parametrize("make", [bytes, bare])
@pytest.mark.parametrize(
    "tags", [ID3V1, APE, ID3, LYRICS + ID3V1, APE + ID3V1, bytes(5000), b"?" * 99], ids=range(7)
)
def test_what_follows_the_last_frame_and_is_none_is_passed_over(
    make: Callable[[bytes], bytes], tags: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "x.mp3"
    data = make(mp3(path))
    path.write_bytes(data)
    header, expected = probe(path), read_all(path)
    path.write_bytes(data + tags)
    assert probe(path) == header
    reader = open_reader(path)
    np.testing.assert_array_equal(reader.read(0, header.n_samples), expected)


@pytest.mark.parametrize("tags", [b"", ID3, ID3V1 + ID3, APE + bytes(100)], ids=range(4))
@pytest.mark.parametrize("other", [(16000, 1), (16000, 2), (24000, 1), (44100, 1)], ids=str)
@pytest.mark.parametrize("make", [bytes, bare])
def test_of_files_that_were_joined_the_first_is_read_and_the_others_are_masked(
    make: Callable[[bytes], bytes], other: tuple[int, int], tags: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "x.mp3"
    data, behind = make(mp3(path)), mp3(tmp_path / "y.mp3", 7, *other)
    path.write_bytes(data)
    expected = read_all(path)
    path.write_bytes(data + tags + behind + ID3V1)
    recordings = scan(path)
    assert recordings.seconds == pytest.approx(27, abs=0.4)
    grid = WindowGrid(recordings, 0.5)
    read = read_windows(recordings, grid)
    valid = ~np.isnan(read).any(axis=1)
    assert valid.tolist() == [True] * 40 + [False] * (len(grid) - 40)
    np.testing.assert_array_equal(read[:40].reshape(-1), expected[: 40 * 8000, 0])
    assert "or another recording begins" in why_unreadable(recordings, grid, 41)


def test_tags_between_frames_of_one_stream_are_passed_over(tmp_path: Path) -> None:
    data = bare(mp3(tmp_path / "x.mp3"))
    (tmp_path / "x.mp3").write_bytes(data)
    expected, middle = read_all(tmp_path / "x.mp3"), mp3_frames(data)[100]
    (tmp_path / "x.mp3").write_bytes(data[:middle] + ID3 + ID3V1 + data[middle:])
    assert probe(tmp_path / "x.mp3").n_samples == len(expected)
    read = open_reader(tmp_path / "x.mp3").read(0, len(expected))
    np.testing.assert_array_equal(read, expected)


def test_frames_are_given_whole_wherever_a_read_of_the_file_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = mp3(tmp_path / "x.mp3", 5)
    last = mp3_frames(data)[-2]
    for ahead in (64, 65, 287, 288, 289, 1000):
        monkeypatch.setattr("pipeline.audio.mpeg.AHEAD", ahead)
        for content, kept in (
            *((data + ID3V1, len(data)), (data[:last] + ID3V1, last)),
            *((data[:-1], last), (data[: last + 1], last), (data + data, len(data))),
        ):
            (tmp_path / "x.mp3").write_bytes(content)
            with open(tmp_path / "x.mp3", "rb") as file:
                assert b"".join(whole_frames(file)) == content[:kept]
