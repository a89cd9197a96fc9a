"""Stores, and what is not yet computed, as xarray Datasets."""

from __future__ import annotations

import os
import pickle
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray
from conftest import FEATURE, SUFFIXES, Write, forget, planned, save_hdf5
from distributed import Client, LocalCluster
from hypothesis import given, settings
from hypothesis import strategies as st
from xarray.core import indexing

import pipeline as pl
from pipeline.cluster import Cluster
from pipeline.datasets.arrays import Rows, features_of
from pipeline.job import run
from pipeline.store import Variable

RATE = 1000
TIMES = {"datetime": "%Y%m%d_%H%M%S", "timezone": "+02:00"}
EVENTS = """path,start,end,label
a_20250503_030000.wav,0.5,2.5,owl
b_20250503_040000.wav,1.2,1.4,bat
"""
_opened: list[str] = []
_watching = False


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if _watching and event == "open":
        _opened.append(str(arguments[0]))


sys.addaudithook(_hook)


@contextmanager
def opens() -> Iterator[list[str]]:
    """The files that this process opens, whatever of it does."""
    global _watching
    _opened.clear()
    _watching = True
    try:
        yield _opened
    finally:
        _watching = False


def shards_among(names: list[str]) -> Counter[str]:
    return Counter(Path(name).name for name in names if "features/c." in name)


@pytest.fixture
def folder(write_wav: Write, tmp_path: Path) -> Path:
    """Recordings with times and events, of which one is not as long as whole windows."""
    write_wav("in/a_20250503_030000.wav", 10.3, RATE, seed=0)
    write_wav("in/b_20250503_040000.wav", 20, RATE, seed=1)
    (tmp_path / "in" / "events.csv").write_text(EVENTS)
    return tmp_path / "in"


def sharded(folder: Path, out: Path) -> Path:
    """A store of windows of 31 s in two shards."""
    plan = planned([*sorted(folder.glob("*.wav"))], out)
    assert run(plan, Cluster(threads=1)).ok
    return out


def by_xarray(out: Path) -> xarray.Dataset:
    """What xarray itself makes of a store, with the dimension of recordings named as here."""
    if out.suffix == ".zarr":
        opened = xarray.open_zarr(out)
        moved = {
            name: xarray.Variable("source", opened[name].values, opened[name].attrs)
            for name in ("source", "utc_offset")
            if name in opened
        }
        return opened.drop_dims("recording").assign(moved).set_coords("source")
    opened = xarray.open_dataset(out, engine="h5netcdf")
    for name in opened.variables:
        for own in ("DIMENSION_LABELS", "region", "shard", "chunk"):
            opened[name].attrs.pop(own, None)
    return opened


def with_text(dataset: xarray.Dataset) -> xarray.Dataset:
    """Text as objects, which is of several dtypes in versions of Zarr, HDF5 and xarray."""
    text = [name for name in ("source", "class") if name in dataset]
    return dataset.assign_coords(
        {name: (name, dataset[name].values.astype(object), dataset[name].attrs) for name in text}
    )


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_store_is_as_xarray_itself_has_it(folder: Path, suffix: str, dtype: str) -> None:
    out, events = folder / f"x{suffix}", folder / "events.csv"
    assert pl.extract(folder, out, FEATURE, str(events), hop=0.5, dtype=dtype, **TIMES).ok
    pl.split(str(out), {"train": 0.5, "test": 0.5})
    pl.statistics(out)
    ours, theirs = pl.open_dataset(out), by_xarray(out)
    assert ours.features.dtype == dtype
    assert {"label", "annotated", "class", "datetime", "utc_offset", "mean", "std"} <= {*ours} | {
        *ours.coords
    }
    xarray.testing.assert_identical(with_text(ours), with_text(theirs))
    assert {*ours.coords} == {*theirs.coords}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_unknown_times_are_nat(folder: Path, suffix: str) -> None:
    rows = "a_20250503_030000.wav,2025-05-03T03:00:00Z\nb_20250503_040000.wav,\n"
    (folder / "m.csv").write_text("path,datetime\n" + rows)
    out = folder / f"x{suffix}"
    assert pl.extract(folder / "m.csv", out, FEATURE).ok
    ours = pl.open_dataset(out)
    assert np.isnat(ours.datetime.values).sum() == 20
    xarray.testing.assert_identical(with_text(ours), with_text(by_xarray(out)))
    before = pl.open_dataset(folder / "m.csv", FEATURE)
    xarray.testing.assert_identical(before.datetime, ours.datetime.drop_vars("valid"))


