"""The waveform is the samples as they are, and int16 holds what 16-bit recordings do."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import pytest
import soundfile
import xarray
import zarr
from conftest import SUFFIXES, Cli, Write
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import pipeline as pl
from pipeline.features import compute_features
from pipeline.store import Encoding, pack

Array = npt.NDArray[Any]
ENCODING = Encoding.of("int16", pl.Waveform())


def cut(samples: Array, rate: int) -> Array:
    """Windows of a second."""
    n_windows = -(-len(samples) // rate)
    return np.pad(samples, (0, n_windows * rate - len(samples))).reshape(n_windows, rate)


def codes_of(out: Path) -> Array:
    """What is stored, as other programs find it."""
    if out.suffix == ".zarr":
        group: Any = zarr.open_group(out, mode="r")
        return np.asarray(group["features"][...])
    with h5py.File(out) as file:
        return np.asarray(file["features"][...])


def opened(out: Path) -> Any:
    return xarray.open_zarr(out) if out.suffix == ".zarr" else xarray.open_dataset(out)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
def test_samples_are_stored_as_they_are(
    write_wav: Write, tmp_path: Path, suffix: str, subtype: str
) -> None:
    source, out = write_wav(seconds=70.3, subtype=subtype), tmp_path / f"x{suffix}"
    expected = cut(soundfile.read(source, dtype="float32")[0], 8000)
    assert pl.extract(source, out, pl.Waveform()).ok
    X, _ = pl.Batches(out, batch_size=71)[0]
    assert X.dtype == np.float32
    np.testing.assert_array_equal(X, expected)
    with opened(out) as store:
        assert store.features.dims == ("window", "sample")
        np.testing.assert_allclose(store["sample"], np.arange(8000) / 8000)
        assert store["sample"].attrs["units"] == "s"


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_int16_holds_what_a_16_bit_recording_does(tmp_path: Path, suffix: str) -> None:
    source, out = tmp_path / "a.wav", tmp_path / f"x{suffix}"
    samples = np.random.default_rng(0).integers(-32767, 32768, 70 * 1000 + 300).astype(np.int16)
    soundfile.write(source, samples, 1000, subtype="PCM_16")
    compression = "lz4" if suffix == ".zarr" else "none"
    assert pl.extract(source, out, pl.Waveform(), dtype="int16", compression=compression).ok
    stored, expected = codes_of(out), cut(samples, 1000)
    assert stored.dtype == np.int16
    np.testing.assert_array_equal(stored, expected)
    values = expected / np.float32(32768)
    X, _ = pl.Batches(out, batch_size=71)[0]
    assert X.dtype == np.float32
    np.testing.assert_array_equal(X, values)
    for (x, _), row in zip(pl.stream(source, pl.Waveform(), dtype="int16"), (0, 64), strict=True):
        assert x.dtype == np.float32
        np.testing.assert_array_equal(x, values[row : row + 64])
    with opened(out) as store:
        np.testing.assert_array_equal(store.features, values)
    if suffix == ".h5":
        pack(out, tmp_path / "one.h5")
        np.testing.assert_array_equal(codes_of(tmp_path / "one.h5"), expected)
        np.testing.assert_array_equal(pl.Batches(tmp_path / "one.h5", batch_size=71)[0][0], values)
        with h5py.File(out) as file:  # as netCDF has it
            assert file["features"].attrs["_FillValue"].dtype == np.int16


def test_what_int16_has_no_code_for_becomes_the_nearest(tmp_path: Path) -> None:
    source = tmp_path / "a.wav"
    given, stored = [-1.0, 1.0, -2.5, 7.0, 1e-6, -0.25], [-32767, 32767, -32767, 32767, 0, -8192]
    soundfile.write(source, np.repeat(np.float32(given), 10), 10, subtype="FLOAT")
    assert pl.extract(source, tmp_path / "x.zarr", pl.Waveform(), dtype="int16").ok
    found = codes_of(tmp_path / "x.zarr")
    np.testing.assert_array_equal(found, np.repeat(stored, 10).reshape(6, 10))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_job_goes_on_and_what_is_damaged_is_made_anew(
    cli: Cli, write_wav: Write, tmp_path: Path, suffix: str
) -> None:
    source, out = write_wav(seconds=20, subtype="PCM_16"), tmp_path / f"x{suffix}"
    command = ("extract", source, "--out", out, "--feature", "waveform", "--dtype", "int16")
    assert cli(*command).code == 0
    before = codes_of(out)
    parts = f"{out.name}/features/c.0.0" if suffix == ".zarr" else f"{out.name}.parts/*.h5"
    (file,) = tmp_path.glob(parts)
    data = bytearray(file.read_bytes())
    data[5000] ^= 1
    file.write_bytes(data)
    assert cli("verify", out, "--repair").code == 1
    assert cli(*command).code == 0
    np.testing.assert_array_equal(codes_of(out), before)
    assert cli("verify", out).code == 0
    assert cli("statistics", out).code == 0
    X, _ = pl.Batches(out, batch_size=20, normalize=True)[0]
    assert abs(X.mean()) < 1e-3
    assert abs(X.std() - 1) < 1e-3


def test_windows_that_cannot_be_read_are_silent(write_wav: Write, tmp_path: Path) -> None:
    good, bad = write_wav("a.wav"), write_wav("b.flac", 30)
    bad.write_bytes(bad.read_bytes()[:-200_000] + bytes(200_000))
    assert pl.extract([good, bad], tmp_path / "x.zarr", pl.Waveform(), dtype="int16").masked
    batches = pl.Batches(tmp_path / "x.zarr", batch_size=33)
    assert not batches.valid.all()
    assert (batches[0][0][~batches.valid] == 0).all()


def test_an_array_of_codes_needs_an_encoding(write_wav: Write) -> None:
    recordings = pl.scan(write_wav())
    grid = pl.WindowGrid(recordings, 1.0)
    audio = pl.open_windows(recordings, grid)
    with pytest.raises(ValueError, match="dtype is int16, to which NumPy would cut the values"):
        pl.map_windows(pl.Waveform(), audio, grid, "int16")
    codes = pl.map_windows(pl.Waveform(), audio, grid, "int16", ENCODING.encode).compute()
    np.testing.assert_allclose(codes / 32768, audio.compute(), atol=2**-16)


@given(
    arrays(np.float32, (5, 30), elements=st.floats(-2, 2, width=32)),
    st.lists(st.integers(0, 5), min_size=0, max_size=3),
    st.sampled_from(["float32", "float16", "int16"]),
)
def test_the_bits_do_not_depend_on_the_block(audio: Array, ends: list[int], dtype: str) -> None:
    feature = pl.Waveform(samplerate=30, window=1.0)
    n_samples, encode = np.full(5, 30), Encoding.of(dtype, feature).encode
    whole = compute_features(feature, audio, n_samples, dtype, 0, encode)
    edges = [0, *sorted(ends), 5]
    parts = [
        compute_features(feature, audio[a:b], n_samples[a:b], dtype, a, encode)
        for a, b in pairwise(edges)
    ]
    assert np.concatenate(parts).tobytes() == whole.tobytes()


def test_a_16_bit_recording_comes_back_to_the_last_bit(audio: Path, tmp_path: Path) -> None:
    source = next(path for path in sorted(audio.glob("digits-8k/*")) if path.suffix == ".wav")
    codes, rate = soundfile.read(source, dtype="int16", always_2d=True)
    assert soundfile.info(source).subtype == "PCM_16"
    assert pl.extract(source, tmp_path / "x.zarr", pl.Waveform(), dtype="int16").ok
    found = codes_of(tmp_path / "x.zarr")
    np.testing.assert_array_equal(found, np.maximum(cut(codes[:, 0], rate), -32767))


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"samplerate": 0}, "samplerate is 0; it must be a whole number of Hz above 0"),
        ({"window": -1}, "window is -1; it must be a number of seconds above 0"),
        ({"samplerate": 10, "window": 0.01}, "window is 0.01 s, which is no sample at 10 Hz"),
    ],
)
def test_parameters_are_checked_when_made(parameters: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        pl.Waveform(**parameters)


def test_windows_of_another_length_are_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(2, 9\); the feature is for \(window, 8000\)"):
        pl.Waveform()(np.zeros((2, 9), np.float32))
