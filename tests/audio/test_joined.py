"""Bytes that a header does not tell of are not passed over in silence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from pipeline import WindowGrid, scan
from pipeline.audio.readers import probe
from pipeline.recordings import read_windows, why_unreadable


def write(path: Path, seconds: int, seed: int, subtype: str) -> bytes:
    samples = np.random.default_rng(seed).uniform(-0.5, 0.5, seconds * 16000)
    soundfile.write(path, samples, 16000, subtype, format=path.suffix[1:].upper())
    return path.read_bytes()


@pytest.mark.parametrize("lengths", [(20, 12), (12, 20)])
@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_of_joined_ogg_the_first_is_read_and_the_others_are_masked(
    subtype: str, lengths: tuple[int, int], tmp_path: Path
) -> None:
    path, (n, m) = tmp_path / "x.ogg", lengths
    data = write(path, n, 0, subtype)
    recordings = scan(path)
    expected = read_windows(recordings, WindowGrid(recordings))
    path.write_bytes(data + write(tmp_path / "y.ogg", m, 1, subtype))
    recordings = scan(path)
    assert recordings.seconds == pytest.approx(n + m, abs=0.1)
    grid = WindowGrid(recordings)
    blocks = [read_windows(recordings, grid[t : t + 7]) for t in range(0, len(grid), 7)]
    read = np.concatenate(blocks)
    valid = ~np.isnan(read).any(axis=1)
    assert valid[: n - 1].all()
    assert not valid[n:].any()
    np.testing.assert_array_equal(read[:n][valid[:n]], expected[valid[:n]])
    assert "or another recording begins" in why_unreadable(recordings, grid, n + 1)


CHUNKS = [b"LIST\x04\x00\x00\x00INFO", b"guan\x05\x00\x00\x00abcde\x00bext\x02\x00\x00\x00xy"]


@pytest.mark.parametrize(
    "behind", [*CHUNKS, CHUNKS[1] + b"odd \x01\x00\x00\x00x", bytes(4000), b"TAG" + b"x" * 125]
)
@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "FLOAT", "IMA_ADPCM", "GSM610"])
def test_chunks_tags_and_padding_behind_the_samples_are_no_samples(
    subtype: str, behind: bytes, tmp_path: Path
) -> None:
    data = write(tmp_path / "x.wav", 3, 0, subtype)
    header = probe(tmp_path / "x.wav")
    (tmp_path / "x.wav").write_bytes(data + behind)
    assert probe(tmp_path / "x.wav") == header


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "IMA_ADPCM"])
@pytest.mark.parametrize("told", [0, 0.25, 0.5])
def test_what_a_wav_has_more_than_its_header_says_is_masked_and_told(
    told: float, subtype: str, tmp_path: Path
) -> None:
    path = tmp_path / "x.wav"
    data = write(path, 4, 0, subtype)
    whole = probe(path).n_samples
    at = data.index(b"data") + 4
    n = int(int.from_bytes(data[at : at + 4], "little") * told) // 512 * 512
    path.write_bytes(data[:at] + n.to_bytes(4, "little") + data[at + 4 :])
    recordings = scan(path)
    if told or subtype != "IMA_ADPCM":  # of which nothing says how long a sample is
        assert recordings[0].n_samples == pytest.approx(whole, rel=0.02)
    grid = WindowGrid(recordings, 0.5)
    valid = ~np.isnan(read_windows(recordings, grid)).any(axis=1)
    good = int(whole * told / 8000 - 0.1)
    assert valid[:good].all()
    assert not valid[good + 1 :].any()
    assert "correct the sizes in its header" in why_unreadable(recordings, grid, len(grid) - 1)


@pytest.mark.parametrize("seconds", [2.5, 3, 3.02, 10.01])
@pytest.mark.parametrize("rate", [8000, 16000])
def test_the_byte_that_pads_gsm_is_no_block_that_is_cut(
    seconds: float, rate: int, tmp_path: Path
) -> None:
    path = tmp_path / "x.wav"
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, int(seconds * rate))
    soundfile.write(path, samples, rate, "GSM610")
    recordings = scan(path)
    assert recordings[0].n_samples == -(-len(samples) // 320) * 320
    expected = soundfile.read(path, dtype="float32")[0][: recordings[0].n_samples]
    read = read_windows(recordings, WindowGrid(recordings, 0.2)).reshape(-1)
    np.testing.assert_array_equal(read[: len(expected)], expected)
    data = path.read_bytes()
    path.write_bytes(data[:-70])
    recordings = scan(path)
    read = read_windows(recordings, WindowGrid(recordings, 0.2))
    assert np.isnan(read[-1]).all()
