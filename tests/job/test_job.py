"""A job stores what the article's three ideas compute, on any engine, and goes on."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import pytest
import scipy.signal
import soundfile
from conftest import FEATURE, SHIPPED, Write, planned, record_folder, stored
from distributed import LocalCluster
from threadpoolctl import threadpool_info

import pipeline as pl
import pipeline.job.extraction
from pipeline.cluster.capacity import capacity_of
from pipeline.cluster.entry import Cluster, load_cluster
from pipeline.job.extraction import run
from pipeline.job.plan import Plan
from pipeline.job.projection import check_fits, feature_bytes
from pipeline.settings import Settings
from pipeline.store import open_store

Array = npt.NDArray[Any]
TWO = capacity_of(Cluster(threads=2))


def spectrogram(x: Array, fs: int) -> Array:
    """What all three of the article's ideas do with one window."""
    x = (x - x.mean()) / x.std()
    _, _, power = scipy.signal.spectrogram(x, fs, nperseg=int(fs / 400), noverlap=0, nfft=512)
    log: Array = np.full((257, 400), np.log(1e-6))
    log[:, : power.shape[1]] = np.log(power + 1e-6)
    return log


def big_tensor(path: Path) -> tuple[Array, Array]:
    """Idea 1: all of it at once."""
    with h5py.File(path) as file:
        audio, y, fs = file["audio"][:, 0].astype(float), file["label"][:], 8000
    n = int(np.ceil(len(audio) / fs))
    return np.stack([spectrogram(audio[t * fs : (t + 1) * fs], fs) for t in range(n)]), y


def load_window(path: Path, t: int) -> tuple[Array, Any]:
    """Idea 2: one window, whenever it is asked for."""
    with h5py.File(path) as file:
        fs = file["audio"].attrs["sampling_rate"]
        x = file["audio"][t * fs : (t + 1) * fs, 0].astype(float)
        return spectrogram(x, fs), file["label"][t]


def generate(path: Path) -> Iterator[tuple[Array, Any]]:
    """Idea 3: a generator over the file."""
    with h5py.File(path) as file:
        fs = file["audio"].attrs["sampling_rate"]
        for t in range(int(np.ceil(len(file["audio"]) / fs))):
            x = file["audio"][t * fs : (t + 1) * fs, 0].astype(float)
            yield spectrogram(x, fs), file["label"][t]


@pytest.fixture
def article_file(audio: Path, tmp_path: Path) -> Path:
    """The article's HDF5 file, of real spoken digits; the last window is partial."""
    samples, fs = soundfile.read(audio / "digits-8k" / "digits_long.wav", dtype="int16")
    samples = samples[: 30 * fs + 1234]
    path = tmp_path / "article.h5"
    with h5py.File(path, "w") as file:
        file["audio"] = np.stack([samples, np.zeros_like(samples)], axis=1)
        file["audio"].attrs["sampling_rate"] = fs
        file["label"] = np.arange(31) % 2
    return path


@pytest.mark.parametrize("ending", ["zarr", "h5"])
def test_batches_give_what_the_article_s_three_ideas_give(
    article_file: Path, tmp_path: Path, ending: str
) -> None:
    out = tmp_path / f"features.{ending}"
    assert pl.extract(article_file, out).ok
    big_X, big_y = big_tensor(article_file)
    batches = pl.Batches(out, batch_size=None)
    assert len(batches) == len(big_X) == 31
    for t, ((X, y), (third_X, third_y)) in enumerate(
        zip(batches, generate(article_file), strict=True)
    ):
        second_X, second_y = load_window(article_file, t)
        for expected in (big_X[t], second_X, third_X):
            assert np.abs(X - expected).max() < 1e-4
        assert y == big_y[t] == second_y == third_y
    assert np.array_equal(np.concatenate([y for _, y in pl.Batches(out, 7)]), big_y)


@pytest.mark.parametrize("ending", ["zarr", "h5"])
def test_every_engine_stores_the_same_bits(
    sources: list[Path], tmp_path: Path, ending: str
) -> None:
    kept = {}
    with LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0"
    ) as running:
        engines = {
            "one thread": Cluster(threads=1),
            "three threads": Cluster(threads=3),
            "existing": Cluster("existing", address=running.scheduler_address),
        }
        for name, cluster in engines.items():
            out = tmp_path / f"{name}.{ending}"
            report = run(planned(sources, out), cluster)
            assert report.ok
            assert report.computed == report.regions > 4
            kept[name] = stored(out)
    assert len(kept["one thread"]) > 4
    assert kept["one thread"] == kept["three threads"] == kept["existing"]


