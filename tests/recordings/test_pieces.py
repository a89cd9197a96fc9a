"""Audio is read in pieces of bounded memory, of which nothing is to be seen in what comes."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

import pipeline as pl
import pipeline.recordings.recording
import pipeline.windows
from pipeline.audio.readers import Reader
from pipeline.features import bind
from pipeline.recordings import Recordings, scan
from pipeline.windows import compute_windows

Array = npt.NDArray[Any]
FEATURES = {
    "waveform": pl.Waveform(),
    "mel": pl.MelSpectrogram(n_mels=4, n_fft=64, hop_length=50, pad_mode="reflect"),
    "pcen": pl.PCEN(n_mels=4, n_fft=64, hop_length=50, time_constant=0.05),
}
ENDINGS = {
    "a.wav": "PCM_16",
    "b.flac": "PCM_16",
    "c.mp3": None,
    "d.ogg": "VORBIS",
    "e.w64": "PCM_24",
}
SECONDS = 9


@contextmanager
def pieces(audio_bytes: int, native_bytes: int) -> Iterator[None]:
    """Read no more than so many bytes of audio at a time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline.windows, "AUDIO_BYTES", audio_bytes)
        patch.setattr(pipeline.recordings.recording, "NATIVE_BYTES", native_bytes)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings of several formats, rates and channels; of some a part is damaged."""
    folder = tmp_path_factory.mktemp("audio")
    rng = np.random.default_rng(0)
    for number, (name, subtype) in enumerate(ENDINGS.items()):
        rate, channels = (8000, 1 + number % 3) if name != "c.mp3" else (16000, 2)
        samples = 0.2 * rng.standard_normal((SECONDS * rate, channels))
        soundfile.write(folder / name, samples, rate, subtype)
        if name in ("b.flac", "c.mp3"):
            content = bytearray((folder / name).read_bytes())
            half = len(content) // 2
            content[half : half + 600] = bytes(600)
            (folder / f"damaged-{name}").write_bytes(content)
    samples[5 * 8000, 0] = np.nan
    soundfile.write(folder / "nan.wav", samples, 8000, "FLOAT")
    return folder


@settings(max_examples=6)
@given(
    feature=st.sampled_from([*FEATURES]),
    samplerate=st.sampled_from([8000, 5000, 1000]),
    channel=st.sampled_from([0, "mix"]),
    window=st.sampled_from([0.5, 1.0, 4.0]),
    hop=st.sampled_from([0.5, 1.0, 1.7]),
    audio_bytes=st.sampled_from([1, 100_000, 400_000]),
    native_bytes=st.sampled_from([1000, 50_000, 300_000]),
)
def test_pieces_give_the_bits_of_the_whole(
    folder: Path,
    feature: str,
    samplerate: int,
    channel: Any,
    window: float,
    hop: float,
    audio_bytes: int,
    native_bytes: int,
) -> None:
    recordings = scan(folder, samplerate=samplerate, channel=channel)
    assert len(recordings) == 8
    grid = pl.WindowGrid(recordings, window, hop)
    bound = bind(FEATURES[feature], samplerate, window)
    expected, readable = compute_windows(recordings, grid, bound)
    assert 0 < readable.sum() < len(readable)
    with pieces(audio_bytes, native_bytes):
        found, valid = compute_windows(recordings, grid, bound)
    np.testing.assert_array_equal(valid, readable)
    np.testing.assert_array_equal(found, expected)


def opened_and_decoded(
    recordings: Recordings, patch: pytest.MonkeyPatch
) -> tuple[int, Counter[Any]]:
    """How often a file is opened, and every sample of it decoded, while windows are computed."""
    opened, decoded = 0, Counter[Any]()
    true_open = pipeline.recordings.recording.open_reader
    true_fill = pipeline.audio.sound_files.SequentialFile.fill

    def opening(path: Path) -> Reader:
        nonlocal opened
        opened += 1
        return true_open(path)

    def filling(self: Any, samples: Array, start: int) -> None:
        decoded[self.format] += len(samples)
        true_fill(self, samples, start)

    patch.setattr(pipeline.recordings.recording, "open_reader", opening)
    patch.setattr(pipeline.audio.sound_files.SequentialFile, "fill", filling)
    grid = pl.WindowGrid(recordings)
    compute_windows(recordings, grid, bind(pl.Waveform(), grid.samplerate, 1.0))
    return opened, decoded


@pytest.mark.parametrize("samplerate", [16000, 8000])
def test_what_must_be_decoded_from_its_beginning_is_decoded_once(
    folder: Path, samplerate: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    recordings = scan(folder / "c.mp3", samplerate=samplerate, channel="mix")
    with pieces(4 * 5 * samplerate, 500_000):
        opened, decoded = opened_and_decoded(recordings, monkeypatch)
    assert opened == -(-SECONDS // 5), "once a piece"
    assert decoded["MP3"] == recordings[0].header.n_samples


def test_a_file_is_opened_once_where_all_is_one_piece(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert opened_and_decoded(scan(folder / "b.flac"), monkeypatch)[0] == 1


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_a_long_window_of_many_channels_at_a_high_rate_is_read_in_little_memory(
    tmp_path: Path, suffix: str
) -> None:
    rng = np.random.default_rng(0)
    noise = 0.1 * rng.standard_normal((30 * 96_000, 4)).astype(np.float32)
    soundfile.write(tmp_path / f"x{suffix}", noise, 96_000, "PCM_16")
    n_bytes = noise.nbytes
    del noise
    recordings = scan(tmp_path, samplerate=8000, channel="mix")
    grid = pl.WindowGrid(recordings, 30.0)
    feature = bind(pl.Levels(), 8000, 30.0)
    with pieces(1 << 20, 1 << 20):
        tracemalloc.start()
        try:
            compute_windows(recordings, grid, feature)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        held = recordings.held_bytes(30 * 8000)
    assert held < n_bytes / 8
    assert peak < held + 20 * 30 * 8000 + 12 * 2**20  # and what a kernel works in