FEATURES = {
    "spectrogram": (FEATURE, {}),
    "half": (FEATURE, {"dtype": "float16", "hop": 0.3}),
    "seamless": (pl.MelSpectrogram(n_fft=64, hop_length=25, n_mels=8), {"hop": 0.25}),
    "codes": (pl.Waveform(), {"dtype": "int16", "tail": "drop"}),
}


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("name", FEATURES)
def test_what_is_not_yet_computed_is_what_extract_stores(
    folder: Path, name: str, suffix: str
) -> None:
    feature, settings = FEATURES[name]
    out, arguments = folder / f"x{suffix}", (feature, folder / "events.csv")
    before = pl.open_dataset(folder, *arguments, **settings, **TIMES)
    assert pl.extract(folder, out, *arguments, **settings, **TIMES).ok
    after = pl.open_dataset(out)
    assert before.features.values.tobytes() == after.features.values.tobytes()
    assert (
        after.features.values.tobytes() == np.concatenate([X for X, _ in pl.Batches(out)]).tobytes()
    )
    told = {"created": after.attrs["created"]}
    if suffix == ".h5":  # whose layout is another, and so its fingerprint
        told["fingerprint"] = after.attrs["fingerprint"]
    xarray.testing.assert_identical(before.assign_attrs(told), after.drop_vars("valid"))
    some = [3, 17, 4]
    np.testing.assert_array_equal(before.features[some], after.features[some])


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_codes_are_values(folder: Path, suffix: str) -> None:
    out = folder / f"x{suffix}"
    assert pl.extract(folder, out, pl.Waveform(), dtype="int16").ok
    ours = pl.open_dataset(out).features
    assert ours.dtype == ours.values.dtype == np.float32
    assert {*ours.attrs} == {"long_name", "units"}
    np.testing.assert_array_equal(ours, by_xarray(out).features.values)


def test_of_one_window_nothing_else_is_read(folder: Path) -> None:
    out = sharded(folder, folder / "x.zarr")
    dataset = pl.open_dataset(out)
    assert dataset.features.chunks[0] == (16, 15)
    with opens() as opened:
        window = dataset.features.isel(window=5).compute()
    assert shards_among(opened) == {"c.0.0.0": 1}
    with opens() as opened:
        part = dataset.features[17:20, :, 3].compute()
    assert {*shards_among(opened)} == {"c.1.0.0"}
    dataset = pl.open_dataset(out)
    with opens() as opened:
        every = dataset.features.compute(scheduler="threads", num_workers=4)
    assert shards_among(opened) == {"c.0.0.0": 1, "c.1.0.0": 1}
    np.testing.assert_array_equal(window, every[5])
    np.testing.assert_array_equal(part, every[17:20, :, 3])
    (out / "features" / "c.0.0.0").unlink()
    pl.open_dataset(out).features[16:].compute()
    with pytest.raises(OSError, match=r"x\.zarr: window 5, in .*c\.0\.0\.0, is missing; verify"):
        pl.open_dataset(out).features[5].compute()


def test_each_worker_opens_a_shard_once(folder: Path) -> None:
    dataset = pl.open_dataset(sharded(folder, folder / "x.zarr"))
    expected = dataset.features.mean("window").values
    options = {"processes": False, "dashboard_address": "127.0.0.1:0"}
    with (
        LocalCluster(n_workers=1, threads_per_worker=2, **options) as running,
        Client(running),
        opens() as opened,
    ):
        computed = dataset.features.mean("window").compute()
    np.testing.assert_allclose(computed, expected, rtol=1e-6)
    assert shards_among(opened) == {"c.0.0.0": 1, "c.1.0.0": 1}
    assert not [name for name in opened if name.endswith("zarr.json")]  # the store itself never