def test_the_local_processes_of_cluster_yaml_store_the_same_bits(
    sources: list[Path], tmp_path: Path
) -> None:
    assert run(planned(sources, tmp_path / "a.zarr"), Cluster(threads=2)).ok
    local = load_cluster(f"{SHIPPED}:local")
    assert run(planned(sources, tmp_path / "b.zarr"), local).ok
    assert stored(tmp_path / "a.zarr") == stored(tmp_path / "b.zarr")


def test_the_whole_file_at_once_gives_the_same_bits(sources: list[Path], tmp_path: Path) -> None:
    assert run(planned(sources, tmp_path / "x.zarr", hop=0.3), Cluster(threads=2)).ok
    recordings = pl.scan(sources)
    grid = pl.WindowGrid(recordings, hop=0.3)
    audio = pl.open_windows(recordings, grid, block=len(grid))
    whole = pl.map_windows(FEATURE, audio, grid).compute()
    assert np.array_equal(np.concatenate([X for X, _ in pl.Batches(tmp_path / "x.zarr")]), whole)


def test_stream_gives_what_batches_give(sources: list[Path], tmp_path: Path) -> None:
    labels = np.arange(len(pl.WindowGrid(pl.scan(sources))))
    assert pl.extract(sources, tmp_path / "x.zarr", FEATURE, labels).ok
    for size in (50, 64, None):
        batches = pl.Batches(tmp_path / "x.zarr", size)
        streamed = pl.stream(sources, FEATURE, labels, size, threads=3)
        n = 0
        for (X, y), (Z, z) in zip(batches, streamed, strict=True):
            assert np.array_equal(X, Z)
            assert np.array_equal(y, z)  # type: ignore[arg-type]
            n += 1
        assert n == len(batches)


