"""Indices equal scikit-maad's, on real recordings and at the edges."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
import xarray
from conftest import Cli, Write
from hypothesis import given
from hypothesis import strategies as st

import pipeline as pl

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of what it imports
    from maad import features as maad
    from maad.sound import spectrogram

Array = npt.NDArray[Any]

RECORDINGS = [
    "hydrophone-8k-flac/67416073.210610033655.flac",
    "humpback-44k-ogg/glacier-bay-humpback.hq.ogg",
    "blackbird-48k/242A2604603691DD_20250503_031300.WAV",
    "spinetail-44k/spinetail.wav",
    "meeting-16k/trn01.wav",
    "fly-song-2500Hz/20161207T102314_ch1.wav",
    "speech-music-mp3/musanmix.mp3",
    "edge/near_silence_3s_8k.wav",
]


def noise(n_windows: int = 1, length: int = 8000) -> npt.NDArray[np.float32]:
    rng = np.random.default_rng(1)
    return (0.1 * rng.standard_normal((n_windows, length))).astype(np.float32)


def of_maad(x: Array, fs: int, of: pl.Indices) -> Array:
    """The same, in float64, with 0 where it has no number."""
    x, n, detrend = x.astype(np.float64), of.n_fft, of.detrend or False
    hop = of.hop_length or n // 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of 0 / 0
        power, _, f, _ = spectrogram(x, fs, nperseg=n, noverlap=n - hop, detrend=detrend)
        a = np.sqrt(power)
        found = {
            "ACI": maad.acoustic_complexity_index(a)[2],
            "NDSI": maad.soundscape_index(power, f, of.flim_bioph, of.flim_antroph)[0],
            "BI": maad.bioacoustics_index(a, f, of.flim_bi),
            "ADI": maad.acoustic_diversity_index(
                a, f, of.fmin, of.fmax, of.adi_bin_step, of.db_threshold
            ),
            "AEI": maad.acoustic_eveness_index(
                a, f, of.fmin, of.fmax, of.aei_bin_step, of.db_threshold
            ),
            "Hf": maad.frequency_entropy(power)[0],
            "Ht": maad.temporal_entropy(x, Nt=of.nt),
        }
    return np.nan_to_num(np.array([found[name] or 0.0 for name in of.indices], np.float64))


def check(window: Array, fs: int, n: int | None = None, **parameters: Any) -> None:
    feature = pl.Indices(**parameters, samplerate=fs, window=len(window) / fs)
    n = len(window) if n is None else n
    (found,) = feature(window[None], np.array([n]))
    np.testing.assert_allclose(found, of_maad(window[:n], fs, feature), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", RECORDINGS)
def test_indices_are_those_of_scikit_maad_on_real_recordings(audio: Path, name: str) -> None:
    samples, fs = soundfile.read(audio / name, frames=15 * 48000, dtype="float32")
    check(samples, fs)
    check(np.clip(20 * samples, -1, 1), fs)
    for n in (len(samples) // 2 + 1, 3 * 1024 - 1):
        partial = samples.copy()
        partial[n:] = 0
        check(partial, fs, n)


@given(
    n_fft=st.sampled_from([64, 256, 1000, 1024, 333]),
    overlap=st.sampled_from([0.0, 0.5, 0.75]),
    detrend=st.sampled_from(["constant", None]),
    rate=st.sampled_from([8000, 22050, 48000]),
    offset=st.sampled_from([0.0, 0.3]),
    limits=st.sampled_from([(1000.0, 4000.0), (2000.0, 30000.0)]),
    db_threshold=st.sampled_from([-50.0, -20.0]),
)
def test_every_parameter_means_what_it_means_to_scikit_maad(
    n_fft: int,
    overlap: float,
    detrend: Any,
    rate: int,
    offset: float,
    limits: tuple[float, float],
    db_threshold: float,
) -> None:
    check(
        noise(length=6000)[0] + np.float32(offset),
        rate,
        n_fft=n_fft,
        hop_length=n_fft - int(n_fft * overlap),
        detrend=detrend,
        flim_bioph=limits,
        flim_antroph=(0.0, 1500.0),
        flim_bi=limits,
        fmax=12000.0,
        adi_bin_step=800.0,
        aei_bin_step=1000.0,
        db_threshold=db_threshold,
        nt=300,
    )


@pytest.mark.parametrize("value", [0.0, 0.25, -1.0])
def test_a_silent_window_has_numbers(value: float) -> None:
    window = np.full(48000, value, np.float32)
    check(window, 48000)
    window[:20000] = 0
    check(window, 48000)


def test_a_window_without_a_frame_is_the_floor() -> None:
    feature = pl.Indices(samplerate=8000, window=1.0)
    found = feature(noise(3), np.array([8000, 1023, 0]))
    assert (found[1:] == 0).all()
    assert found[0].all()


@pytest.mark.parametrize("hop_length", [None, 100, 1024])
def test_the_bits_do_not_depend_on_the_block(hop_length: int | None) -> None:
    windows, n_samples = noise(9, 8000), np.full(9, 8000)
    windows[2], windows[3] = 0.3, 0
    windows[5, 3000:], n_samples[5] = 0, 3000
    windows[6, 100:], n_samples[6] = 0, 100
    feature = pl.Indices(hop_length=hop_length, samplerate=8000, window=1.0)
    whole = feature(windows, n_samples)
    for size in (1, 2, 5):
        for a in range(0, 9, size):
            some = slice(a, a + size)
            assert np.array_equal(feature(windows[some], n_samples[some]), whole[some])
    shifted = np.empty(9 * 8000 + 1, np.float32)[1:].reshape(9, 8000)
    shifted[:] = windows
    assert np.array_equal(feature(shifted, n_samples, out=np.empty_like(whole)), whole)


def test_nothing_overflows() -> None:
    feature = pl.Indices(samplerate=8000, window=1.0)
    for loudness in (3e38, 1e-20, 1e-38):
        quiet = feature(np.float32(loudness) * np.sign(noise()))
        np.testing.assert_allclose(quiet, feature(np.sign(noise())), rtol=1e-4, atol=1e-4)


def test_indices_come_in_the_order_in_which_they_are_asked_for() -> None:
    every = pl.Indices(samplerate=8000, window=1.0)
    some = pl.Indices(("Ht", "ACI"), samplerate=8000, window=1.0)
    names = every.indices
    np.testing.assert_array_equal(
        some(noise())[0], every(noise())[0][[names.index("Ht"), names.index("ACI")]]
    )
    (axis,) = some.axes
    assert (axis.name, axis.long_name, axis.values.tolist()) == ("index", "0 Ht, 1 ACI", [0, 1])
    assert pl.Indices("Ht, ACI") == pl.Indices(["Ht", "ACI"]) == pl.Indices(("Ht", "ACI"))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"indices": ("ACIs",)}, "'ACIs' is not a known index; did you mean 'ACI'?"),
        ({"indices": ()}, "indices is (); it must be some of ACI, NDSI,"),
        ({"indices": ("ACI", "ACI")}, "each once"),
        ({"n_fft": 2}, "n_fft is 2; it must be a whole number of at least 4"),
        ({"n_fft": 8000}, "n_fft is 8000 samples, of which the 8000 of a window hold no frame"),
        ({"n_fft": 4}, "whose bins of 2000 Hz are wider than the 1000 of flim_antroph; pass a"),
        ({"flim_bi": (3, 2)}, "flim_bi is (3, 2); it must be two numbers of Hz, the lower one"),
        ({"flim_bioph": 3}, "flim_bioph is 3; it must be two numbers of Hz"),
        ({"fmax": 400}, "fmin is 0 and fmax 400 Hz, between which there is no band of 1000 Hz"),
        ({"db_threshold": 50}, "db_threshold is 50; it must be a number of dB up to 0"),
        ({"detrend": "linear"}, "detrend is 'linear'; allowed are constant and None"),
    ],
)
def test_what_is_wrong_is_said(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        pl.Indices(
            **{"hop_length": 8000 if "n_fft" in parameters else None, **parameters},
            samplerate=8000,
            window=1.0,
        )


def test_indices_of_a_recording_are_stored_with_their_names(cli: Cli, write_wav: Write) -> None:
    path = write_wav("a.wav", 7)
    options = ["--feature", "indices", "--indices", "BI,Ht", "--flim-bi", "[1000, 3000]"]
    ended = cli("extract", path, "--out", "x.zarr", "--window", 2, *options)
    assert ended.code == 0, ended.err
    stored = xarray.open_zarr("x.zarr")
    assert stored.features.dims == ("window", "index")
    assert stored["index"].attrs["long_name"] == "0 BI, 1 Ht"
    samples = soundfile.read(path, dtype="float32")[0]
    feature = pl.Indices(("BI", "Ht"), flim_bi=(1000, 3000), samplerate=8000, window=2.0)
    np.testing.assert_array_equal(stored.features[1], feature(samples[None, 16000:32000])[0])
