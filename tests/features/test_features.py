"""The spectrogram equals SciPy's, on real recordings and at the edges."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import scipy.signal
import soundfile
from conftest import loaded
from hypothesis import given
from hypothesis import strategies as st

from pipeline.features import Spectrogram, bind, compute_features
from pipeline.kernels.taper import taper_weights

Array = npt.NDArray[Any]
FLOOR = np.log(1e-6)

RECORDINGS = [
    "digits-8k/digits_long.wav",
    "fly-song-2500Hz/20161207T102314_ch1.wav",
    "meeting-16k/trn01.wav",
    "spinetail-44k/spinetail.wav",
    "blackbird-48k/242A2604603691DD_20250503_031300.WAV",
    "edge/near_silence_3s_8k.wav",
]


def article(x: Array, fs: int) -> Array:
    """The article's own steps, in float64."""
    x = x.astype(np.float64)
    x = (x - x.mean()) / x.std()
    _, _, power = scipy.signal.spectrogram(x, fs, nperseg=int(fs / 400), noverlap=0, nfft=512)
    return np.log(power + 1e-6)[:, :400]


def noise(n_windows: int = 4, length: int = 8000) -> npt.NDArray[np.float32]:
    rng = np.random.default_rng(1)
    return rng.standard_normal((n_windows, length)).astype(np.float32)