def test_only_what_is_not_recorded_is_computed_again(sources: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "x.zarr"
    plan = planned(sources, out)
    assert run(plan, Cluster(threads=2)).computed == plan.layout.n_regions
    whole = stored(out)
    assert run(plan, Cluster(threads=2)).computed == 0
    log = sorted((record_folder(out) / "log").iterdir())[1]
    lines = log.read_text().splitlines(keepends=True)
    assert '"made"' in lines.pop()
    log.write_text("".join(lines[:-2]) + lines[-2][:30])  # killed while it wrote a line
    (out / "features" / "c.0.0.0").unlink()
    lost = {json.loads(line)["region"] for line in lines[-2:]} | {0}
    assert run(plan, Cluster(threads=2)).computed == len(lost)
    assert stored(out) == whole


@pytest.mark.parametrize("ending", ["zarr", "h5"])
def test_a_job_killed_before_it_was_finished_is_finished(
    sources: list[Path], tmp_path: Path, ending: str
) -> None:
    plan = planned(sources, tmp_path / f"x.{ending}")
    assert run(plan, Cluster(threads=2)).ok
    store = open_store(plan.out)
    with store.finishing() as aside:
        aside.fill("valid", 0, np.zeros(plan.layout.n_windows, bool))
    (store.record_folder / "finished").unlink()
    with pytest.raises(ValueError, match="is not finished"):
        pl.Batches(plan.out)
    assert run(plan, Cluster(threads=2)).computed == 0
    assert pl.Batches(plan.out).valid.all()


class Scaled:
    """A feature that is no dataclass, with a parameter that JSON does not know."""

    shape = (1,)
    frequencies = np.zeros(1)
    times = None

    def __init__(self, weights: Array) -> None:
        self.weights = weights

    def __call__(self, windows: Array) -> Array:
        return windows[:, : len(self.weights)] @ self.weights[:, None]


def test_a_feature_of_one_s_own_is_known_again_by_its_parameters(
    write_wav: Write, tmp_path: Path
) -> None:
    source, out = write_wav(), tmp_path / "x.zarr"
    weights = np.linspace(0, 1, 5000, dtype=np.float32)
    assert pl.extract(source, out, Scaled(weights)).computed == 1
    assert pl.extract(source, out, Scaled(weights.copy())).computed == 0
    weights[2500] += 1
    with pytest.raises(ValueError, match=r"weights was .*, and is now"):
        pl.extract(source, out, Scaled(weights))


@pytest.mark.parametrize("ending", ["zarr", "h5"])
def test_while_one_job_writes_another_is_refused(
    sources: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    plan = planned(sources, tmp_path / f"x.{ending}")
    other = planned(sources, tmp_path / f"x.{ending}", hop=0.5)
    true_started = pipeline.job.extraction.started

    @contextmanager
    def slowly(cluster: Cluster, *more: Any) -> Iterator[Any]:
        for one in (plan, other):
            with pytest.raises(
                ValueError, match=rf"another job \(process {os.getpid()} on .*\) is"
            ):
                run(one, cluster, overwrite=True)
        with true_started(cluster, *more) as engine:
            yield engine

    monkeypatch.setattr(pipeline.job.extraction, "started", slowly)
    assert run(plan, Cluster(threads=2)).ok
    assert pl.Batches(plan.out).valid.shape == (plan.layout.n_windows,)
    assert [path.name for path in tmp_path.glob(".*")] == []


@pytest.mark.parametrize("ending", ["zarr", "h5"])
def test_a_store_of_more_regions_is_overwritten_too(
    sources: list[Path], tmp_path: Path, ending: str
) -> None:
    out = tmp_path / f"x.{ending}"
    assert run(planned(sources, out), Cluster(threads=2)).regions > 1
    report = run(planned(sources[:1], out), Cluster(threads=2), overwrite=True)
    assert (report.regions, report.computed, report.ok) == (1, 1, True)
    assert len(pl.Batches(out).valid) == report.windows


def test_streams_give_the_blas_threads_back(sources: list[Path]) -> None:
    before = [pool["num_threads"] for pool in threadpool_info()]
    first, second = (pl.stream(sources, FEATURE, threads=1) for _ in range(2))
    next(first), next(second)
    first.close()  # type: ignore[attr-defined]
    second.close()  # type: ignore[attr-defined]
    assert [pool["num_threads"] for pool in threadpool_info()] == before


@pytest.mark.parametrize("ending", ["zarr", "h5"])
def test_another_job_s_store_is_refused_with_the_difference(
    write_wav: Write, tmp_path: Path, ending: str
) -> None:
    out, source = tmp_path / f"x.{ending}", write_wav(seconds=5)
    assert pl.extract(source, out, FEATURE).ok
    before = stored(out)
    other = pl.Spectrogram(n_fft=32, frame_length=20, hop_length=50)
    cases: list[tuple[dict[str, Any], str]] = [
        ({"features": FEATURE, "hop": 0.5}, "hop was 1.0, and is now 0.5"),
        ({"features": other}, "n_fft was 64, and is now 32"),
        ({"features": FEATURE, "labels": np.zeros(5)}, "other labels"),
        ({"features": FEATURE, "sources": [source, write_wav("b.wav")]}, "b.wav is new among"),
    ]
    for changed, message in cases:
        with pytest.raises(ValueError, match=message):
            pl.extract(**{"sources": source, "out": out, **changed})
    two = tmp_path / f"two.{ending}"
    assert pl.extract([source, write_wav("b.wav")], two, FEATURE).ok
    with pytest.raises(ValueError, match="the order of the sources differs"):
        pl.extract([tmp_path / "b.wav", source], two, FEATURE)
    os.utime(source, (0, 0))
    with pytest.raises(ValueError, match=r"noise\.wav was changed; .* or --overwrite"):
        pl.extract(source, out, FEATURE)
    assert stored(out) == before
    assert pl.extract(source, out, other, overwrite=True).ok
    assert pl.Batches(out)[0][0].shape == (5, 17, 160)


def test_a_region_that_fails_is_reported_and_the_others_go_on(
    sources: list[Path], tmp_path: Path
) -> None:
    soundfile.write(tmp_path / "steady.wav", np.full(4000, 0.5), 2000)
    unlucky = [tmp_path / "steady.wav", *sources]
    report = run(planned(unlucky, tmp_path / "x.zarr", FailsOnce()), Cluster(threads=2))
    assert [region for region, _ in report.failed] == [0]
    assert "RuntimeError: no luck" in report.failed[0][1]
    assert report.computed == report.regions - 1
    assert not report.ok
    assert "failed: region 0" in str(report)
    with pytest.raises(ValueError, match="is not finished"):
        pl.Batches(tmp_path / "x.zarr")


class FailsOnce:
    """Fails at steady windows: only the first region has some."""

    shape = (8,)
    frequencies = np.arange(8.0)
    times = None

    def __call__(self, windows: Array) -> Array:
        if (windows == 0.5).all(axis=1).any():
            raise RuntimeError("no luck")
        return np.repeat(windows[:, :1], 8, axis=1)


def test_broken_audio_is_masked_and_reported(audio: Path, tmp_path: Path) -> None:
    out, broken = tmp_path / "x.zarr", audio / "broken"
    (tmp_path / "empty.wav").touch()
    sources = [broken / "flipped_bytes.flac", tmp_path / "empty.wav", broken / "truncated.flac"]
    n = 301 + 301
    report = pl.extract(sources, out, labels=np.arange(n))
    assert not report.ok
    assert [Path(path).name for path, _ in report.unreadable] == ["empty.wav"]
    assert {Path(reason.split(":")[0]).name for _, _, reason in report.masked} == {
        *("flipped_bytes.flac", "truncated.flac")
    }
    batches = pl.Batches(out, n)
    masked = np.zeros(n, bool)
    for start, stop, _ in report.masked:
        masked[start:stop] = True
    assert np.array_equal(batches.valid, ~masked)
    X, y = batches[0]
    assert np.array_equal(y, np.arange(n))  # type: ignore[arg-type]
    assert (X[masked] == np.float32(pl.Spectrogram().floor)).all()
    assert np.isfinite(X).all()
    assert not masked[[0, 6, 301, 301 + 36]].any()
    assert masked[[7, 300, 301 + 37, n - 1]].all()


def test_on_error_stop_ends_at_the_first(audio: Path, tmp_path: Path) -> None:
    report = pl.extract(
        audio / "broken" / "flipped_bytes.flac", tmp_path / "x.zarr", on_error="stop"
    )
    assert not report.ok
    assert "cannot be read from sample" in report.failed[0][1]
    assert report.computed < report.regions
    with pytest.raises(OSError, match="cannot be read"):
        list(pl.stream(audio / "broken" / "flipped_bytes.flac", on_error="stop"))
    with pytest.warns(RuntimeWarning, match="flipped_bytes.flac: it cannot be read"):
        X = np.concatenate([X for X, _ in pl.stream(audio / "broken" / "flipped_bytes.flac")])
    assert len(X) == 301


def test_progress_is_told(sources: list[Path], tmp_path: Path) -> None:
    told: list[pl.Progress] = []
    plan = planned(sources, tmp_path / "x.zarr")
    report = run(plan, Cluster(threads=2), progress=told.append)
    assert [p.regions for p in told] == list(range(report.regions + 1))
    assert told[-1].windows == told[-1].n_windows == report.windows
    assert all(p.n_regions == report.regions for p in told)


def test_a_job_that_cannot_fit_is_refused(
    write_wav: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = Plan.make(write_wav(), tmp_path / "x.zarr", pl.Spectrogram())
    check_fits(plan, TWO)
    with pytest.raises(MemoryError, match=r"100000 threads need .* GB, but the machine has"):
        check_fits(plan, capacity_of(Cluster(threads=100_000)))
    usage = shutil.disk_usage(tmp_path)
    for ending, settings, share, smaller in (
        ("zarr", {}, 0.9, ", or --dtype float16, or --dtype uint8, or --compression lz4"),
        ("zarr", {"dtype": "float16"}, 0.9, ", or --dtype uint8, or --compression lz4"),
        ("zarr", {"dtype": "uint8"}, 0.9, ", or --compression lz4"),
        ("zarr", {"compression": "zstd"}, 0.4, ", or --dtype float16, or --dtype uint8"),
        ("h5", {}, 0.9, ", or --dtype float16, or --dtype uint8"),
        ("h5", {"feature": pl.Spectrogram(output="power")}, 0.9, ", or --dtype float16"),
    ):
        feature = settings.pop("feature", pl.Spectrogram())
        out, made = tmp_path / f"x.{ending}", Settings.from_mapping(settings)
        plan = Plan.make(tmp_path / "noise.wav", out, feature, settings=made)
        for free in (share, share + 0.2):
            left = usage._replace(free=int(free * feature_bytes(plan)))
            monkeypatch.setattr(shutil, "disk_usage", lambda _, left=left: left)
            if free > share:
                check_fits(plan, TWO)
                continue
            with pytest.raises(OSError, match=f"at least, .* or pass another path{smaller}$"):
                check_fits(plan, TWO)


def test_an_unknown_setting_names_the_nearest(write_wav: Write, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'windows' is not a known setting; did you mean 'window'"):
        pl.extract(write_wav(), tmp_path / "x.zarr", windows=2.0)
    with pytest.raises(ValueError, match="tail is 'keep'; allowed are pad and drop"):
        Settings(tail="keep")  # type: ignore[arg-type]
