"""MFCC equal those of other tools, with deltas that see beyond their window."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import kaldi_native_fbank as knf
import librosa
import numpy as np
import pytest
import scipy.fft
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
from test_mel import CONTEXTS, HOPS, LENGTHS, geometries

from pipeline import MFCC

CLIP = {"samplerate": 16000, "window": 0.25, "context": "window"}


def with_deltas(mfcc: Array) -> Array:
    """As people stack them that use librosa."""
    return np.concatenate([mfcc, *(librosa.feature.delta(mfcc, order=n) for n in (1, 2))])


@pytest.mark.parametrize("name", RECORDINGS)
def test_windows_side_by_side_are_librosa_s_whole_recording(audio: Path, name: str) -> None:
    samples, rate = read(audio / name)
    frames = {"n_fft": 1024, "hop_length": rate // 50, "n_mels": 40}
    mel = librosa.feature.melspectrogram(y=samples.astype(np.float64), sr=rate, **frames)
    expected = librosa.feature.mfcc(S=librosa.power_to_db(mel, top_db=None), n_mfcc=13)
    feature = MFCC(**frames, n_mfcc=13, deltas=2, samplerate=rate, window=1.0)
    found = side_by_side(feature, samples)
    columns = min(found.shape[1], expected.shape[1])
    for rows, part in zip(np.split(found, 3), np.split(with_deltas(expected), 3), strict=True):
        assert_near(rows[:, :columns], part[:, :columns])
    assert found[1:, columns:] == pytest.approx(0, abs=1e-3)
    assert found[0, columns:] == pytest.approx(-100 * np.sqrt(40), rel=1e-5)


@pytest.mark.parametrize("name", RECORDINGS)
def test_a_window_that_keeps_to_itself_is_librosa_s_clip(audio: Path, name: str) -> None:
    samples, rate = read(audio / name, 5.5)
    options = {"n_fft": 1024, "n_mels": 30, "hop_length": rate // 40}
    feature = MFCC.preset(
        "librosa", **options, deltas=2, context="window", samplerate=rate, window=1.0
    )
    windows, inside = windows_of(feature, samples)
    for row, (_, n), found in zip(windows, inside, feature(windows, inside), strict=True):
        expected = with_deltas(librosa.feature.mfcc(y=row[:n], sr=rate, **options))
        assert_near(found[:20, : expected.shape[1]], expected[:20])
        assert_near(found[20:, : expected.shape[1]], expected[20:], least_range=1)
        assert (found[20:, expected.shape[1] :] == 0).all()


@pytest.mark.parametrize("use_energy", [True, False])
@pytest.mark.parametrize("snip_edges", [True, False])
def test_windows_side_by_side_are_kaldi_s(audio: Path, snip_edges: bool, use_energy: bool) -> None:
    samples, rate = read(audio / "meeting-16k/trn01.wav", 6.4)
    options = knf.MfccOptions()
    options.frame_opts.dither, options.frame_opts.snip_edges = 0, snip_edges
    options.use_energy = use_energy
    computer = knf.OnlineMfcc(options)
    computer.accept_waveform(rate, (32768 * samples).tolist())
    computer.input_finished()
    n_frames = computer.num_frames_ready
    expected = np.stack([computer.get_frame(i) for i in range(n_frames)], axis=1)
    edges = {} if snip_edges else {"center": "hop", "pad_mode": "symmetric"}
    feature = MFCC.preset(
        "kaldi", **edges, use_energy=use_energy, deltas=2, samplerate=rate, window=1.0
    )
    found = side_by_side(feature, samples)
    assert np.abs(found[:13, :n_frames] - expected).max() < 1e-3
    for order in (1, 2):
        rows = found[13 * order : 13 * (order + 1)]
        assert_near(rows[:, :n_frames], of_kaldi(expected, order))
        assert (rows[:, n_frames:] == 0).all()


def of_kaldi(values: Array, order: int) -> Array:
    """DeltaFeatures of feature-functions.cc, with a window of 2."""
    scales = np.ones(1)
    for _ in range(order):
        scales = np.convolve(scales, np.arange(-2, 3) / 10)
    half, n = len(scales) // 2, values.shape[1]
    frames = np.clip(np.arange(n)[:, None] + np.arange(-half, half + 1), 0, n - 1)
    return np.asarray(values[:, frames] @ scales)


@pytest.mark.filterwarnings("ignore:.*bands lie between two frequencies")
def test_the_preset_torchaudio_is_torchaudio_s() -> None:
    feature = MFCC.preset("torchaudio", deltas=1, **CLIP)
    found = feature(chirp()[None])[0]
    assert_near(found[:40], STORED["mfcc"])
    assert_near(found[40:], STORED["delta"])


@pytest.mark.parametrize("dct_type", [1, 2, 3])
@pytest.mark.parametrize("norm", ["ortho", None])
@pytest.mark.parametrize("lifter", [0, 22, 7.5])
def test_every_parameter_of_the_transform_means_what_it_means_to_librosa(
    dct_type: Any, norm: Any, lifter: float
) -> None:
    options = {"n_fft": 1024, "hop_length": 500, "n_mels": 30}
    own = {"n_mfcc": 17, "dct_type": dct_type, "norm": norm, "lifter": lifter}
    feature = MFCC.preset("librosa", **options, **own, **CLIP)
    expected = librosa.feature.mfcc(y=chirp(), sr=16000, **options, **own)
    assert_near(feature(chirp()[None])[0], expected)


def test_the_lifter_of_kaldi_counts_from_0() -> None:
    plain = MFCC(n_mfcc=13, **CLIP)
    liftered = dataclasses.replace(plain, lifter=22, lifter_first=0)
    factors = 1 + 11 * np.sin(np.pi * np.arange(13) / 22)
    expected = plain(chirp()[None])[0] * factors[:, None]
    assert_near(liftered(chirp()[None])[0], expected)


@pytest.mark.parametrize("delta_width", [3, 5, 11])
@pytest.mark.parametrize("n_samples", [15, 40, 75, 120, 433])
def test_deltas_of_short_recordings(n_samples: int, delta_width: int) -> None:
    options = {"n_fft": 64, "hop_length": 10, "n_mels": 8, "n_mfcc": 5, "samplerate": 1000}
    feature = MFCC(**options, deltas=2, delta_width=delta_width, window=0.05)
    samples = noise(n_samples)
    found = side_by_side(feature, samples)
    whole = dataclasses.replace(feature, window=(n_samples // 10 + 1) / 100)
    values = side_by_side(whole, samples)[:5, : n_samples // 10 + 1]
    n = values.shape[1]
    for order in (1, 2):
        if n >= delta_width:
            expected = librosa.feature.delta(values, width=delta_width, order=order)
        elif n > order:  # the polynomial through what there is
            slopes = np.polynomial.polynomial.polyfit(np.arange(n), values.T, order)[order]
            expected = np.repeat(order * slopes[:, None], n, axis=1)
        else:
            expected = np.zeros_like(values)
        rows = found[5 * order : 5 * (order + 1)]
        shared = min(n, rows.shape[1])
        np.testing.assert_allclose(rows[:, :shared], expected[:, :shared], atol=2e-4)
        assert (rows[:, shared:] == 0).all()


def test_levels_are_relative_to_the_loudest_of_each_window_alone() -> None:
    samples = np.concatenate([chirp(), 1e-3 * chirp(), chirp()])
    options = {"n_mels": 20, "n_mfcc": 20, "samplerate": 16000, "window": 0.25}
    feature = MFCC(**options, deltas=1, top_db=30)
    found = feature(*windows_of(feature, samples))
    levels = scipy.fft.idct(side_by_side(MFCC(**options), samples), axis=0, norm="ortho")
    for t, loudest in enumerate(levels[:, a : a + 25].max() for a in (0, 25, 50)):
        # Also the frames beside the window, which its deltas see.
        values = scipy.fft.dct(np.maximum(levels, loudest - 30), axis=0, norm="ortho")
        own = slice(25 * t, 25 * t + 25)
        assert_near(found[t, :20], values[:, own])
        assert_near(found[t, 20:, :20], librosa.feature.delta(values)[:, own][:, :20])


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_mfcc": 65}, "n_mfcc is 65; it must be a whole number from 1 to n_mels, which is 64"),
        ({"dct_type": 4}, "dct_type is 4; it must be a whole number from 1 to 3"),
        ({"norm": "orthogonal"}, "allowed are ortho and None"),
        ({"output": "power"}, "output is 'power'; allowed are db, log and log10"),
        ({"deltas": 3}, "deltas is 3; it must be a whole number from 0 to 2"),
        ({"delta_width": 8}, "so that no frame is in its middle; pass an odd number"),
        ({"delta_width": 1}, "delta_width is 1; it must be a whole number of frames from 3"),
        ({"lifter": -1}, "lifter is -1; it must be a number from 0"),
        ({"dct_type": 1, "n_mels": 1, "n_mfcc": 1}, "needs two bands; pass a larger n_mels"),
    ],
)
def test_parameters_are_checked_when_made(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]*$") as error:
        MFCC(**parameters)
    assert message in str(error.value)


def test_silence_is_finite_and_its_axes_are_told() -> None:
    feature = MFCC.preset("kaldi", deltas=1, samplerate=16000, window=1.0)
    windows, inside = windows_of(feature, np.zeros(40000, np.float32))
    found = feature(windows, inside)
    assert found.shape == (3, 26, 100) == (3, *(axis.values.size for axis in feature.axes))
    assert [axis.name for axis in feature.axes] == ["coefficient", "time"]
    assert np.allclose(found[:, 0], np.log(np.finfo(np.float32).eps))
    assert np.abs(found[:, 1:]).max() < 1e-4
    loud = np.float32(3e38) * np.sign(noise(windows.size).reshape(windows.shape))
    assert np.isfinite(feature(loud)).all()


@st.composite
def coefficients(draw: st.DrawFn) -> dict[str, Any]:
    """Of any parameters on which frames outside of a window bear."""
    return {
        **draw(geometries()),
        "n_mfcc": draw(st.integers(1, 6)),
        "deltas": draw(st.integers(0, 2)),
        "delta": draw(st.sampled_from(["savgol", "regression"])),
        "delta_width": draw(st.sampled_from([3, 5, 9])),
        "use_energy": draw(st.booleans()),
    }


@given(coefficients(), st.integers(1, 3000))
def test_columns_side_by_side_are_those_of_one_window(
    parameters: dict[str, Any], n_samples: int
) -> None:
    assert_seamless(MFCC(**parameters), noise(n_samples))


@given(coefficients(), CONTEXTS, st.sampled_from([None, 20.0]), LENGTHS, HOPS, st.integers(1, 40))
def test_the_bits_do_not_depend_on_the_block(
    parameters: dict[str, Any],
    context: Any,
    top_db: float | None,
    lengths: list[int],
    hop: int | None,
    size: int,
) -> None:
    feature = MFCC(**parameters, context=context, top_db=top_db)
    assert_same_in_any_block(feature, lengths, hop, size)