@pytest.mark.parametrize("name", RECORDINGS)
def test_the_default_is_the_article_s_on_real_recordings(audio: Path, name: str) -> None:
    samples, fs = soundfile.read(audio / name, dtype="float32")
    windows = samples[: len(samples) // fs * fs].reshape(-1, fs)[:60]
    feature = Spectrogram(samplerate=fs)
    X = feature(windows)
    assert feature.shape == X.shape[1:] == (257, 400)
    for window, x in zip(windows, X, strict=True):
        if window.std() == 0:
            assert (x == np.float32(FLOOR)).all()
        else:
            assert np.abs(article(window, fs) - x).max() < 1e-4


@pytest.mark.parametrize("n", [1, 5, 19, 20, 21, 4000, 7999])
def test_a_partial_window_is_normalised_over_the_samples_it_has(n: int) -> None:
    windows = noise(1)
    windows[0, n:] = 0
    X = Spectrogram()(windows, n_samples=np.array([n]))[0]
    complete = n // 20
    assert np.allclose(X[:, complete:], FLOOR, atol=1e-5)
    if complete:
        expected = article(windows[0, :n], 8000)
        assert expected.shape[1] == complete
        assert np.abs(expected - X[:, :complete]).max() < 1e-4


@pytest.mark.parametrize("value", [0.0, 0.1, -0.3, 1.0, 1e-20])
def test_a_constant_window_is_at_the_floor(value: float) -> None:
    windows = np.full((1, 8000), value, np.float32)
    assert np.allclose(Spectrogram()(windows), FLOOR, atol=1e-5)
    assert np.allclose(Spectrogram()(windows, n_samples=np.array([100])), FLOOR, atol=1e-5)


@given(
    frame_length=st.sampled_from([16, 20, 64, 100, 256, 500]),
    overlap=st.sampled_from([0.0, 0.5, 0.75]),
    n_fft=st.sampled_from([512, 1024, 501]),
    taper=st.sampled_from(["hann", "boxcar", ("tukey", 0.25), ("kaiser", 8.0)]),
    scaling=st.sampled_from(["density", "spectrum"]),
    detrend=st.sampled_from(["constant", "linear", None]),
)
def test_every_parameter_means_what_it_means_to_scipy(
    frame_length: int, overlap: float, n_fft: int, taper: Any, scaling: Any, detrend: Any
) -> None:
    hop = frame_length - int(frame_length * overlap)
    feature = Spectrogram(
        n_fft, frame_length, hop, taper, scaling, detrend, normalize=False, log_offset=None
    )
    windows = noise(2)
    frequencies, times, power = scipy.signal.spectrogram(
        windows.astype(np.float64),
        8000,
        window=taper,
        nperseg=frame_length,
        noverlap=frame_length - hop,
        nfft=n_fft,
        scaling=scaling,
        detrend=detrend or False,
    )
    X = feature(windows)
    assert X.shape[1:] == feature.shape == power.shape[1:]
    np.testing.assert_allclose(X, power, rtol=1e-4, atol=2e-6 * power.max())
    np.testing.assert_allclose(feature.frequencies, frequencies)
    np.testing.assert_allclose(feature.times, times)


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize(
    ("n_fft", "frame_length", "hop_length"),
    [(512, 20, 20), (64, 21, 50), (512, 256, 256), (128, 128, 64), (64, 64, 333)],
)
def test_the_bits_do_not_depend_on_the_block(
    n_fft: int, frame_length: int, hop_length: int, normalize: bool
) -> None:
    feature = Spectrogram(n_fft, frame_length, hop_length, normalize=normalize)
    windows, n_samples = noise(70), np.full(70, 8000)
    windows[5], windows[6] = 0.3, 0
    for row, n in ((11, 7000), (12, 100), (13, 0), (40, 7000)):
        windows[row, n:], n_samples[row] = 0, n
    whole = feature(windows, n_samples)
    assert len(np.unique(whole[[5, 6, 13]])) == 1 or not normalize
    for size in (1, 3, 64):
        for a in range(0, 70, size):
            some = slice(a, a + size)
            assert np.array_equal(feature(windows[some], n_samples[some]), whole[some])
    shifted = np.empty(70 * 8000 + 1, np.float32)[1:].reshape(70, 8000)
    shifted[:] = windows
    assert np.array_equal(feature(shifted, n_samples), whole)


def test_more_frames_than_400_a_second_are_left_out_by_default() -> None:
    assert Spectrogram(samplerate=2500).shape == (257, 400)
    assert Spectrogram(samplerate=44100).shape == (257, 400)
    assert Spectrogram(samplerate=2500, window=2.0).shape == (257, 800)
    assert Spectrogram(samplerate=2500, frame_length=6).shape == (257, 416)


def test_every_number_is_rounded_to_float16_as_numpy_does() -> None:
    every = np.arange(2**16, dtype=np.uint16).view(np.float16).astype(np.float32)
    every = np.sort(every[np.isfinite(every)])
    between = (every[1:] + every[:-1]) / 2  # exact in float32: half of them go up, half down
    rng = np.random.default_rng(0)
    anything = rng.integers(0, 2**32, 100_000, dtype=np.uint32).view(np.float32)
    for values in (every, between, np.nextafter(between, 1), anything[np.isfinite(anything)]):
        fitting = np.clip(values, -65504, 65504)
        (found,) = compute_features(Written(fitting), noise(1), np.array([8000]), np.float16)
        assert np.array_equal(found.view(np.uint16), fitting.astype(np.float16).view(np.uint16))


class Written:
    """Writes what it was told to where it is told to."""

    frequencies = None

    def __init__(self, values: Array) -> None:
        self.values, self.shape, self.times = values, values.shape, np.arange(len(values))

    def __call__(self, windows: Array, /, out: Array) -> Array:
        assert out.dtype == np.float32
        out[...] = self.values
        return out


def test_float16_is_the_rounded_float32() -> None:
    windows, n_samples = noise(25), np.full(25, 8000)
    windows[3, 5], windows[21] = np.nan, 0
    whole, rounded = (
        compute_features(Spectrogram(), windows, n_samples, dtype)
        for dtype in (np.float32, np.float16)
    )
    assert np.array_equal(rounded, whole.astype(np.float16))
    assert Spectrogram()(windows, out=whole) is whole


def test_nothing_overflows() -> None:
    loud = np.float32(3e38) * np.sign(noise(1))
    power = Spectrogram(normalize=False, log_offset=None)
    assert np.isfinite(power(loud)).all()
    assert np.isfinite(Spectrogram()(loud)).all()


@pytest.mark.parametrize("scaling", ["density", "spectrum"])
def test_every_output_is_the_power_otherwise(scaling: Any) -> None:
    windows = (np.random.default_rng(3).standard_normal((3, 8000)) * 0.1).astype(np.float32)
    windows[1] = 0
    power = Spectrogram(scaling=scaling, log_offset=None)(windows)
    for output, expected, units in (
        ("log", np.log(power + 1e-6), "1"),
        ("db", 10 * np.log10(power + 1e-6), "dB"),
        ("power", power, "1"),
        ("magnitude", np.sqrt(power), "1"),
    ):
        feature = Spectrogram(scaling=scaling, output=output)
        np.testing.assert_allclose(feature(windows), expected, rtol=2e-6, atol=2e-5)
        assert (feature(windows)[1] == np.float32(feature.floor)).all()
        assert feature.units == units
        assert feature.linear == (output in ("power", "magnitude"))
    with pytest.raises(ValueError, match="output is 'db', of which log_offset is none; pass a"):
        Spectrogram(output="db", log_offset=None)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_fft": 0}, "n_fft is 0; it must be a whole number of at least 1"),
        ({"n_fft": None}, "n_fft is None"),
        ({"hop_length": 2.5}, "hop_length is 2.5"),
        ({"frame_length": True}, "frame_length is True"),
        ({"frame_length": 600}, "n_fft is 512, less than the 600 samples of a frame; raise n_fft"),
        ({"samplerate": 300_000}, "raise n_fft to at least 750"),
        ({"samplerate": 300}, "0 samples; give a frame_length"),
        ({"window": 0.001, "samplerate": 8000}, "more than the 8 of a window"),
        ({"samplerate": 500}, "samplerate is 500 Hz, so that frame_length is 1, of which detrend"),
        ({"frame_length": 1}, "leaves nothing; give a frame_length of at least 2, or detrend none"),
        ({"frame_length": 2, "detrend": "linear"}, "give a frame_length of at least 3, or"),
        ({"taper": ("gaussian", 0)}, "which has no weight on 20 samples"),
        ({"taper": "hannibal"}, "taper is 'hannibal', which scipy.signal.get_window refuses"),
        (
            {"taper": "hann", "frame_length": 1, "scaling": "loud"},
            "allowed are density and spectrum",
        ),
        ({"detrend": "quadratic"}, "allowed are constant, linear and None"),
        ({"normalize": "yes"}, "allowed are True and False"),
        ({"log_offset": 0.0}, "log_offset is 0.0; it must be a number above 0, or None"),
        ({"log_offset": float("nan")}, "log_offset is nan"),
    ],
)
def test_parameters_are_checked_when_made(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]*$") as error:
        Spectrogram(**parameters)
    assert message in str(error.value)