def test_nothing_of_recordings_is_read_before_it_is_computed(folder: Path) -> None:
    dataset = pl.open_dataset(folder, FEATURE, **TIMES)
    with opens() as opened:
        assert dataset.sizes["window"] == 31
        assert dataset.recording.values.tolist() == [0] * 11 + [1] * 20
        loud = dataset.features.sel(frequency=slice(100, 300)).max("time")
        assert dataset.datetime.values[11] == np.datetime64("2025-05-03T02:00:00")
    assert not [name for name in opened if name.endswith(".wav")]
    with opens() as opened:
        dataset.features[12].compute()
    assert {Path(name).name[0] for name in opened if name.endswith(".wav")} == {"b"}
    (folder / "a_20250503_030000.wav").unlink()
    dataset.features[11:].compute()
    with pytest.raises(OSError, match=r"a_20250503_030000\.wav: No such file"):
        loud.compute()


def test_audio_that_cannot_be_read_is_told_of(write_wav: Write, tmp_path: Path) -> None:
    path = write_wav("a.flac", 12, RATE)
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 2000] = bytes(2000)
    path.write_bytes(data)
    assert not pl.extract(path, tmp_path / "x.zarr", FEATURE).ok
    stored = pl.open_dataset(tmp_path / "x.zarr")
    assert 0 < stored.valid.values.sum() < 12
    with pytest.warns(RuntimeWarning, match=r"a\.flac: .*; masked"):
        computed = pl.open_dataset(path, FEATURE).features.values
    np.testing.assert_array_equal(computed, stored.features)
    with pytest.raises(OSError, match=r"a\.flac: .*; give on_error='mask' to go on without it"):
        pl.open_dataset(path, FEATURE, on_error="stop").features.compute()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_it_is_selected_and_grouped_as_any_dataset(folder: Path, suffix: str) -> None:
    out = folder / f"x{suffix}"
    assert pl.extract(folder, out, FEATURE, np.arange(31) % 2, **TIMES).ok
    for dataset in (
        pl.open_dataset(out),
        pl.open_dataset(folder, FEATURE, np.arange(31) % 2, **TIMES),
    ):
        dated = dataset.swap_dims(window="datetime")
        some = dated.sel(datetime=slice("2025-05-03T02:00:03", "2025-05-03T02:00:05"))
        assert some.start.values.tolist() == [3, 4, 5]
        means = dataset.groupby("recording").mean()
        np.testing.assert_allclose(
            means.features[1], dataset.features[11:].mean("window"), rtol=1e-5
        )
        assert dataset.groupby("label").count().features.sizes["label"] == 2
        assert dataset.sel(source=str(folder / "b_20250503_040000.wav")).utc_offset == 7200
        owner = dataset.source[dataset.recording]
        assert owner[10:12].values.tolist() == dataset.source.values.tolist()
        assert dataset.sel(frequency=100, method="nearest").features.dims == ("window", "time")
        assert dataset.isel(window=dataset.n_samples == RATE).sizes["window"] == 30
        again = pickle.loads(pickle.dumps(dataset))
        xarray.testing.assert_identical(again, dataset)
        shutil.rmtree(folder / "again", ignore_errors=True)
        dataset.to_zarr(folder / "again", consolidated=False)
        with xarray.open_zarr(folder / "again", consolidated=False) as stored:
            xarray.testing.assert_equal(with_text(stored), with_text(dataset))


def test_a_packed_copy_opens_too(folder: Path) -> None:
    assert pl.extract(folder, folder / "x.h5", FEATURE, **TIMES).ok
    from pipeline.store import pack

    pack(folder / "x.h5", folder / "one.h5")
    one, whole = (pl.open_dataset(folder / name) for name in ("one.h5", "x.h5"))
    xarray.testing.assert_identical(one, whole)


