"""The mel spectrogram equals that of other tools, and its windows are seamless in any block."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import kaldi_native_fbank as knf
import librosa
import numpy as np
import pytest
from clips import (
    RECORDINGS,
    STORED,
    Array,
    assert_near,
    assert_same_in_any_block,
    assert_seamless,
    chirp,
    noise,
    read,
    side_by_side,
    windows_of,
)
from hypothesis import given
from hypothesis import strategies as st

from pipeline import MelSpectrogram
from pipeline.features import compute_features

SILENCE = -100.0


def of_librosa(samples: Array, rate: int, **parameters: Any) -> Array:
    mel = librosa.feature.melspectrogram(y=samples.astype(np.float64), sr=rate, **parameters)
    return librosa.power_to_db(mel, top_db=None)


@pytest.mark.parametrize("name", RECORDINGS)
def test_windows_side_by_side_are_librosa_s_whole_recording(audio: Path, name: str) -> None:
    samples, rate = read(audio / name)
    frames = {"n_fft": 1024, "hop_length": rate // 50, "n_mels": 40}
    feature = MelSpectrogram(**frames, frame_length=800, samplerate=rate, window=1.0)
    expected = of_librosa(samples, rate, **frames, win_length=800)
    found = side_by_side(feature, samples)
    assert found.shape[1] == -(-len(samples) // rate) * 50
    columns = min(found.shape[1], expected.shape[1])
    assert_near(found[:, :columns], expected[:, :columns])
    assert (found[:, columns:] == feature.floor).all()
    assert feature.floor == pytest.approx(SILENCE)


@pytest.mark.parametrize("name", RECORDINGS)
def test_a_window_that_keeps_to_itself_is_librosa_s_clip(audio: Path, name: str) -> None:
    samples, rate = read(audio / name, 5.5)
    options = {"n_mels": 30, "n_fft": 1024}
    feature = MelSpectrogram.preset(
        "librosa", **options, context="window", samplerate=rate, window=1.0
    )
    for clip, found in zip(*_clips(feature, samples), strict=True):
        mel = librosa.feature.melspectrogram(y=clip, sr=rate, **options)
        columns = mel.shape[1]
        assert_near(found[:, :columns], mel)
        assert (found[:, columns:] == 0).all()
    db = dataclasses.replace(feature, output="db", ref="max")
    for clip, found in zip(*_clips(db, samples), strict=True):
        mel = librosa.feature.melspectrogram(y=clip, sr=rate, **options)
        expected = librosa.power_to_db(mel, ref=np.max)
        assert_near(found[:, : mel.shape[1]], expected)
        assert found.min() >= -80 - 1e-4 or not clip.any()


def _clips(feature: Any, samples: Array) -> tuple[list[Array], Array]:
    """The windows of a recording, as long as each really is, and their features."""
    windows, inside = windows_of(feature, samples)
    return [row[:n] for row, (_, n) in zip(windows, inside, strict=True)], feature(windows, inside)


@pytest.mark.parametrize("snip_edges", [True, False])
@pytest.mark.parametrize("name", RECORDINGS)
def test_windows_side_by_side_are_kaldi_s_filter_banks(
    audio: Path, name: str, snip_edges: bool
) -> None:
    samples, rate = read(audio / name, 6.4)
    rate = 16000 if rate == 2500 else rate  # at which Kaldi has more than a few frequencies
    options = knf.FbankOptions()
    options.frame_opts.samp_freq, options.frame_opts.dither = rate, 0
    options.frame_opts.snip_edges = snip_edges
    options.mel_opts.num_bins = 23
    expected = _of_kaldi(knf.OnlineFbank(options), samples, rate)
    edges = {} if snip_edges else {"center": "hop", "pad_mode": "symmetric"}
    feature = MelSpectrogram.preset("kaldi", **edges, samplerate=rate, window=1.0)
    found = side_by_side(feature, samples)
    columns = min(found.shape[1], expected.shape[1])
    assert columns >= expected.shape[1] - 1
    apart = np.abs(found[:, :columns] - expected[:, :columns])
    # Where it is clipped, the lowest band is 110 dB below the loudest, at the end of float32.
    assert apart.max() < 2e-3
    assert np.median(apart) < 2e-5
    assert (found[:, columns:] == feature.floor).all()


def _of_kaldi(computer: Any, samples: Array, rate: int) -> Array:
    computer.accept_waveform(rate, (32768 * samples).tolist())
    computer.input_finished()
    return np.stack([computer.get_frame(i) for i in range(computer.num_frames_ready)], axis=1)


@pytest.mark.filterwarnings("ignore:.*bands lie between two frequencies")
def test_the_preset_torchaudio_is_torchaudio_s() -> None:
    feature = MelSpectrogram.preset(
        "torchaudio", context="window", samplerate=16000, window=len(chirp()) / 16000
    )
    assert_near(feature(chirp()[None])[0], STORED["mel"])


def test_the_preset_whisper_is_whisper_s(audio: Path) -> None:
    samples, rate = read(audio / "meeting-16k/trn01.wav", 30)
    spectrum = librosa.stft(samples, n_fft=400, hop_length=160, pad_mode="reflect")[:, :-1]
    power = librosa.filters.mel(sr=rate, n_fft=400, n_mels=80) @ np.abs(spectrum) ** 2
    log = np.log10(np.maximum(power, 1e-10))
    expected = (np.maximum(log, log.max() - 8) + 4) / 4
    feature = MelSpectrogram.preset("whisper", context="window", samplerate=rate, window=30.0)
    assert feature.shape == (80, 3000)
    assert_near(feature(samples[None])[0], expected)


@pytest.mark.parametrize("mel_scale", ["slaney", "htk"])
@pytest.mark.parametrize("mel_norm", ["slaney", None])
@pytest.mark.parametrize("power", [1.0, 2.0, 1.5])
def test_every_parameter_of_bands_means_what_it_means_to_librosa(
    mel_scale: Any, mel_norm: Any, power: float
) -> None:
    feature = MelSpectrogram(
        n_fft=2048, hop_length=500, fmin=50, fmax=7000, mel_scale=mel_scale, mel_norm=mel_norm,
        power=power, output="power", pad_mode="edge", taper="hamming", context="window",
        samplerate=16000, window=0.25,
    )  # fmt: skip
    expected = librosa.feature.melspectrogram(
        y=chirp(), sr=16000, n_fft=2048, hop_length=500, n_mels=64, fmin=50, fmax=7000,
        htk=mel_scale == "htk", norm=mel_norm, power=power, pad_mode="edge", window="hamming",
    )  # fmt: skip
    assert_near(feature(chirp()[None])[0], expected)
    bands = librosa.mel_frequencies(66, fmin=50, fmax=7000, htk=mel_scale == "htk")[1:-1]
    np.testing.assert_allclose(feature.frequencies, bands, rtol=1e-6)


def test_levels_are_relative_to_the_loudest_of_each_window_alone() -> None:
    samples = np.concatenate([chirp(), 1e-4 * chirp(), 0 * chirp()])
    options = {"n_mels": 20, "samplerate": 16000, "window": 0.25, "context": "window"}
    plain = MelSpectrogram(**options)(samples.reshape(3, -1))
    found = MelSpectrogram(**options, top_db=10)(samples.reshape(3, -1))
    expected = np.maximum(plain, plain.max(axis=(1, 2), keepdims=True) - 10)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    relative = MelSpectrogram(**options, ref="max")(samples.reshape(3, -1))
    np.testing.assert_allclose(relative.max(axis=(1, 2)), 0, atol=1e-5)


@pytest.mark.parametrize(
    ("rate", "hop_length", "message"),
    [
        (22050, 512, "divide the 22050 samples of a window"),
        (22050, 512, "pass hop_length 490 or 525, or context 'window'"),
        (16000, 300, "pass hop_length 250 or 320"),
    ],
)
def test_a_hop_that_does_not_divide_the_window_is_refused(
    rate: int, hop_length: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        MelSpectrogram(hop_length=hop_length, n_fft=2048, samplerate=rate, window=1.0)
    MelSpectrogram(hop_length=hop_length, n_fft=2048, samplerate=rate, window=1.0, context="window")


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_mels": 0}, "n_mels is 0; it must be a whole number of at least 1"),
        ({"output": "bel"}, "output is 'bel'; allowed are power, log, log10 and db"),
        ({"fmin": 9000, "samplerate": 16000}, "pass an fmax above fmin, of at most 8000"),
        ({"ref": 0}, "ref is 0; it must be a number from 1e-30 to 1e+30, or 'max'"),
        ({"top_db": -1}, "top_db is -1; it must be a number of dB from 0, or None"),
        ({"std": 0}, "std is 0"),
        ({"n_fft": 100, "frame_length": 200}, "n_fft is 100, less than the 200 samples"),
        (
            {"n_fft": 4000, "center": False, "context": "window", "samplerate": 16000,
             "window": 0.1, "hop_length": 100},
            "no frame of 4000 samples fits in the 1600 of a window",
        ),
    ],
)  # fmt: skip
def test_parameters_are_checked_when_made(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]*$") as error:
        MelSpectrogram(**parameters)
    assert message in str(error.value)
    with pytest.raises(ValueError, match="did you mean 'kaldi'"):
        MelSpectrogram.preset("kaldy")


def test_bands_without_a_frequency_are_warned_of() -> None:
    with pytest.warns(RuntimeWarning, match="always silent; pass fewer n_mels, or a larger n_fft"):
        MelSpectrogram(n_fft=256, n_mels=100, samplerate=16000)


@st.composite
def geometries(draw: st.DrawFn) -> dict[str, Any]:
    """Frames of any place, and windows of whole hops."""
    hop = draw(st.sampled_from([7, 16, 40]))
    frame = draw(st.sampled_from([16, 33, 50, 64]))
    return {
        "n_fft": 64,
        "frame_length": frame,
        "hop_length": hop,
        "n_mels": 6,
        "center": draw(st.sampled_from([True, False, "hop"])),
        "pad_mode": draw(st.sampled_from(["constant", "reflect", "symmetric", "edge"])),
        "detrend": draw(st.sampled_from([None, "constant"])),
        "preemphasis": draw(st.sampled_from([0.0, 0.9])),
        "power": draw(st.sampled_from([1.0, 2.0])),
        "samplerate": 1000,
        "window": hop * draw(st.integers(10, 30)) / 1000,
    }


LENGTHS = st.lists(st.integers(1, 2000), min_size=1, max_size=3)  # of recordings, in samples
HOPS = st.none() | st.integers(30, 500)
CONTEXTS = st.sampled_from(["recording", "window"])


@given(geometries(), st.integers(1, 3000))
def test_columns_side_by_side_are_those_of_one_window(
    geometry: dict[str, Any], n_samples: int
) -> None:
    assert_seamless(MelSpectrogram(**geometry), noise(n_samples))


@given(geometries(), CONTEXTS, LENGTHS, HOPS, st.integers(1, 40))
def test_the_bits_do_not_depend_on_the_block(
    geometry: dict[str, Any], context: Any, lengths: list[int], hop: int | None, size: int
) -> None:
    feature = MelSpectrogram(**geometry, context=context)
    assert_same_in_any_block(feature, lengths, hop, size)


def test_nothing_overflows_and_float16_is_the_rounded_float32() -> None:
    feature = MelSpectrogram(samplerate=16000, window=0.25, context="window", full_scale=32768)
    loud = np.float32(3e38) * np.sign(chirp())[None]
    assert np.isfinite(feature(loud)).all()
    n_samples = np.array([4000])
    found, rounded = (
        compute_features(feature, chirp()[None], n_samples, dtype)
        for dtype in (np.float32, np.float16)
    )
    assert np.array_equal(rounded, found.astype(np.float16))
