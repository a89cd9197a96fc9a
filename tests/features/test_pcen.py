"""PCEN equals librosa's of the whole recording, in whatever block a window comes."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import pytest
import soundfile
from clips import RECORDINGS, Array, assert_near, noise, read, side_by_side, windows_of
from conftest import Write
from hypothesis import given
from hypothesis import strategies as st
from test_mel import geometries

from pipeline import PCEN, WindowGrid, map_windows, open_windows, scan
from pipeline.windows import compute_windows

SMALL = {"n_fft": 64, "hop_length": 10, "n_mels": 8, "samplerate": 1000}


def of_librosa(samples: Array, rate: int, frames: dict[str, Any], **parameters: Any) -> Array:
    """In float64, but for the filters."""
    mel = librosa.feature.melspectrogram(y=samples.astype(float), sr=rate, power=1, **frames)
    hop = frames["hop_length"]
    with np.errstate(divide="ignore"):  # a logarithm of silence
        return librosa.pcen(mel.astype(float) * 2**31, sr=rate, hop_length=hop, **parameters)


@pytest.mark.parametrize("name", RECORDINGS)
def test_windows_side_by_side_are_librosa_s_whole_recording(audio: Path, name: str) -> None:
    samples, rate = read(audio / name, 20.3)
    frames = {"n_fft": 1024, "hop_length": rate // 50, "n_mels": 40}
    feature = PCEN(**frames, samplerate=rate, window=1.0)
    expected = of_librosa(samples, rate, frames)
    found = side_by_side(feature, samples)
    columns = min(found.shape[1], expected.shape[1])
    assert_near(found[:, :columns], expected[:, :columns])
    assert (found[:, columns:] == feature.floor).all()
    assert not feature(np.zeros((1, len(windows_of(feature, samples)[0][0])))).any()


@pytest.mark.parametrize(
    "parameters",
    [
        {"gain": 0},
        {"gain": 0.8, "power": 0.25, "bias": 10, "eps": 1e-3},
        {"power": 0},
        {"bias": 0},
        {"power": 1, "b": 0.05},
        {"b": 1},
        {"max_size": 3},
        {"time_constant": 0.06, "max_size": 40},
        {"time_constant": 3},
    ],
)
def test_every_parameter_means_what_it_means_to_librosa(
    audio: Path, parameters: dict[str, Any]
) -> None:
    samples, rate = read(audio / "meeting-16k/trn01.wav", 6.2)
    frames = {"n_fft": 512, "hop_length": 400, "n_mels": 30}
    expected = of_librosa(samples, rate, frames, **parameters)
    found = side_by_side(PCEN(**frames, **parameters, samplerate=rate, window=0.5), samples)
    assert_near(found[:, : expected.shape[1]], expected[:, : found.shape[1]])


def test_a_window_that_keeps_to_itself_is_librosa_s_clip(audio: Path) -> None:
    samples, rate = read(audio / "meeting-16k/trn01.wav", 4.7)
    frames = {"n_fft": 512, "hop_length": 300, "n_mels": 30}
    feature = PCEN(**frames, context="window", samplerate=rate, window=1.0)
    assert feature.margins == (0, 0)
    windows, inside = windows_of(feature, samples)
    for row, (_, n), found in zip(windows, inside, feature(windows, inside), strict=True):
        expected = of_librosa(row[:n], rate, frames)
        assert_near(found[:, : expected.shape[1]], expected)


@pytest.mark.parametrize("context", ["recording", "window"])
def test_it_may_begin_with_the_first_frame(context: Any) -> None:
    samples = 0.1 * noise(3000)
    feature = PCEN(**SMALL, initial="first", context=context, window=3.0)
    mel = librosa.feature.melspectrogram(
        y=samples, sr=1000, n_fft=64, hop_length=10, n_mels=8, power=1
    )
    energy = mel.astype(float) * 2**31
    b = (math.sqrt(1 + 4 * 40**2) - 1) / (2 * 40**2)
    begun = (1 - b) * energy[:, :1]
    expected = librosa.pcen(energy, sr=1000, hop_length=10, zi=begun)
    found = side_by_side(feature, samples)
    assert_near(found, expected[:, : found.shape[1]])
    if context == "recording":
        found = side_by_side(dataclasses.replace(feature, window=0.1), samples)
        assert_near(found, expected[:, : found.shape[1]])


@pytest.mark.parametrize("n_windows", [1, 30])
def test_what_is_left_out_of_the_past_is_nothing(n_windows: int) -> None:
    samples = 1e-4 * noise(30000)
    samples[:500] = np.sign(samples[:500])  # as loud as can be, 12 seconds before
    feature = PCEN(**SMALL, window=30 / n_windows)
    expected = side_by_side(PCEN(**SMALL, window=30.0), samples)
    assert feature.margins[0] == pytest.approx(28 * 0.4 * 1000, rel=0.02)
    assert_near(side_by_side(feature, samples), expected)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"gain": -0.1}, "gain is -0.1; it must be a number from 0 to 10"),
        ({"power": 3}, "power is 3; it must be a number from 0 to 2"),
        ({"bias": 1e-20}, "bias is 1e-20; it must be 0, or at least 1e-10"),
        ({"eps": 0}, "eps is 0; it must be a number from 1e-30 to 1e+30"),
        ({"time_constant": 0}, "time_constant is 0; it must be a number of seconds from 1e-30"),
        ({"b": 0}, "b is 0; it must be a number from 1e-09 to 1, or None"),
        ({"b": 1.5}, "b is 1.5; it must be a number from 1e-09 to 1, or None"),
        ({"max_size": 0}, "max_size is 0; it must be a whole number of bands from 1"),
        ({"initial": "zero"}, "initial is 'zero'; allowed are one and first"),
    ],
)
def test_parameters_are_checked_when_made(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]*$") as error:
        PCEN(**parameters)
    assert message in str(error.value)


@pytest.mark.parametrize("gain", [0, 10])
@pytest.mark.parametrize("bias", [0, 1e-10, 1e10])
@pytest.mark.parametrize("power", [0, 2])
@pytest.mark.parametrize("eps", [1e-30, 1e30])
@pytest.mark.parametrize("b", [1e-9, 1])
def test_nothing_overflows(gain: float, bias: float, power: float, eps: float, b: float) -> None:
    feature = PCEN(
        **SMALL, gain=gain, bias=bias, power=power, eps=eps, b=b, context="window", window=0.1
    )
    for level in (0, 1e-30, 1e-3, 3e38):
        values = feature(np.float32(level) * np.sign(noise(300)).reshape(3, 100))
        assert np.isfinite(values).all()
        assert level or not values.any()


def test_a_short_time_constant_remembers_nothing() -> None:
    feature = PCEN(**SMALL, time_constant=1e-30, window=1.0)
    assert feature.margins[0] < 100
    expected = side_by_side(PCEN(**SMALL, b=1, window=1.0), noise(2000))
    assert_near(side_by_side(feature, noise(2000)), expected)


@st.composite
def normalizations(draw: st.DrawFn) -> dict[str, Any]:
    """Of any parameters on which frames outside of a window bear."""
    return {
        **draw(geometries()),
        "b": draw(st.sampled_from([1.0, 0.7, 0.2])),
        "initial": draw(st.sampled_from(["one", "first"])),
        "max_size": draw(st.sampled_from([1, 3])),
        "mel_power": draw(st.sampled_from([1.0, 2.0])),
    }


@given(normalizations(), st.integers(1, 3000))
def test_columns_side_by_side_are_those_of_one_window(
    parameters: dict[str, Any], n_samples: int
) -> None:
    parameters.pop("power")
    feature, samples = PCEN(**parameters), noise(n_samples)
    found = side_by_side(feature, samples)
    seconds = found.shape[1] * parameters["hop_length"] / parameters["samplerate"]
    assert_near(found, side_by_side(dataclasses.replace(feature, window=seconds), samples))


@given(normalizations(), st.integers(1, 3000), st.data())
def test_the_bits_depend_neither_on_the_block_nor_on_what_is_shared(
    parameters: dict[str, Any], n_samples: int, data: st.DataObject
) -> None:
    parameters.pop("power")
    feature = PCEN(**parameters, context=data.draw(st.sampled_from(["recording", "window"])))
    hop = parameters["hop_length"] * data.draw(st.integers(1, 40))
    hop += data.draw(st.sampled_from([0, 0, 3]))
    windows, inside = windows_of(feature, noise(n_samples), hop)
    alone = feature(windows, inside)
    assert np.isfinite(alone).all()
    size = data.draw(st.integers(1, len(windows)))
    for a in range(0, len(windows), size):
        some = slice(a, a + size)
        rows = windows[some] if data.draw(st.booleans()) else windows[some].copy()
        assert np.array_equal(feature(rows, inside[some], hop_samples=hop), alone[some])


@pytest.mark.parametrize("hop", [0.25, 0.1, 0.037])
def test_what_a_job_reads_gives_the_bits_of_windows_read_one_by_one(
    write_wav: Write, hop: float
) -> None:
    names = [("a.wav", 0.3), ("b.wav", 7.7), ("c.wav", 3)]
    recordings = scan([write_wav(name, s, samplerate=1000, seed=i) for i, (name, s)
                       in enumerate(names)])  # fmt: skip
    grid = WindowGrid(recordings, window=0.25, hop=hop)
    feature = PCEN(n_fft=64, hop_length=10, n_mels=8, time_constant=0.05)
    bound = dataclasses.replace(feature, samplerate=1000, window=0.25)
    whole, valid = compute_windows(recordings, grid, bound)
    assert valid.all()
    audio = open_windows(recordings, grid, context=feature, block=7)
    assert np.array_equal(map_windows(feature, audio, grid).compute(), whole)
    for size in (1, 5):
        for a in range(0, len(grid), size):
            some, _ = compute_windows(recordings, grid[a : a + size], bound)
            assert np.array_equal(some, whole[a : a + size])


@pytest.mark.parametrize("hop", [1.0, 0.25, 1.7, 9.0])
def test_a_damaged_recording_gives_the_bits_of_windows_read_one_by_one(
    tmp_path: Path, hop: float
) -> None:
    samples = 0.1 * noise(40_000)
    samples[[2500, 20_000]] = np.nan
    soundfile.write(tmp_path / "a.wav", samples, 1000, subtype="FLOAT")
    soundfile.write(tmp_path / "b.wav", samples[3000:15_000], 1000, subtype="FLOAT")
    recordings, feature = scan(tmp_path), PCEN(**SMALL, b=0.2, window=1.0)
    grid = WindowGrid(recordings, window=1.0, hop=hop)
    values, valid = compute_windows(recordings, grid, feature)
    assert valid.any()
    for t in range(len(grid)):
        alone, readable = compute_windows(recordings, grid[t : t + 1], feature)
        assert readable[0] == valid[t]
        assert np.array_equal(alone[0], values[t])


def test_a_window_is_masked_where_what_it_remembers_cannot_be_read(tmp_path: Path) -> None:
    samples = 0.1 * noise(6000)
    samples[2500] = np.nan
    soundfile.write(tmp_path / "a.wav", samples, 1000, subtype="FLOAT")
    recordings = scan(tmp_path)
    feature = PCEN(**SMALL, b=0.2, window=1.0)
    seconds = feature.margins[0] / 1000
    assert 1 < seconds < 2
    values, valid = compute_windows(recordings, WindowGrid(recordings), feature)
    assert valid.tolist() == [True, True, False, False, True, True]
    assert (values[~valid] == feature.floor).all()
    samples[2500] = 0
    soundfile.write(tmp_path / "a.wav", samples, 1000, subtype="FLOAT")
    recordings = scan(tmp_path)
    expected, _ = compute_windows(recordings, WindowGrid(recordings), feature)
    assert np.array_equal(values[valid], expected[valid])