def test_frames_that_detrend_leaves_something_of_are_taken() -> None:
    for parameters in ({"frame_length": 2}, {"frame_length": 1, "detrend": None}):
        X = Spectrogram(**parameters, samplerate=500)(noise(1, 500))  # type: ignore[arg-type]
        assert len(np.unique(X)) > 100
    assert Spectrogram(frame_length=3, detrend="linear").shape == (257, 2666)


def test_scipy_is_loaded_where_something_is_computed() -> None:
    code = (
        "import pipeline.features as f; f.bind(f.Spectrogram(n_fft=256), 16000, 2.0).shape; "
        "f.make_feature('spectrogram', {})"
    )
    assert {"scipy", "dask", "numpy"} & loaded(code) == {"numpy"}


def test_windows_of_another_length_are_refused() -> None:
    with pytest.raises(ValueError, match=r"the feature is for \(window, 8000\)"):
        Spectrogram()(noise(1, 4000))


def test_bind_fills_in_rate_and_window_or_refuses_others() -> None:
    assert bind(Spectrogram(), 16000, 0.5) == Spectrogram(samplerate=16000, window=0.5)
    with pytest.raises(ValueError, match="samplerate=8000, but the recordings have"):
        bind(Spectrogram(samplerate=8000), 16000, 1.0)

    @dataclasses.dataclass(frozen=True)
    class Own:
        samplerate: int | None = None
        shape = (1,)
        frequencies = np.zeros(1)
        times = None

        def __call__(self, windows: Array) -> Array:
            return windows.mean(axis=1, keepdims=True)

    assert bind(Own(), 16000, 0.5) == Own(samplerate=16000)


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_no_frame_is_lost_to_rounding(rate: int) -> None:
    for milliseconds in range(20, 3000, 5):
        feature = Spectrogram(samplerate=rate, window=milliseconds / 1000)
        samples = round(milliseconds / 1000 * rate)
        assert feature.shape[1] == min(samples // (rate // 400), 400 * samples // rate)


def test_long_frames_are_for_long_windows() -> None:
    unbound = Spectrogram(n_fft=16384, frame_length=10000)
    assert bind(unbound, 8000, 5.0).shape == (8193, 4)
    with pytest.raises(ValueError, match="more than the 8000 of a window"):
        bind(unbound, 8000, 1.0)
    assert bind(Spectrogram(window=1 / 3), 8000, 2667 / 8000).shape == (257, 133)


@given(st.integers(1, 5000), st.sampled_from(["hann", ("tukey", 0.25)]))
def test_a_taper_is_that_of_scipy_to_the_bit(length: int, taper: Any) -> None:
    expected = scipy.signal.get_window(taper, length)
    np.testing.assert_array_equal(taper_weights(taper, length), expected)


def test_the_taper_of_kaldi_is_a_symmetric_one() -> None:
    expected = scipy.signal.get_window("hann", 400, fftbins=False) ** 0.85
    np.testing.assert_array_equal(taper_weights("povey", 400), expected)
