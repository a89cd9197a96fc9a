"""Variables are attached to a finished store at once or not at all, whatever kills or reads it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import xarray
from attaching import KILL, look
from commands import start
from conftest import SUFFIXES, Array, Cli, Write, planned, record_folder, snapshot, stored
from s3 import Bucket

import pipeline as pl
from pipeline.cluster.entry import Cluster
from pipeline.job import info_of, status_of
from pipeline.job.extraction import run
from pipeline.job.verification import verify
from pipeline.store import Attachment, Variable, attach, open_finished

FEATURE = pl.Spectrogram(n_fft=32, frame_length=20)
NAMES = ("mean", "std")


class Made:
    """A finished store of several regions, and the job that makes it."""

    def __init__(self, folder: Path, suffix: str) -> None:
        self.out, self.folder = folder / f"x{suffix}", folder
        self.sources = [folder / "a.wav", folder / "b.wav"]
        for number, source in enumerate(self.sources):
            samples = 0.1 * np.random.default_rng(number).standard_normal(60 * 50)
            soundfile.write(source, samples, 1000, subtype="FLOAT")
        assert self.extract() == 2
        self.whole = stored(self.out)

    def extract(self, **settings: Any) -> int:
        """Give the same command again; how many regions that computed."""
        sources = [source for source in self.sources if source.exists()]
        settings = {"window": 0.05, **settings}
        return run(planned(sources, self.out, FEATURE, **settings), Cluster(threads=1)).computed

    def copy(self, name: str) -> Path:
        """Its files elsewhere, under the same name."""
        shutil.copytree(self.folder, self.folder.parent / name)
        return self.folder.parent / name / self.out.name

    def part(self) -> Path:
        """A file of features."""
        if self.out.is_dir():
            return self.out / "features" / "c.5.0.0"
        return sorted(Path(f"{self.out}.parts").glob("*.h5"))[1]

    def damage(self) -> None:
        """Flip a bit of it, have it found, and marked to be done again."""
        part = self.part()
        data = bytearray(part.read_bytes())
        data[len(data) // 3] ^= 1
        part.write_bytes(data)
        assert [damage.file for damage in verify(self.out, repair=True)] == [str(part)]


@pytest.fixture
def made(tmp_path: Path, suffix: str) -> Made:
    (tmp_path / "in").mkdir()
    return Made(tmp_path / "in", suffix)


def seen(out: Path) -> list[str]:
    """Which of the statistics are there, for every way to look at a store, which agree."""
    assert verify(out) == []
    assert status_of(out)["finished"]
    found: list[str] = info_of(out)["statistics"]
    engine = "zarr" if out.suffix == ".zarr" else "h5netcdf"
    with xarray.open_dataset(out, engine=engine, chunks=None) as dataset:
        assert [name for name in NAMES if name in dataset] == found
        assert dataset.start.shape == (120,)
        for name in found:
            assert np.isfinite(dataset[name]).all()
    assert len(pl.Batches(out)) == 2
    if found:
        assert np.isfinite(pl.Batches(out, normalize=True)[0][0]).all()
    else:
        with pytest.raises(ValueError, match="run audio-pipeline statistics"):
            pl.Batches(out, normalize=True)
    return found


def variable(values: Array, *dims: str) -> Variable:
    return Variable(dims, values.shape, values.dtype, {"units": "1"}, values)


def test_what_is_attached_is_read_by_all(made: Made) -> None:
    before = snapshot(made.folder)
    names = np.array(["train", "tést"] * 60, dtype=object)
    variables = {
        "split": variable(names, "window"),
        "number": variable(np.array(7), *()),
        "level": variable(np.arange(33.0).reshape(3, 11), "a", "b"),
    }
    attach(open_finished(made.out), Attachment(variables))
    store = open_finished(made.out)
    split, number, level = (store.get(name) for name in ("split", "number", "level"))
    assert split is not None
    assert split.tolist() == names.tolist()
    assert number == 7
    assert np.array_equal(level, np.arange(33.0).reshape(3, 11))  # type: ignore[arg-type]
    assert seen(made.out) == []
    engine = "zarr" if made.out.suffix == ".zarr" else "h5netcdf"
    with xarray.open_dataset(made.out, engine=engine, chunks=None) as dataset:
        assert dataset.split.dims == ("window",)
        assert dataset.split.values.tolist() == names.tolist()
    changed = {path for path, was in snapshot(made.folder).items() if before.get(path) != was}
    features = {path for path in changed if "features/c" in path or "parts/" in path}
    assert not {path for path in features if path.endswith(".h5") or "c." in path}


def test_extract_again_leaves_every_byte(made: Made) -> None:
    pl.statistics(made.out)
    assert seen(made.out) == [*NAMES]
    before = snapshot(made.out.parent)
    assert made.extract() == 0
    after = snapshot(made.out.parent)
    assert {k: v for k, v in before.items() if "/" in k} == {
        k: v for k, v in after.items() if "/" in k
    }
    assert seen(made.out) == [*NAMES]


def test_killed_anywhere_the_store_has_both_or_is_as_it_was(made: Made) -> None:
    whole = made.copy("whole")
    pl.statistics(whole)
    expected, first = stored(whole), stored(made.out)
    last = 6 if made.out.suffix == ".zarr" else 2  # the record, the files, the root
    for n in range(1, last + 2):
        out, kill = made.copy(f"{n}"), KILL.format(n=min(n, last), before=n <= last)
        ended = start("statistics", out, cwd=out.parent, before=kill).wait()
        assert ended.code == -signal.SIGKILL
        assert seen(out) == ([*NAMES] if n > last else [])
        assert first.items() <= stored(out).items() or stored(out) == expected
        assert status_of(out)["running"] == []
        ended = start("statistics", out, cwd=out.parent).wait()
        assert (
            ended.out == f"mean and std of 17 rows: {'already there' if n > last else 'stored'}\n"
        )
        assert seen(out) == [*NAMES]
        assert stored(out) == expected
        assert n > last or [path.name for path in out.parent.glob(".*")] == []


def test_what_a_killed_process_has_left_goes_with_the_repair(made: Made) -> None:
    for n in (1, 2, 4):
        out = made.copy(f"{n}")
        ended = start("statistics", out, cwd=out.parent, before=KILL.format(n=n, before=False))
        ended.wait()
        twin = Made.__new__(Made)
        twin.out, twin.folder, twin.sources = out, out.parent, made.sources
        twin.damage()
        assert twin.extract() == 1
        assert seen(out) == []
        assert stored(out) == made.whole


def test_a_full_disk_leaves_the_store_as_it_was(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.replace

    def full(source: Any, target: Any) -> None:
        if Path(target).name in ("zarr.json", "x.h5"):
            raise OSError(28, "No space left on device", str(target))
        real(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(OSError, match="No space left"):
            pl.statistics(made.out)
    assert seen(made.out) == []
    assert [path.name for path in made.folder.glob(".*")] == []
    pl.statistics(made.out)
    assert seen(made.out) == [*NAMES]


def test_who_reads_meanwhile_is_not_disturbed(made: Made) -> None:
    whole = pl.Batches(made.out, 120)[0][0]
    for n in range(6):
        out, stop, errors = made.copy(str(n)), threading.Event(), list[BaseException]()
        reading = iter(pl.Batches(out, 10))
        next(reading)
        threads = [
            threading.Thread(target=look, args=(one, out, stop, errors))
            for one in (pl.Batches, info_of, verify)
        ]
        for thread in threads:
            thread.start()
        pl.statistics(out)
        stop.set()
        for thread in threads:
            thread.join()
        assert errors == []
        assert np.array_equal(np.concatenate([X for X, _ in reading]), whole[10:])


def test_a_second_job_is_refused_meanwhile(made: Made, cli: Cli) -> None:
    hold = "import time, pipeline.training.row_statistics as s\n"
    hold += "def wait(*_): open('held', 'w').close(); time.sleep(60)\n"
    hold += "s._moments_of_store = wait\n"
    running = start("statistics", made.out, cwd=made.folder, before=hold)
    while not (made.folder / "held").exists():
        assert running.poll() is None
    assert len(status_of(made.out)["running"]) == 1
    ended = cli("statistics", made.out)
    assert (ended.code, "is writing to" in ended.err) == (2, True)
    os.kill(running.pid, signal.SIGINT)
    ended = running.wait()
    assert (ended.code, ended.err.strip()) == (130, "interrupted")
    assert seen(made.out) == []
    assert [path.name for path in made.folder.glob(".*")] == []


def test_a_repaired_store_is_without_them_until_they_are_computed_again(
    made: Made, cli: Cli
) -> None:
    old = pl.statistics(made.out)
    made.damage()
    with pytest.raises(ValueError, match="is not finished: 1 of 2 regions are done"):
        pl.Batches(made.out, normalize=True)
    assert [damage.kind for damage in verify(made.out)] == ["stale"]
    assert made.extract() == 1
    assert seen(made.out) == []
    assert stored(made.out) == made.whole
    new = pl.statistics(made.out)
    assert new.computed
    assert new.mean.tobytes() == old.mean.tobytes()
    assert new.std.tobytes() == old.std.tobytes()


def test_a_region_that_is_computed_again_without_repair_takes_them_away(made: Made) -> None:
    pl.statistics(made.out)
    made.part().unlink()
    assert made.extract() == 1
    assert seen(made.out) == []
    assert stored(made.out) == made.whole


def test_those_of_windows_that_are_lost_do_not_survive(made: Made) -> None:
    pl.statistics(made.out)
    made.damage()
    made.sources[1].unlink()
    assert made.extract(on_lost="mask") == 1
    assert seen(made.out) == []
    batches = pl.Batches(made.out, 120)
    assert 0 < batches.valid.sum() < 120
    X = batches[0][0][batches.valid].astype(np.float64)
    np.testing.assert_allclose(pl.statistics(made.out).mean, X.mean(axis=(0, 2)), rtol=1e-12)
    assert seen(made.out) == [*NAMES]


def test_every_damaged_byte_of_them_is_found_and_repaired(made: Made) -> None:
    pl.statistics(made.out)
    names = (
        ["x.h5"]
        if made.out.suffix == ".h5"
        else [f"{n}/{f}" for n in NAMES for f in ("c.0", "zarr.json")]
    )
    for name in [*names, *(["zarr.json"] if made.out.is_dir() else [])]:
        path = made.out / name if made.out.is_dir() else made.out
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
        assert [damage.file for damage in verify(made.out)] == [str(path)]
        if not name.endswith("c.0"):  # of a chunk it is seen when it is read
            with pytest.raises(OSError, match="is damaged or missing; verify --repair"):
                pl.Batches(made.out)
        with pytest.raises(OSError, match="damaged"):
            pl.Batches(made.out, normalize=True)
        verify(made.out, repair=True)
        assert made.extract() == 0
        assert seen(made.out) == []
        assert stored(made.out) == made.whole
        pl.statistics(made.out)
        assert seen(made.out) == [*NAMES]


def test_a_damaged_entry_of_the_record_is_found_and_repaired(made: Made) -> None:
    pl.statistics(made.out)
    finished = record_folder(made.out) / "finished"
    data = bytearray(finished.read_bytes())
    data[len(data) // 2] ^= 1
    finished.write_bytes(data)
    assert str(finished) in [damage.file for damage in verify(made.out)]
    verify(made.out, repair=True)
    assert made.extract() == 0
    assert seen(made.out) == []
    assert stored(made.out) == made.whole


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_store_that_was_finished_before_there_were_any_opens(made: Made, suffix: str) -> None:
    from pipeline.record.lines import with_checksum

    finished = record_folder(made.out) / "finished"
    values = json.loads(finished.read_bytes())
    del values["check"], values["attached"]
    finished.write_bytes(with_checksum(values))
    assert seen(made.out) == []
    pl.statistics(made.out)
    assert seen(made.out) == [*NAMES]


def test_statistics_of_a_store_in_a_bucket(s3: Bucket, write_wav: Write, tmp_path: Path) -> None:
    wav, out, local = write_wav(seconds=70), f"{s3.url}/statistics/x.zarr", tmp_path / "x.zarr"
    for path in (out, local):
        assert pl.extract(wav, path, FEATURE).ok
    ours, theirs = (pl.statistics(path) for path in (out, local))
    assert ours.mean.tobytes() == theirs.mean.tobytes()
    assert not pl.statistics(out).computed
    assert verify(out) == []
    batches, others = (pl.Batches(path, 70, normalize=True) for path in (out, local))
    assert np.array_equal(batches[0][0], others[0][0])