def test_hdf5_that_is_no_store_is_a_recording(tmp_path: Path) -> None:
    path = save_hdf5(tmp_path / "x.h5", np.zeros(1000, np.float32))
    assert pl.open_dataset(path, pl.Waveform()).features.shape == (4, 250)
    with pytest.raises(FileNotFoundError, match=r"none\.zarr does not exist; extract makes it"):
        pl.open_dataset(tmp_path / "none.zarr")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_will_not_do_is_refused_in_a_sentence(folder: Path, suffix: str) -> None:
    out = sharded(folder, folder / f"x{suffix}")
    with pytest.raises(ValueError, match=r"x\.\w+ is a store, but hop, features are given, which"):
        pl.open_dataset(out, FEATURE, hop=1)
    opened = pl.open_dataset(out)
    assert pl.open_dataset(out).valid.values.all()
    pl.statistics(out)
    with pytest.raises(OSError, match="got other labels or variables since it was opened; open"):
        opened.valid.load()
    forget(out)
    with pytest.raises(ValueError, match="is not finished: 0 of 1 regions are done; run extract"):
        pl.open_dataset(out)
    with pytest.raises(ValueError, match=r"'hopp' is not a known setting; did you mean 'hop'"):
        pl.open_dataset(folder, hopp=1)


def test_without_xarray_a_sentence_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    monkeypatch.setitem(sys.modules, "xarray", None)
    monkeypatch.delitem(sys.modules, "pipeline.datasets.arrays")
    with pytest.raises(ImportError, match=r"^open_dataset needs xarray, .*\[xarray\]$"):
        pl.open_dataset(folder)


N = 7
VALUES = np.arange(N * 3).reshape(N, 3)
edges = st.integers(-N - 2, N + 2) | st.none()
slices = st.builds(slice, edges, edges, st.sampled_from([None, 1, 2, 3]))
slices |= st.sampled_from([slice(None, None, step) for step in (-1, -2)])  # xarray's others fail
places = st.integers(-N, N - 1)


@given(slices | places | st.lists(places), slices | st.integers(-3, 2))
def test_any_rows_are_those_of_numpy(first: Any, second: Any) -> None:
    rows: Any = indexing.LazilyIndexedArray(Rows(lambda a, b: VALUES[a:b], (N, 3), VALUES.dtype))
    lazy = xarray.Variable(("x", "y"), rows)
    first = np.array(first, int) if isinstance(first, list) else first
    np.testing.assert_array_equal(lazy[first, second].values, VALUES[first, second])


columns = slices | st.integers(-3, 2) | st.lists(st.integers(-3, 2), min_size=1)


@settings(max_examples=25)
@given(slices | places | st.lists(places, min_size=1), columns, slices)
def test_any_windows_are_those_of_numpy_and_no_others_are_read(
    first: Any, second: Any, again: slice
) -> None:
    read: set[int] = set()

    def note(numbers: Any) -> Any:
        read.update(numbers.tolist())
        return VALUES[numbers]

    lazy = features_of(Variable(("window", "y"), VALUES.shape, VALUES.dtype), note, 3)
    assert lazy.data.chunks[0] == (3, 3, 1)
    chosen, expected = lazy[first][..., second], VALUES[first][..., second]
    if expected.ndim:
        chosen, expected = chosen[again], expected[again]
    np.testing.assert_array_equal(chosen.values, expected)
    if not isinstance(first, list):  # of which Dask reads whole blocks
        assert read <= {*np.atleast_1d(np.arange(N)[first]).tolist()}


def test_real_recordings(audio: Path) -> None:
    paths = sorted((audio / "fly-song-2500Hz").rglob("*.wav"))[:1]
    before = pl.open_dataset(paths, FEATURE)
    (X, _) = pl.stream(paths, FEATURE, batch_size=8)[0]
    assert before.features[:8].values.tobytes() == X.tobytes()
    assert os.fspath(before.source.values[0]) == str(paths[0])
