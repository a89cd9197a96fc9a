"""Mean and std are those of the valid windows, to the same bits, and batches are normalized."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import soundfile
import xarray
from conftest import SUFFIXES, Array, Cli, Write, forget, planned, snapshot
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import pipeline as pl
from pipeline.cluster.entry import Cluster
from pipeline.job.extraction import run
from pipeline.job.verification import verify
from pipeline.kernels import halves, moments
from pipeline.kernels.moments import Moments, moments_of, windows_of_a_tile
from pipeline.store import pack
from pipeline.training import row_statistics

FREQUENCY, TIME = pl.Axis("frequency", np.arange(6.0), "Hz"), pl.Axis("time", np.arange(5.0), "s")
SAMPLE, BAND = pl.Axis("sample", np.arange(30.0)), pl.Axis("band", np.arange(5.0))
AXES = {
    "spectrogram": (FREQUENCY, TIME),
    "transposed": (TIME, FREQUENCY),
    "coefficients": (FREQUENCY,),
    "waveform": (SAMPLE,),
    "one": (),
    "matrix": (FREQUENCY, BAND),
}


@dataclasses.dataclass(frozen=True)
class Cut:
    """The samples, in one of these shapes; two rows are constant, one close to it."""

    kind: str
    units = "Pa"

    @property
    def axes(self) -> tuple[pl.Axis, ...]:
        return AXES[self.kind]

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(len(axis.values) for axis in self.axes)

    def __call__(self, windows: Array) -> Array:
        values = windows[:, : int(np.prod(self.shape))].reshape(-1, *self.shape).copy()
        if self.shape[:1] == (6,):
            values[:, 0], values[:, 1] = -13.8, 0
            values[:, 2] = -14 + 0.001 * values[:, 2]
        return values


def expected(X: Array, kind: str) -> tuple[Array, Array]:
    along = (0, *(i for i, axis in enumerate(AXES[kind], 1) if axis.name in ("time", "sample")))
    values = X.astype(np.float64)
    return values.mean(axis=along), values.std(axis=along)


def broadcast(values: Array, kind: str) -> Array:
    names = [axis.name for axis in AXES[kind]]
    along = tuple(i for i, name in enumerate(names) if name in ("time", "sample"))
    return np.expand_dims(values, along)


@pytest.fixture
def wav(tmp_path: Path) -> Path:
    samples = 0.1 * np.random.default_rng(0).standard_normal(100 * 100)
    soundfile.write(tmp_path / "a.wav", samples, 2000, subtype="FLOAT")
    return tmp_path / "a.wav"


def extract(wav: Path, out: Path, kind: str = "spectrogram", **settings: Any) -> Path:
    assert run(planned(wav, out, Cut(kind), window=0.05, **settings), Cluster(threads=2)).ok
    return out


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("kind", AXES)
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_rows_are_all_axes_but_time_and_are_normalized(
    wav: Path, tmp_path: Path, suffix: str, kind: str, dtype: str
) -> None:
    out = extract(wav, tmp_path / f"x{suffix}", kind, dtype=dtype)
    X, _ = pl.Batches(out, 100)[0]
    mean, std = expected(X, kind)
    found = pl.statistics(out)
    assert found.computed
    assert found.mean.dtype == found.std.dtype == np.float64
    np.testing.assert_allclose(found.mean, mean, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(found.std, std, rtol=1e-9, atol=1e-15)
    if X.shape[1:2] == (6,):
        assert (found.std[:2] == 0).all()
        assert (found.mean[0] == X[0, 0].flat[0]).all()
        assert (found.mean[1] == 0).all()
    again = pl.statistics(out)
    assert not again.computed
    assert again.mean.tobytes() == found.mean.tobytes()
    assert again.std.tobytes() == found.std.tobytes()

    where = np.where(std > 1e-12, std, 1)
    exact = (X - broadcast(found.mean, kind)) / broadcast(where, kind)
    for options in ({}, {"shuffle": True}, {"shuffle": True, "mix": 2}):
        batches = pl.Batches(out, 7, normalize=True, **options)  # type: ignore[arg-type]
        order = np.concatenate([batches.windows(i) for i in range(len(batches))])
        parts = [part for part, _ in batches]
        assert all(part.dtype == np.float32 and part.flags.writeable for part in parts)
        np.testing.assert_allclose(np.concatenate(parts), exact[order], rtol=1e-5, atol=1e-5)
        assert batches[3][0].tobytes() == parts[3].tobytes()
    single = next(iter(pl.Batches(out, None, normalize=True)))[0]
    np.testing.assert_allclose(single, exact[0], rtol=1e-5, atol=1e-5)
    assert np.array_equal(pl.Batches(out, 100)[0][0], X)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_they_open_elsewhere_with_their_dimensions(wav: Path, tmp_path: Path, suffix: str) -> None:
    out = extract(wav, tmp_path / f"x{suffix}")
    found = pl.statistics(out)
    engine = "zarr" if suffix == ".zarr" else "h5netcdf"
    with xarray.open_dataset(out, engine=engine, chunks=None) as dataset:
        for name in ("mean", "std"):
            assert dataset[name].dims == ("frequency",)
            assert dataset[name].units == "Pa"
            assert np.array_equal(dataset[name], getattr(found, name))
        assert np.array_equal(dataset.features, pl.Batches(out, 100)[0][0])
        assert dataset.start.shape == (100,)


def test_a_packed_copy_takes_them_along_and_gets_none(wav: Path, tmp_path: Path) -> None:
    out = extract(wav, tmp_path / "x.h5")
    pack(out, tmp_path / "without.h5")
    with pytest.raises(ValueError, match="is a packed copy, to which nothing is added; compute"):
        pl.statistics(tmp_path / "without.h5")
    found = pl.statistics(out)
    pack(out, tmp_path / "with.h5")
    assert pl.statistics(tmp_path / "with.h5").mean.tobytes() == found.mean.tobytes()
    packed, plain = (pl.Batches(p, 100, normalize=True) for p in (tmp_path / "with.h5", out))
    assert np.array_equal(packed[0][0], plain[0][0])
    with h5py.File(tmp_path / "with.h5") as file:
        assert file["mean"].dims[0][0].name == "/frequency"


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_masked_windows_do_not_count_and_are_not_read(tmp_path: Path, suffix: str) -> None:
    rng = np.random.default_rng(0)
    for name in "ab":
        np.save(tmp_path / f"{name}.npy", rng.standard_normal((5000, 1)).astype(np.float32))
    out, sources = tmp_path / f"x{suffix}", [tmp_path / "a.npy", tmp_path / "b.npy"]
    bad = np.load(sources[1])
    bad[2010, 0] = np.nan  # of window 70
    np.save(sources[1], bad)
    plan = planned(sources, out, Cut("spectrogram"), window=0.05, samplerate=2000)
    run(plan, Cluster(threads=1))
    batches = pl.Batches(out, 100)
    assert 0 < batches.valid.sum() < 100
    mean, std = expected(batches[0][0][batches.valid], "spectrogram")
    found = pl.statistics(out)
    np.testing.assert_allclose(found.mean, mean, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(found.std, std, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_any_number_of_threads_gives_the_same_bits(
    wav: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    found = set()
    for number in (1, 2, 5):
        out = extract(wav, tmp_path / f"{number}{suffix}")
        monkeypatch.setattr(row_statistics, "cores", lambda number=number: number)
        monkeypatch.setattr(row_statistics, "READ_BYTES", 1 << (7 * number))
        seen: list[tuple[int, int]] = []
        mean_and_std = pl.statistics(out, progress=lambda *now, seen=seen: seen.append(now))
        found.add((mean_and_std.mean.tobytes(), mean_and_std.std.tobytes()))
        assert seen == sorted(seen)
        assert seen[-1] == (100, 100)
    assert len(found) == 1


def test_what_has_no_statistics_says_so(cli: Cli, wav: Path, tmp_path: Path) -> None:
    out = extract(wav, tmp_path / "x.zarr")
    with pytest.raises(
        ValueError, match=f"normalize=True needs; run audio-pipeline statis.* {out}"
    ):
        pl.Batches(out, normalize=True)
    assert json.loads(cli("info", out, "--json").out)["statistics"] == []
    assert cli("statistics", out) == (0, "mean and std of 6 rows: stored\n", "")
    before = snapshot(tmp_path)
    assert cli("statistics", out) == (0, "mean and std of 6 rows: already there\n", "")
    assert snapshot(tmp_path) == before
    assert json.loads(cli("info", out, "--json").out)["statistics"] == ["mean", "std"]
    forget(out)
    ended = cli("statistics", out)
    assert (ended.code, "is not finished: 0 of 2 regions are done; run extract" in ended.err) == (
        *(2, True),
    )
    ended = cli("statistics", tmp_path / "none.zarr")
    assert (ended.code, "does not exist; extract makes it" in ended.err) == (2, True)


def test_without_a_valid_window_there_are_none(write_wav: Write, cli: Cli, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.full((3000, 1), np.nan, np.float32))
    arguments = ("--samplerate", 1000, "--n-fft", 32, "--frame-length", 20)
    assert cli("extract", "a.npy", "--out", "x.zarr", *arguments).code == 1
    before = snapshot(tmp_path / "x.zarr")
    ended = cli("statistics", "x.zarr")
    assert ended.code == 2
    assert "x.zarr has no valid window, and so no statistics; see audio-pipeline" in ended.err
    assert snapshot(tmp_path / "x.zarr") == before


@pytest.mark.parametrize("name", ["mean", "std"])
def test_an_axis_may_not_have_their_name(wav: Path, tmp_path: Path, name: str) -> None:
    @dataclasses.dataclass(frozen=True)
    class Other(Cut):
        @property
        def axes(self) -> tuple[pl.Axis, ...]:
            return (pl.Axis(name, np.arange(3.0)),)

    with pytest.raises(ValueError, match=f"has an axis of the name {name}, which a store has"):
        pl.extract(wav, tmp_path / "x.zarr", Other("one"))


def moments_by_hand(X: Array) -> tuple[Array, Array]:
    """Of rows that are the second axis, in the longest floats that there are."""
    values = np.where(np.isfinite(X), X, np.nan).astype(np.longdouble)
    return np.nanmean(values, axis=(0, 2)), np.nanstd(values, axis=(0, 2))


@pytest.mark.parametrize(
    ("rtol", "make"),
    [
        (1e-9, lambda rng: -14 + 0.001 * rng.standard_normal((50, 3, 40))),
        (1e-9, lambda rng: 10 ** rng.uniform(-10, 0, (50, 3, 40))),
        (1e-9, lambda rng: 10 ** rng.uniform(-30, -20, (50, 3, 40))),
        (1e-9, lambda rng: 1e6 + rng.uniform(0, 1, (50, 3, 40))),
        (1e-9, lambda rng: np.cumsum(rng.standard_normal((50, 3, 40)), axis=0) - 1000),
    ],
)
def test_digits_are_kept_near_a_large_mean_and_over_ten_decades(
    monkeypatch: pytest.MonkeyPatch, rtol: float, make: Any
) -> None:
    monkeypatch.setattr(moments, "TILE", 2 * 3 * 40)
    X = make(np.random.default_rng(0)).astype(np.float32)
    mean, std = moments_by_hand(X)
    shards = [moments_of([X[a : a + 8]], (2,)) for a in range(0, 50, 8)]
    joined = shards[0]
    for shard in shards[1:]:
        joined = joined.joined(shard)
    found = joined.mean_and_std()
    np.testing.assert_allclose(found[0], mean.astype(float), rtol=1e-12)
    np.testing.assert_allclose(found[1], std.astype(float), rtol=rtol)


FLOATS = st.floats(-(2.0**100), 2.0**100, width=32) | st.sampled_from([np.nan, np.inf, -np.inf])


@given(X=arrays(np.float32, (7, 3, 4), elements=FLOATS), cut=st.integers(1, 6))
def test_what_is_not_finite_does_not_count(X: Array, cut: int) -> None:
    found = moments_of([X[:cut]], (2,)).joined(moments_of([X[cut:]], (2,)))
    finite = np.isfinite(X)
    assert found.count.tolist() == finite.sum(axis=(0, 2)).tolist()
    mean, std = found.mean_and_std()
    assert np.isnan(mean).tolist() == np.isnan(std).tolist() == (found.count == 0).tolist()
    for row in np.flatnonzero(found.count):
        values = X[:, row][finite[:, row]].astype(np.float64)
        largest = np.abs(values).max()
        assert mean[row] == pytest.approx(values.mean(), rel=1e-12, abs=1e-12 * largest)
        assert std[row] == pytest.approx(values.std(), rel=1e-6, abs=1e-7 * largest)


def test_nothing_is_nothing_when_joined() -> None:
    none = Moments(*np.zeros((3, 2)))
    some = moments_of([np.ones((3, 2, 4), np.float32)], (2,))
    for both in (none.joined(some), some.joined(none)):
        assert [*map(list, both.mean_and_std())] == [[1, 1], [0, 0]]


@given(n=st.integers(1, 30), steps=st.integers(1, 9), shape=st.sampled_from([(3, 4), (12,), ()]))
def test_blocks_may_be_cut_anywhere_between_tiles(
    n: int, steps: int, shape: tuple[int, ...]
) -> None:
    X = np.random.default_rng(n).standard_normal((n, *shape)).astype(np.float32)
    along = (2,) if len(shape) == 2 else ()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(moments, "TILE", 24)
        step = steps * windows_of_a_tile(shape)
        whole = moments_of([X], along)
        parts = moments_of([X[a : a + step] for a in range(0, n, step)], along)
    for name in ("count", "mean", "squares"):
        assert getattr(whole, name).tobytes() == getattr(parts, name).tobytes()


def test_halves_are_widened_exactly() -> None:
    every = np.arange(65536, dtype=np.uint16).view(np.float16)
    for values in (every[np.isfinite(every)], every, every[:0]):
        out = np.empty(values.shape, np.float32)
        halves.widen(values, out)
        bits = np.uint32 if np.isfinite(values).all() else np.float32
        assert np.array_equal(
            *(x.view(bits) for x in (out, values.astype(np.float32))), equal_nan=bits is np.float32
        )


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_real_recordings(audio: Path, tmp_path: Path, suffix: str) -> None:
    (source,) = sorted(audio.rglob("*.wav"))[:1]
    out = tmp_path / f"x{suffix}"
    assert pl.extract(source, out, pl.Spectrogram(n_fft=64, frame_length=20, hop_length=200)).ok
    X = np.concatenate([X for X, _ in pl.Batches(out)]).astype(np.float64)
    found = pl.statistics(out)
    np.testing.assert_allclose(found.mean, X.mean(axis=(0, 2)), rtol=1e-10)
    np.testing.assert_allclose(found.std, X.std(axis=(0, 2)), rtol=1e-7, atol=1e-12)
    normalized = np.concatenate([X for X, _ in pl.Batches(out, normalize=True)])
    assert np.abs(normalized.mean(axis=(0, 2), dtype=float)).max() < 1e-3
    assert verify(out) == []
    shutil.rmtree(out, ignore_errors=True)
