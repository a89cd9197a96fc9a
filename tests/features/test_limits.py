"""Values are within the limits that a feature says, and near the largest where they can be."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.signal
from clips import RECORDINGS, Array, read, windows_of
from hypothesis import given
from hypothesis import strategies as st
from test_mel import geometries

import pipeline as pl
from pipeline.features import compute_features, limits_of
from pipeline.kernels import Deltas, Frames, GainControl

FREQUENCIES = np.linspace(0.005, 0.495, 80)  # in periods a sample
ALONE: dict[str, Any] = {"samplerate": 16000, "window": 0.25, "context": "window"}
BOUND = {"samplerate": 16000, "window": 0.25}
SPECTRAL = ("log", "db", "power", "magnitude")


def tone(n: int, frequency: float, phase: float = 0.0) -> Array:
    """A cosine of so many periods a sample."""
    return np.cos(2 * np.pi * frequency * np.arange(n) + phase)


@st.composite
def sounds(draw: st.DrawFn, n: int) -> Array:
    """Audio within full scale, as loud as can be, of which only a part may be heard."""
    kind = draw(st.sampled_from(["silence", "constant", "tone", "square", "noise", "signs"]))
    frequency = draw(st.integers(0, 32)) / 64 + draw(st.sampled_from([0.0, 0.003]))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    sound = {
        "silence": np.zeros(n),
        "constant": np.full(n, draw(st.sampled_from([1.0, -1.0, 0.3]))),
        "tone": tone(n, frequency, draw(st.sampled_from([0.0, 0.7, math.pi / 2]))),
        "square": np.where(tone(n, frequency, 0.1) < 0, -1.0, 1.0),
        "noise": rng.uniform(-1, 1, n),
        "signs": rng.choice([-1.0, 1.0], n),
    }[kind]
    first, length = draw(st.integers(0, n - 1)), draw(st.sampled_from([1, 2, 20, 100, n]))
    heard = np.zeros(n)
    heard[first : first + length] = 1
    if length == n:
        heard[:] = 1
    return (sound * heard).astype(np.float32)


def assert_within(feature: Any, values: Array) -> None:
    """Within the limits, but for what float32 rounds."""
    limits = limits_of(feature)
    assert limits is not None
    low, high = limits
    margin = 1e-5 * (high - low)
    assert np.isfinite(values).all()
    assert low - margin <= float(values.min())
    assert float(values.max()) <= high + margin


def values_of(feature: Any, samples: Array) -> Array:
    """Of all windows of a recording."""
    windows, inside = windows_of(feature, samples)
    with np.errstate(all="ignore"):  # as features are always called
        return np.asarray(feature(windows, inside))


@given(st.data())
def test_spectrograms_are_within_their_limits(data: st.DataObject) -> None:
    draw = data.draw
    output = draw(st.sampled_from(SPECTRAL))
    feature = pl.Spectrogram(
        n_fft=draw(st.sampled_from([64, 65, 600])),
        frame_length=draw(st.sampled_from([3, 20, 64])),
        hop_length=draw(st.sampled_from([7, 20])),
        taper=draw(st.sampled_from(["boxcar", "hann", ("tukey", 0.25), "flattop"])),
        scaling=draw(st.sampled_from(["density", "spectrum"])),
        detrend=draw(st.sampled_from([None, "constant", "linear"])),
        normalize=draw(st.booleans()),
        log_offset=draw(st.sampled_from([1e-12, 1e-6, 1.0])),
        output=output,
        samplerate=1000,
        window=0.2,
    )
    n = draw(st.integers(1, 200))
    windows = np.zeros((1, 200), np.float32)
    windows[0, :n] = draw(sounds(n))
    assert_within(feature, feature(windows, np.array([n])))


LEVELS = {
    "ref": st.sampled_from([1.0, 1e-3, "max"]),
    "amin": st.sampled_from([1e-10, 1e-3]),
    "top_db": st.sampled_from([None, 1.0, 30.0, 80.0]),
    "full_scale": st.sampled_from([1.0, 32768.0]),
    "context": st.sampled_from(["recording", "window"]),
    "mel_norm": st.sampled_from([None, "slaney"]),
    "mel_linear_in": st.sampled_from(["hz", "mel"]),
}
MEL = {
    "output": st.sampled_from(["db", "log", "log10", "power"]),
    "mean": st.sampled_from([0.0, -4.0]),
    "std": st.sampled_from([1.0, 4.0]),
}
CEPSTRAL = {
    "output": st.sampled_from(["db", "log", "log10"]),
    "n_mfcc": st.integers(1, 6),
    "dct_type": st.integers(1, 3),
    "norm": st.sampled_from(["ortho", None]),
    "lifter": st.sampled_from([0.0, 3.0, 22.0]),
    "deltas": st.integers(0, 2),
    "delta": st.sampled_from(["savgol", "regression"]),
    "delta_width": st.sampled_from([3, 5, 9]),
    "use_energy": st.booleans(),
}
GAIN = {
    "gain": st.sampled_from([0.0, 0.5, 0.98, 1.0, 2.0, 10.0]),
    "bias": st.sampled_from([0.0, 1e-3, 2.0]),
    "power": st.sampled_from([0.0, 0.5, 1.0, 2.0]),
    "b": st.sampled_from([0.1, 0.5, 1.0]),
    "eps": st.sampled_from([1e-20, 1e-6, 1.0]),
    "max_size": st.sampled_from([1, 3]),
    "initial": st.sampled_from(["one", "first"]),
    "full_scale": st.sampled_from([1.0, 2.0**31]),
}
LENGTHS = st.sampled_from([1, 20, 60, 100, 300, 700])


@given(geometries(), st.fixed_dictionaries(LEVELS | MEL), st.data())
def test_mel_spectrograms_are_within_their_limits(
    geometry: dict[str, Any], parameters: dict[str, Any], data: st.DataObject
) -> None:
    power = data.draw(st.sampled_from([0.5, 1.0, 2.0, 3.0]))
    feature = pl.MelSpectrogram(**{**geometry, **parameters, "power": power})
    assert_within(feature, values_of(feature, data.draw(sounds(data.draw(LENGTHS)))))


@given(geometries(), st.fixed_dictionaries(LEVELS | CEPSTRAL), st.data())
def test_cepstral_coefficients_are_within_their_limits(
    geometry: dict[str, Any], parameters: dict[str, Any], data: st.DataObject
) -> None:
    feature = pl.MFCC(**{**geometry, **parameters})
    assert_within(feature, values_of(feature, data.draw(sounds(data.draw(LENGTHS)))))


@given(geometries(), st.fixed_dictionaries(GAIN), st.data())
def test_normalized_energies_are_within_their_limits(
    geometry: dict[str, Any], parameters: dict[str, Any], data: st.DataObject
) -> None:
    geometry["mel_power"] = geometry.pop("power")
    feature = pl.PCEN(**{**geometry, **parameters})
    assert_within(feature, values_of(feature, data.draw(sounds(data.draw(LENGTHS)))))


@given(st.data())
def test_levels_are_within_their_limits(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 500))
    feature = pl.Levels(
        bands=data.draw(st.sampled_from(["psd", "decidecade", "millidecade"])),
        n_fft=data.draw(st.sampled_from([2, 50, 101, 200])),
        fmin=data.draw(st.sampled_from([None, 20.0])),
        end_to_end_db=data.draw(st.sampled_from([None, 176.0])),
        samplerate=1000,
        window=0.5,
    )
    windows = np.zeros((1, 500), np.float32)
    windows[0, :n] = data.draw(sounds(n))
    assert_within(feature, feature(windows, np.array([n])))


def test_deltas_may_be_of_frames_that_are_louder_than_all_of_their_window() -> None:
    regression = {"deltas": 1, "delta": "regression", "delta_width": 3}
    feature = pl.MFCC(**BOUND, ref="max", top_db=1.0, **regression)
    samples = np.zeros(8000, np.float32)
    samples[4000:] = np.sign(tone(4000, 0.1, 0.1))
    values = values_of(feature, samples)
    assert values.max() > 5 * pl.MFCC(**BOUND, ref="max", top_db=1.0).limits[1]
    assert_within(feature, values)


@pytest.mark.parametrize("taper", ["boxcar", "hann", "flattop", "povey"])
@pytest.mark.parametrize("detrend", [None, "constant", "linear"])
@pytest.mark.parametrize("preemphasis", [0.0, 0.5, 1.0])
def test_frames_have_no_larger_sum_or_energy(taper: Any, detrend: Any, preemphasis: float) -> None:
    frames = Frames(60, 60, 60, 64, taper, detrend, preemphasis=preemphasis)
    places = np.arange(60)
    for sound in (
        np.ones(60),
        np.where(places % 2, 1.0, -1.0),
        np.where(abs(places - 30) < 6, 1.0, -1.0),
        np.where(places < 30, 1.0, -1.0),
        *np.random.default_rng(0).choice([-1.0, 1.0], (20, 60)),
    ):
        tapered = frames.prepared(sound) * frames.weights()
        assert np.abs(tapered).sum() <= frames.largest_sum * (1 + 1e-9)
        assert (tapered**2).sum() <= frames.largest_energy * (1 + 1e-9)


@pytest.mark.parametrize("gain", [0.5, 0.98, 2.0, 10.0])
@pytest.mark.parametrize("eps", [1e-20, 1e-6])
@pytest.mark.parametrize("power", [0.0, 0.5])
@pytest.mark.parametrize("loudest", [1e-7, 1e9])
def test_the_loudest_after_silence_is_the_largest(
    gain: float, eps: float, power: float, loudest: float
) -> None:
    control = GainControl(gain, 2.0, power, 0.1, eps, initial="first")
    sums = np.geomspace(1e-25, loudest, 2000, dtype=np.float32)
    values = np.empty((1, 2000, 2), np.float32)
    after_silence = np.stack([np.zeros_like(sums), sums], axis=1)
    with np.errstate(all="ignore"):
        control.apply(after_silence, 0, 1, np.array([0, 2]), values)
    assert values.max() == pytest.approx(control.largest(loudest), rel=0.01)
    assert values.max() <= control.largest(loudest) * (1 + 1e-5)


def test_samples_are_within_full_scale() -> None:
    feature = pl.Waveform(samplerate=8000, window=1.0)
    values = feature(np.stack([np.ones(8000), -np.ones(8000)]))
    assert limits_of(feature) == (values.min(), values.max()) == (-1, 1)


@pytest.mark.parametrize("width", range(3, 40))
def test_no_delta_is_steeper_than_that_of_the_fewest_frames(width: int) -> None:
    for order in (1, 2):
        weights = scipy.signal.savgol_coeffs(width, order, deriv=order)
        assert np.abs(weights).sum() <= Deltas("savgol", width, order).steepest + 1e-9
        assert Deltas("savgol", width, order).steepest == pytest.approx(2**order)


def loud(n: int = 4000) -> Array:
    """Windows of squares of many frequencies, of bursts of them, of signs and of one sample."""
    squares = [np.where(tone(n, frequency, 0.1) < 0, -1.0, 1.0) for frequency in FREQUENCIES]
    bursts = np.zeros((len(squares), n))
    bursts[:, n // 2 : n // 2 + 40] = [tone(40, frequency) for frequency in FREQUENCIES]
    late = np.array(squares) * (np.arange(n) >= n // 2)
    others = np.zeros((3, n))
    others[0], others[1, n // 2] = 1, 1
    others[2] = np.random.default_rng(0).choice([-1.0, 1.0], n)
    return np.concatenate([squares, bursts, late, others]).astype(np.float32)


DECIBELS: dict[str, Any] = {"output": "db", "top_db": None}
# Features, and how far below the largest of the limits the loudest of these windows may be.
NEARLY = {
    "normalized, log": (pl.Spectrogram(**BOUND), 0.3),
    "normalized, dB": (pl.Spectrogram(**BOUND, output="db", scaling="spectrum"), 1),
    "log": (pl.Spectrogram(**BOUND, normalize=False, log_offset=1e-12), 0.3),
    "dB": (pl.Spectrogram(**BOUND, normalize=False, detrend=None, output="db"), 1),
    "librosa": (pl.MelSpectrogram.preset("librosa", **DECIBELS, **ALONE), 3),
    "torchaudio": (pl.MelSpectrogram.preset("torchaudio", n_mels=64, **DECIBELS, **ALONE), 3),
    "kaldi": (pl.MelSpectrogram.preset("kaldi", **ALONE), math.log(4)),
    "whisper": (pl.MelSpectrogram.preset("whisper", **ALONE), 0.1),
    "magnitude": (pl.MelSpectrogram(power=1, **ALONE), 3),
    "PCEN": (pl.PCEN(**ALONE), 0.1),
    "PCEN, logarithm": (pl.PCEN(power=0, **ALONE), 0.1),
    "MFCC": (pl.MFCC(**ALONE), 300),
    "levels": (pl.Levels(n_fft=1000, **BOUND), 4),
}


@pytest.mark.parametrize("name", NEARLY)
def test_the_largest_of_the_limits_nearly_comes(name: str) -> None:
    feature, below = NEARLY[name]
    windows = loud()
    values = compute_features(feature, windows, np.full(len(windows), 4000))
    assert_within(feature, values)
    assert values.max() >= feature.limits[1] - below


@pytest.mark.parametrize("name", NEARLY)
def test_silence_is_within_the_limits(name: str) -> None:
    feature, _ = NEARLY[name]
    assert_within(
        feature, compute_features(feature, np.zeros((1, 4000), np.float32), np.array([9]))
    )


OF_RECORDINGS: list[tuple[Any, dict[str, Any]]] = [
    (pl.MelSpectrogram, {}),
    (pl.MelSpectrogram, {"ref": "max", "top_db": 80.0, "preemphasis": 0.97}),
    (pl.MFCC, {"deltas": 2, "ref": "max"}),
    (pl.MFCC, {"deltas": 1, "use_energy": True, "lifter": 22.0, "delta": "regression"}),
    (pl.PCEN, {"time_constant": 0.06}),
]


@pytest.mark.parametrize("name", RECORDINGS)
def test_real_recordings_are_within_the_limits(audio: Path, name: str) -> None:
    samples, rate = read(audio / name, 5.3)
    for kind, parameters in OF_RECORDINGS:
        frames = {"n_fft": 1024, "hop_length": rate // 50, "n_mels": 24}
        feature = kind(**frames, **parameters, samplerate=rate, window=1.0)
        assert_within(feature, values_of(feature, samples))
    windows = samples[: len(samples) // rate * rate].reshape(-1, rate)
    for feature in (
        pl.Spectrogram(samplerate=rate, window=1.0),
        pl.Spectrogram(samplerate=rate, window=1.0, normalize=False, output="db"),
        pl.Levels(samplerate=rate, window=1.0),
        pl.Waveform(samplerate=rate, window=1.0),
    ):
        assert_within(feature, feature(windows))


class Own:
    """A feature of somebody's own."""

    shape, frequencies, times = (1,), np.zeros(1), None

    def __init__(self, limits: Any, floor: float = 0.0) -> None:
        self.limits, self.floor = limits, floor


@pytest.mark.parametrize("limits", [(-1, 1), [0.0, np.float32(2)], np.array([-3, 0])])
def test_limits_of_ones_own_are_two_numbers(limits: Any) -> None:
    assert limits_of(Own(limits)) == tuple(limits)


@pytest.mark.parametrize(
    ("limits", "floor"),
    [
        ((1, -1), 0.0),
        ((0, 0), 0.0),
        ((1, 2), 0.0),
        ((-1, 1), 2.0),
        ((-1, math.inf), 0.0),
        ((math.nan, 1), 0.0),
        ((-1, 1e39), 0.0),
        ((-1, 0, 1), 0.0),
        (("low", "high"), 0.0),
        (1.0, 0.0),
        ((-1, 1), None),
    ],
)
def test_wrong_limits_are_told_of(limits: Any, floor: Any) -> None:
    said = (
        r"^Own has the limits .*; they must be two finite numbers, the lower one first, with \S+ "
    )
    with pytest.raises(ValueError, match=said):
        limits_of(Own(limits, floor))


@pytest.mark.parametrize("feature", [pl.Indices(), Own(None), object()])
def test_what_has_no_limits_has_none(feature: Any) -> None:
    assert limits_of(feature) is None
