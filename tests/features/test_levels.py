"""Levels equal SciPy's and pypam's, on real recordings and at the edges."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import scipy.signal
import soundfile
import xarray
from conftest import Cli, Write
from hypothesis import given
from hypothesis import strategies as st
from make_pypam import CASES, END_TO_END_DB, RATES, sound

import pipeline as pl
from pipeline.features import bind

Array = npt.NDArray[Any]
PYPAM = np.load(Path(__file__).with_name("pypam.npz"))
KINDS = ("psd", "decidecade", "millidecade")

RECORDINGS = [
    "hydrophone-8k-flac/67416073.210610033655.flac",
    "hydrophone-8k-flac/67416073.210610034655.flac",
    "humpback-44k-ogg/glacier-bay-humpback.hq.ogg",  # nothing above 20 kHz: 180 dB in one spectrum
    "speech-music-mp3/musanmix.mp3",
    "blackbird-48k/242A2604603691DD_20250503_031300.WAV",
    "edge/near_silence_3s_8k.wav",
]


def noise(n_windows: int = 1, length: int = 8000) -> npt.NDArray[np.float32]:
    rng = np.random.default_rng(1)
    return (0.1 * rng.standard_normal((n_windows, length))).astype(np.float32)


def welch(x: Array, fs: int, n_fft: int, overlap: float = 0.5) -> Array:
    """SciPy's, in float64, with our floor."""
    taper = scipy.signal.get_window("hann", n_fft)
    _, power = scipy.signal.welch(
        x.astype(np.float64), fs, taper, noverlap=int(n_fft * overlap), detrend=False
    )
    return 10 * np.log10(np.maximum(power, 1e-30))


