"""Stores of whole numbers: values within the largest error, in every reader, and counted beyond."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import xarray
import zarr
from conftest import SUFFIXES, Array, Cli, Write

import pipeline as pl

DTYPES = {"uint8": 0.0287, "int16": 0.000117}  # and the largest error of the default feature


@pytest.fixture
def sources(write_wav: Write) -> list[Path]:
    return [write_wav("a.wav", 12, seed=1), write_wav("b.wav", 5.5, seed=2)]


def whole(batches: pl.Batches) -> Array:
    return np.concatenate([X for X, _ in batches])


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_values_come_back_within_the_error_that_plan_says(
    sources: list[Path], tmp_path: Path, cli: Cli, suffix: str, dtype: str
) -> None:
    out = tmp_path / f"x{suffix}"
    planned = json.loads(cli("plan", *sources, "--out", out, "--dtype", dtype, "--json").out)
    assert planned["dtype"] == dtype
    assert planned["largest_error"] == pytest.approx(DTYPES[dtype], rel=0.02)
    assert planned["limits"] == pytest.approx([np.log(1e-6), np.log(2 + 1e-6)])
    assert planned["bytes"] == 18 * 257 * 400 * np.dtype(dtype).itemsize
    assert cli("extract", *sources, "--out", out, "--dtype", dtype, "--quiet").code == 0
    assert cli("verify", out).code == 0
    info = json.loads(cli("info", out, "--json").out)
    assert (info["dtype"], info["clipped"]) == (dtype, 0)
    for name in ("limits", "largest_error"):
        assert info[name] == planned[name]
    expected, stored = whole(pl.stream(sources)), pl.Batches(out, 5)
    X = whole(stored)
    assert X.dtype == np.float32
    assert np.abs(X - expected).max() <= planned["largest_error"]
    # The same bits as they are computed, and in any order.
    np.testing.assert_array_equal(whole(pl.stream(sources, dtype=dtype, batch_size=4)), X)
    shuffled = pl.Batches(out, 5, shuffle=True)
    np.testing.assert_array_equal(shuffled[1][0], X[shuffled.windows(1)])
    codes = whole(pl.Batches(out, 5, decode=False))
    assert codes.dtype == dtype
    scale, offset = stored.encoding["scale_factor"], stored.encoding["add_offset"]
    np.testing.assert_allclose(codes * scale + offset, X, atol=2e-6)
    streamed = pl.stream(sources, dtype=dtype, batch_size=5, decode=False)
    np.testing.assert_array_equal(whole(streamed), codes)
    assert streamed.encoding == stored.encoding
    assert pl.statistics(out).mean.mean() == pytest.approx(X.mean(axis=(0, 2)).mean(), rel=1e-4)
    normalized = whole(pl.Batches(out, 5, normalize=True))
    assert np.abs(normalized.mean(axis=(0, 2))).max() < 1e-3


@pytest.mark.parametrize("dtype", DTYPES)
def test_other_programs_read_codes_or_values(
    sources: list[Path], tmp_path: Path, dtype: str
) -> None:
    for suffix in SUFFIXES:
        assert pl.extract(sources, tmp_path / f"x{suffix}", dtype=dtype).ok
    X = whole(pl.Batches(tmp_path / "x.zarr"))
    codes = whole(pl.Batches(tmp_path / "x.zarr", decode=False))
    with xarray.open_zarr(tmp_path / "x.zarr") as dataset:  # JSON has no float32
        assert dataset.features.dtype == np.float64
        np.testing.assert_allclose(dataset.features.values, X, atol=2e-6)
    with xarray.open_dataset(tmp_path / "x.h5", engine="h5netcdf") as dataset:
        assert dataset.features.dtype == np.float32
        np.testing.assert_array_equal(dataset.features.values, X)
    np.testing.assert_array_equal(zarr.open_group(tmp_path / "x.zarr", mode="r")["features"], codes)
    with h5py.File(tmp_path / "x.h5") as file:
        np.testing.assert_array_equal(file["features"], codes)
        assert file["features"].attrs["_FillValue"] == np.iinfo(dtype).min
    import tensorstore

    driver = {"driver": "zarr3", "kvstore": f"file://{tmp_path / 'x.zarr' / 'features'}/"}
    np.testing.assert_array_equal(tensorstore.open(driver).result().read().result(), codes)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_is_beyond_the_limits_is_counted(
    sources: list[Path], tmp_path: Path, cli: Cli, suffix: str
) -> None:
    out, X = tmp_path / f"x{suffix}", whole(pl.stream(sources))
    step = 5 / 254
    beyond = int(((-10 - step / 2 > X) | (-5 + step / 2 < X)).sum())
    assert beyond > 1000
    options = ("--dtype", "uint8", "--limits", "-10", "-5")
    ended = cli("extract", *sources, "--out", out, *options)
    assert ended.code == 0
    assert f"clipped: {beyond:,} values beyond the limits" in ended.err
    assert json.loads(cli("status", out, "--json").out)["clipped"] == beyond
    info = json.loads(cli("info", out, "--json").out)
    assert (info["clipped"], info["limits"]) == (beyond, [-10, -5])
    found = whole(pl.Batches(out))
    np.testing.assert_allclose(found, X.clip(-10, -5), atol=info["largest_error"] * 1.001)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_regions_of_other_limits_are_not_mixed_in(
    sources: list[Path], tmp_path: Path, suffix: str
) -> None:
    out, limits = tmp_path / f"x{suffix}", (-14.0, 1.0)
    assert pl.extract(sources, out, dtype="uint8", limits=limits, share="0/2").failed == ()
    for other in ({"limits": (-14.0, 2.0)}, {}, {"dtype": "int16", "limits": limits}):
        with pytest.raises(ValueError, match="holds another job: "):
            pl.extract(sources, out, **{"dtype": "uint8", **other})
    assert pl.extract(sources, out, dtype="uint8", limits=[*limits]).ok


def test_features_without_limits_ask_for_them(sources: list[Path], tmp_path: Path) -> None:
    class Own:
        shape, frequencies, times = (2,), None, np.arange(2.0)

        def __call__(self, windows: Any) -> Any:
            return np.abs(windows)[:, :2]

    for make in (pl.extract, pl.stream):
        to = (tmp_path / "x.zarr",) if make is pl.extract else ()
        with pytest.raises(ValueError, match="dtype is uint8, but Own has no limits; pass limits"):
            make(sources, *to, Own(), dtype="uint8")
    stream = pl.stream(sources, Own(), dtype="uint8", limits=(0, 1), batch_size=None)
    assert len([*stream]) == 18


def test_codes_are_not_normalized(sources: list[Path], tmp_path: Path) -> None:
    assert pl.extract(sources, tmp_path / "x.zarr", dtype="uint8").ok
    pl.statistics(tmp_path / "x.zarr")
    with pytest.raises(ValueError, match="normalize goes with values, not with their codes"):
        pl.Batches(tmp_path / "x.zarr", normalize=True, decode=False)


def test_real_recordings_are_within_the_limits(audio: Path, tmp_path: Path) -> None:
    for name in ("digits-8k/digits_long.wav", "meeting-16k", "edge"):
        out = tmp_path / "x.zarr"
        for feature in (pl.Spectrogram(), pl.MelSpectrogram()):
            rate = {"samplerate": 8000}
            report = pl.extract(audio / name, out, feature, dtype="uint8", overwrite=True, **rate)
            assert (report.ok, report.clipped) == (True, 0), name
            exact = whole(pl.stream(audio / name, feature, **rate))
            low, high = pl.training.sources.StoredSource(out).encoding.limits or (0, 0)
            assert np.abs(whole(pl.Batches(out)) - exact).max() <= (high - low) / 254 * 0.5001