@pytest.mark.parametrize("name", RECORDINGS)
def test_the_psd_is_scipy_s_on_real_recordings(audio: Path, name: str) -> None:
    samples, fs = soundfile.read(audio / name, frames=20 * 48000, dtype="float32")
    window = samples[: len(samples) // fs * fs]
    feature = pl.Levels(samplerate=fs, window=len(window) / fs)
    (levels,), expected = feature(window[None]), welch(window, fs, fs)
    assert levels.shape == expected.shape == (fs // 2 + 1,)
    np.testing.assert_array_equal(feature.axes[0].values, np.arange(fs // 2 + 1))
    assert np.abs(levels - expected).max() < 1e-4 * np.ptp(expected)


@pytest.mark.parametrize("n_fft", [8000, 1000, 7993])
@pytest.mark.parametrize("frequency", [0.0, 1000.0, 1234.5])
@pytest.mark.parametrize("seconds", [1, 20])
def test_weak_bins_beside_a_loud_tone_are_not_lost(
    n_fft: int, frequency: float, seconds: int
) -> None:
    t = np.arange(seconds * 8000) / 8000
    for loudness in (1e-3, 1.0, 1e6):
        quiet = np.cos(2 * np.pi * frequency * t) + 1e-5 * noise(length=len(t))[0]
        window = (loudness * quiet).astype(np.float32)
        (levels,) = pl.Levels(n_fft=n_fft, samplerate=8000, window=float(seconds))(window[None])
        expected = welch(window, 8000, n_fft)
        assert np.abs(levels - expected).max() < 1e-4 * np.ptp(expected)


@given(
    n_fft=st.integers(2, 300),
    overlap=st.sampled_from([0, 0.25, 0.5, 0.75, 0.99]),
    n=st.integers(300, 2000),
)
def test_any_frame_and_overlap_is_as_with_scipy(n_fft: int, overlap: float, n: int) -> None:
    window = noise(length=2000)
    window[0, n:] = 0
    feature = pl.Levels(n_fft=n_fft, overlap=overlap, samplerate=2000, window=1.0)
    (levels,) = feature(window, np.array([n]))
    np.testing.assert_allclose(levels, welch(window[0, :n], 2000, n_fft, overlap), atol=1e-3)


def test_a_partial_window_has_the_frames_that_it_fills() -> None:
    windows, n_samples = noise(5, 40000), np.array([40000, 39999, 8000, 7999, 0])
    for row, n in enumerate(n_samples):
        windows[row, n:] = 0
    feature = pl.Levels(samplerate=8000, window=5.0)
    levels = feature(windows, n_samples)
    for row, n in enumerate(n_samples[:3]):
        np.testing.assert_allclose(levels[row], welch(windows[row, :n], 8000, 8000), atol=1e-3)
    assert (levels[3:] == np.float32(feature.floor)).all()


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("kind", ["millidecade", "decidecade"])
def test_bands_are_those_of_pypam(name: str, kind: Any) -> None:
    rate, n_fft = CASES[name]
    window = sound(rate)
    feature = pl.Levels(
        kind, n_fft, end_to_end_db=END_TO_END_DB, samplerate=rate, window=len(window) / rate
    )
    (axis,) = feature.axes
    assert (axis.name, axis.units) == ("band", "Hz")
    np.testing.assert_allclose(axis.values, PYPAM[f"{name} {kind} centres"], rtol=1e-6)
    if rate == n_fft:
        (levels,) = feature(window[None])
        np.testing.assert_allclose(levels, PYPAM[f"{name} {kind} levels"], atol=1e-4)


@pytest.mark.parametrize("rate", RATES)
def test_there_are_as_many_bands_as_pypam_has(rate: int) -> None:
    kinds: tuple[Any, ...] = ("millidecade", "decidecade")
    found = [pl.Levels(kind, samplerate=rate, window=1.0).shape[0] for kind in kinds]
    assert found == PYPAM[f"counts {rate}"].tolist()


@given(
    kind=st.sampled_from(KINDS),
    rate=st.integers(100, 50_000),
    n_fft=st.integers(4, 5000),
    low=st.floats(0.001, 0.9),
    high=st.floats(0, 1),
)
def test_bands_lie_side_by_side_and_share_out_all_power(
    kind: Any, rate: int, n_fft: int, low: float, high: float
) -> None:
    half = rate / 2
    fmin, fmax = low * half, (low + high * (1 - low)) * half
    feature = pl.Levels(kind, n_fft, fmin=fmin, fmax=fmax, samplerate=rate, window=n_fft / rate)
    means = feature._means
    centres, edges = means.bands.centres, means.bands.edges
    assert feature.shape == centres.shape
    assert (np.diff(edges) > 0).all()
    assert edges[-1] <= half
    assert edges[0] <= fmin < edges[1] * (1 + 1e-12)
    assert edges[-2] * (1 - 1e-12) <= fmax <= edges[-1] * (1 + 1e-12)
    np.testing.assert_allclose(means(np.ones(n_fft // 2 + 1)), 1, rtol=1e-9)  # of white noise
    power = np.random.default_rng(n_fft).random(n_fft // 2 + 1)
    whole = np.interp([edges[0], edges[-1]], *_integral(power, rate / n_fft))
    held = (means(power) * np.diff(edges)).sum()
    np.testing.assert_allclose(held, whole[1] - whole[0], rtol=1e-6, atol=1e-9 * rate)


def _integral(power: Array, width: float) -> tuple[Array, Array]:
    """Power up to each edge of the bins."""
    edges = (np.arange(len(power) + 1) - 0.5) * width
    return edges, np.concatenate([[0], np.cumsum(power) * width])


def test_decidecades_are_where_the_standard_has_them_whatever_is_asked_for() -> None:
    for fmin in (10.0, 50.0, 63.0, 70.0):
        feature = pl.Levels("decidecade", fmin=fmin, fmax=125, samplerate=48000, window=1.0)
        (axis,) = feature.axes
        first = 50.1187 if fmin == 50 else 10.0 if fmin == 10 else 63.0957
        np.testing.assert_allclose(axis.values[[0, -1]], [first, 125.8925], rtol=1e-5)
    (axis,) = pl.Levels("decidecade", samplerate=48000, window=1.0).axes
    assert axis.values[-1] == 24000  # which Nyquist cuts
    (axis,) = pl.Levels("decidecade", fmax=20000, samplerate=48000, window=1.0).axes
    assert axis.values[-1] == pytest.approx(19952.62)
    (axis,) = pl.Levels(fmin=20, fmax=22, samplerate=48000, window=1.0).axes
    assert (axis.name, axis.values.tolist()) == ("frequency", [20, 21, 22])


def test_a_tone_has_the_level_that_calibration_says() -> None:
    tone = np.sin(2 * np.pi * 100 * np.arange(80000) / 8000).astype(np.float32)
    feature = pl.Levels("decidecade", end_to_end_db=176.0, samplerate=8000, window=10.0)
    (level,) = feature(tone[None])[0][feature.axes[0].values == 100]
    width = 100 * (10**0.05 - 10**-0.05)
    # Of full scale at its peak, so that its mean square is 3 dB less.
    assert level + 10 * np.log10(width) == pytest.approx(176 - 3.01, abs=0.01)
    assert feature.units == "dB re 1 uPa^2/Hz"
    plain = pl.Levels("decidecade", samplerate=8000, window=10.0)
    np.testing.assert_allclose(plain(tone[None]) + 176, feature(tone[None]), rtol=1e-6)
    assert plain.units == "dB re full scale^2/Hz"
    assert feature.floor == pytest.approx(plain.floor + 176)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("n_fft", "seconds"), [(None, 1.0), (None, 8.0), (401, 1.0)])
def test_the_bits_do_not_depend_on_the_block(kind: Any, n_fft: int | None, seconds: float) -> None:
    length = round(seconds * 2000)
    windows, n_samples = noise(9, length), np.full(9, length)
    windows[2], windows[3] = 0.3, 0
    windows[4] += np.sin(np.arange(length), dtype=np.float32)
    windows[4] *= np.float32(1e-3)
    windows[5, 2500:], n_samples[5] = 0, min(2500, length)
    windows[6, 100:], n_samples[6] = 0, 100
    feature = pl.Levels(kind, n_fft, samplerate=2000, window=seconds)
    whole = feature(windows, n_samples)
    for size in (1, 2, 5):
        for a in range(0, 9, size):
            some = slice(a, a + size)
            assert np.array_equal(feature(windows[some], n_samples[some]), whole[some])
    shifted = np.empty(9 * length + 1, np.float32)[1:].reshape(9, length)
    shifted[:] = windows
    assert np.array_equal(feature(shifted, n_samples, out=np.empty_like(whole)), whole)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_overflows_and_silence_is_the_floor(kind: Any) -> None:
    for seconds in (1.0, 10.0):
        feature = pl.Levels(kind, samplerate=8000, window=seconds)
        signs = np.sign(noise(length=round(seconds * 8000)))
        for loudness in (3e38, 1e20, 1e-20, 1e-38):
            levels = feature(np.float32(loudness) * signs)
            assert np.isfinite(levels).all()
            assert (levels >= np.float32(feature.floor)).all()
        assert (feature(0 * signs) == np.float32(feature.floor)).all()
        assert feature.floor == pytest.approx(-300)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"bands": "octave"}, "bands is 'octave'; allowed are psd, decidecade and millidecade"),
        ({"n_fft": 1}, "n_fft is 1; it must be a whole number of at least 2"),
        ({"overlap": 1}, "overlap is 1; it must be a number from 0 to 0.99"),
        ({"end_to_end_db": -176}, "the level of full scale, which is no sensitivity"),
        ({"fmin": -1}, "fmin is -1; it must be a number of Hz from 0"),
        ({"fmin": 0, "bands": "decidecade"}, "no decidecade band; pass one above 0"),
        ({"fmin": 4000}, "fmin 4000 to fmax 4000 Hz cannot be had at a samplerate of 8000; pass"),
        ({"fmax": 5000}, "fmin below 4000, and an fmax from it to that"),
        ({"fmin": 20, "fmax": 10}, "fmin 20 to fmax 10 Hz"),
        ({"n_fft": 8001}, "n_fft is 8001 samples, more than the 8000 of a window; pass a smaller"),
    ],
)
def test_what_is_wrong_is_said(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        pl.Levels(**parameters, samplerate=8000, window=1.0)


def test_windows_of_another_length_are_refused() -> None:
    feature = bind(pl.Levels(), 8000, 1.0)
    with pytest.raises(ValueError, match=r"shape \(2, 7999\); the feature is for \(window, 8000\)"):
        feature(noise(2, 7999))


def test_levels_of_a_recording_are_stored_with_their_bands(cli: Cli, write_wav: Write) -> None:
    path = write_wav("a.wav", 7)
    options = ["--feature", "levels", "--bands", "decidecade", "--end-to-end-db", 170]
    assert cli("extract", path, "--out", "x.zarr", "--window", 2, *options).code == 0
    stored = xarray.open_zarr("x.zarr")
    assert stored.features.dims == ("window", "band")
    assert stored.features.attrs["units"] == "dB re 1 uPa^2/Hz"
    assert stored.band.attrs["units"] == "Hz"
    assert stored.band[0] == 10
    samples = soundfile.read(path, dtype="float32")[0]
    feature = pl.Levels("decidecade", end_to_end_db=170, samplerate=8000, window=2.0)
    np.testing.assert_array_equal(stored.features[1], feature(samples[None, 16000:32000])[0])
    planned = json.loads(cli("plan", path, "--out", "y.zarr", *options, "--json").out)
    assert planned["shape"] == [7, 27]
