"""A split is stored at once or not at all, stays with its store, and statistics are of a part."""

from __future__ import annotations

import json
import re
import shutil
import signal
import threading
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import soundfile
import xarray
from attaching import KILL, look
from commands import start
from conftest import SUFFIXES, Array, Cli, snapshot, stored

import pipeline as pl
from pipeline.job import info_of, status_of
from pipeline.job.verification import verify
from pipeline.store import open_finished, pack
from pipeline.training import store_split
from pipeline.training.stored_split import stored_split

FEATURE = pl.Spectrogram(n_fft=32, frame_length=20)
PARTS = "train=.4,valid=.3,test=.3"
FRACTIONS = {"train": 0.4, "valid": 0.3, "test": 0.3}
TABLE = "path,start,end,label\n" + "".join(
    f"rec{i}.wav,0.2,{1.5 + i % 2},{('owl', 'fox', 'bat')[i % 3]}\n" for i in range(0, 12, 2)
)
TIMES = {"datetime": "%Y%m%d_%H%M%S", "timezone": "UTC"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twelve recordings of three windows, of which some have events."""
    (tmp_path / "in").mkdir()
    for i in range(12):
        samples = 0.1 * np.random.default_rng(i).standard_normal(3 * 500)
        soundfile.write(
            tmp_path / "in" / f"rec{i}.wav", (i + 1) * samples / 12, 500, subtype="FLOAT"
        )
    (tmp_path / "events.csv").write_text(TABLE)
    return tmp_path / "in"


@pytest.fixture(params=SUFFIXES)
def out(request: pytest.FixtureRequest, folder: Path) -> Path:
    path = folder.parent / f"x{request.param}"
    assert pl.extract(folder, path, FEATURE, str(folder.parent / "events.csv")).ok
    return path


def opened(path: Path) -> xarray.Dataset:
    engine = "zarr" if path.suffix == ".zarr" else "h5netcdf"
    with xarray.open_dataset(path, engine=engine, chunks=None) as dataset:
        return dataset.load()


def split_of(path: Path) -> dict[str, list[int]] | None:
    """The split, for every way to look at a store, which agree; None if it has none."""
    assert verify(path) == []
    assert status_of(path)["finished"]
    assert len(pl.Batches(path, 36)) == 1
    store, dataset, found = open_finished(path), opened(path), info_of(path)
    if "split" not in dataset:
        assert found["split"] is None
        with pytest.raises(ValueError, match=f"{path} has no split, of which 'train' would be a"):
            stored_split(store, "train")
        return None
    assert "split" in dataset.coords
    assert dataset.split.dims == ("window",)
    assert dataset.split.dtype == np.int8
    names = dataset.split.flag_meanings.split()
    assert [*dataset.split.flag_values] == [*range(len(names))]
    assert [*found["split"]] == names
    heard = dataset.label.values.reshape(36, len(dataset["class"]), -1).any(axis=2)
    parts = {}
    for i, name in enumerate(names):
        windows = np.flatnonzero(dataset.split == i)
        assert np.array_equal(stored_split(store, name), windows)
        told = found["split"][name]
        n_recordings = len(np.unique(dataset.recording[windows]))
        assert (told["windows"], told["recordings"]) == (len(windows), n_recordings)
        counts = dict(zip(dataset["class"].values.tolist(), heard[windows].sum(0), strict=True))
        assert found["classes_by_split"][name] == counts
        parts[name] = windows.tolist()
    return parts


def listed(found: dict[str, Array]) -> dict[str, list[int]]:
    return {name: windows.tolist() for name, windows in found.items()}


def test_what_is_stored_is_what_is_split_and_is_replaced(out: Path, cli: Cli) -> None:
    assert split_of(out) is None
    whole = opened(out)
    ended = cli("split", out, "--parts", PARTS, "--json")
    assert (ended.code, ended.err) == (0, "")
    told = json.loads(ended.out)
    expected = pl.split(out, FRACTIONS)
    assert split_of(out) == listed(expected)
    assert all(len(windows) for windows in expected.values())
    assert told == {
        **{"by": "recording", "seed": 0, "groups": 12, "divided": 0},
        "parts": {
            name: {
                **{"fraction": FRACTIONS[name], "windows": len(windows)},
                **{"recordings": len(windows) // 3, "groups": len(windows) // 3},
            }
            for name, windows in expected.items()
        },
    }
    assert whole.equals(opened(out).drop_vars("split"))
    before = snapshot(out.parent)
    assert cli("split", out, "--parts", PARTS, "--json") == ended
    assert snapshot(out.parent) == before
    ended = cli("split", out, "--parts", "a=.5,b=.5", "--seed", 3)
    assert re.search(r"parts +a \(fraction: 0.5, windows: \d+, recordings", ended.out)
    assert split_of(out) == listed(pl.split(out, {"a": 0.5, "b": 0.5}, seed=3))
    text = cli("info", out).out
    assert re.search(r"split +a \(fraction: 0.5, windows: \d+, recordings: \d+\), b \(", text)
    assert re.search(r"classes_by_split +a \(bat: \d+, fox: \d+, owl: \d+\), b \(", text)
    assert re.search("split_seed +3\n", text)


def test_the_flags_are_of_the_type_of_the_numbers(out: Path) -> None:
    store_split(out, PARTS)
    if out.suffix == ".h5":
        with h5py.File(out) as file:
            assert file["split"].attrs["flag_values"].dtype == np.int8
    else:
        attributes = json.loads((out / "split" / "zarr.json").read_text())["attributes"]
        assert attributes["flag_values"] == [0, 1, 2]


def test_a_part_that_is_not_there_is_told(out: Path) -> None:
    store_split(out, PARTS)
    with pytest.raises(ValueError, match="no part 'tests' in its split; there are train, valid, t"):
        stored_split(open_finished(out), "tests")
    with pytest.raises(ValueError, match="no part 'tests' in its split; there are train, valid, t"):
        pl.statistics(out, split="tests")
    with pytest.raises(ValueError, match="an axis of the name split, which a store has for someth"):
        pl.extract(out.parent / "in", out.parent / "y.zarr", _Other())


class _Other:
    axes = (pl.Axis("split", np.arange(3.0)),)
    shape = (3,)

    def __call__(self, windows: Array) -> Array:
        return windows[:, :3]


def test_split_and_labels_survive_each_other(out: Path, folder: Path) -> None:
    features = pl.Batches(out, 36)[0][0]
    store_split(out, PARTS)
    parts = split_of(out)
    (folder.parent / "new.csv").write_text("path,start,end,label\nrec1.wav,0,2.5,wolf\n")
    pl.label(out, folder.parent / "new.csv", unlabelled="negative")
    assert split_of(out) == parts
    labels = pl.Batches(out, 36)[0][1]
    assert labels.sum() == 3
    store_split(out, PARTS, seed=1)
    assert split_of(out) == listed(pl.split(out, FRACTIONS, seed=1)) != parts
    assert np.array_equal(pl.Batches(out, 36)[0][1], labels)
    pl.label(out, folder.parent / "new.csv", label_kind="frame")
    assert split_of(out) == listed(pl.split(out, FRACTIONS, seed=1))
    assert {"label", "annotated", "recording", "valid", "split"} <= {*opened(out).coords}
    assert np.array_equal(pl.Batches(out, 36)[0][0], features)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_store_with_times_and_without_labels(folder: Path, suffix: str) -> None:
    for i in range(12):
        (folder / f"rec{i}.wav").rename(folder / f"rec{i}_2025050{1 + i // 2}_100000.wav")
    out = folder.parent / f"y{suffix}"
    pl.extract(folder, out, FEATURE, **TIMES)
    told = store_split(out, FRACTIONS, "day")
    assert told["groups"] == 6
    dataset = opened(out)
    assert {"datetime", "split"} <= {*dataset.coords}
    days = dataset.datetime.values.astype("datetime64[D]")
    for day in np.unique(days):
        assert len(np.unique(dataset.split[days == day])) == 1
    found = info_of(out)
    assert (found["split_by"], "classes_by_split" in found) == ("day", False)
    assert store_split(out, FRACTIONS, lambda path: path)["by"] == "function"


def test_statistics_of_a_part(out: Path, cli: Cli) -> None:
    store_split(out, PARTS)
    X = pl.Batches(out, 36)[0][0].astype(np.float64)
    everything = pl.statistics(out)
    assert info_of(out)["statistics_split"] is None
    for name in ("train", "valid"):
        ended = cli("statistics", out, "--split", name)
        assert ended == (0, f"mean and std of 17 rows in {name}: stored\n", "")
        windows = stored_split(open_finished(out), name)
        found = pl.statistics(out, split=name)
        assert not found.computed
        np.testing.assert_allclose(found.mean, X[windows].mean(axis=(0, 2)), rtol=1e-12)
        np.testing.assert_allclose(found.std, X[windows].std(axis=(0, 2)), rtol=1e-9)
        assert info_of(out)["statistics_split"] == name
        assert np.isfinite(pl.Batches(out, 36, normalize=True)[0][0]).all()
    assert cli("statistics", out, "--split", "valid").out.endswith("in valid: already there\n")
    again = pl.statistics(out)
    assert again.computed
    assert again.mean.tobytes() == everything.mean.tobytes()
    assert info_of(out)["statistics_split"] is None
    assert verify(out) == []


def test_statistics_of_a_part_go_with_the_split(out: Path, cli: Cli) -> None:
    store_split(out, PARTS)
    pl.statistics(out)
    assert "statistics" not in store_split(out, PARTS, seed=1)
    assert info_of(out)["statistics"] == ["mean", "std"]
    pl.statistics(out, split="train")
    assert "statistics" not in store_split(out, PARTS, seed=1)  # the same, so nothing changes
    assert info_of(out)["statistics_split"] == "train"
    ended = cli("split", out, "--parts", PARTS, "--seed", 2)
    assert re.search("statistics +removed, as they were of a part; compute them again", ended.out)
    assert info_of(out)["statistics"] == []
    assert verify(out) == []
    with pytest.raises(ValueError, match="has no mean and std, which normalize=True needs"):
        pl.Batches(out, normalize=True)
    assert pl.statistics(out, split="train").computed


def test_a_part_without_a_valid_window_has_no_statistics(out: Path) -> None:
    store_split(out, {"a": 0.999999, "b": 0.000001})
    with pytest.raises(ValueError, match=r"no valid window in b, .*-pipeline info .* of each part"):
        pl.statistics(out, split="b")


def copied(home: Path, to: Path) -> Path:
    shutil.copytree(home, to, ignore=shutil.ignore_patterns("copies"))
    return to


def test_killed_anywhere_a_store_has_the_old_split_or_the_new(out: Path) -> None:
    home, copies = out.parent, out.parent / "copies"
    store_split(out, PARTS)
    old, new = split_of(out), listed(pl.split(out, {"a": 0.5, "b": 0.5}))
    whole = copied(home, copies / "whole") / out.name
    store_split(whole, "a=.5,b=.5")
    # The record, a chunk, the metadata of two arrays, the root.
    last = 5 if out.suffix == ".zarr" else 2
    for n in (1, 3, 5, 6) if out.suffix == ".zarr" else (1, 2, 3):
        copy = copied(home, copies / str(n))
        path, kill = copy / out.name, KILL.format(n=min(n, last), before=n <= last)
        arguments = ("split", path, "--parts", "a=.5,b=.5")
        assert start(*arguments, cwd=copy, before=kill).wait().code == -signal.SIGKILL
        assert split_of(path) == (new if n > last else old)
        assert status_of(path)["running"] == []
        assert start(*arguments, cwd=copy).wait().code == 0
        assert split_of(path) == new if n > last else stored(path) == stored(whole)
        assert n > last or [left.name for left in copy.glob(".*")] == []


def test_who_reads_meanwhile_has_the_old_split_or_the_new(out: Path) -> None:
    store_split(out, PARTS)
    old, new = (pl.split(out, FRACTIONS, seed=seed)["train"].tolist() for seed in (0, 1))
    assert old != new

    def read(path: Path) -> list[str]:
        found = stored_split(open_finished(path), "train").tolist()
        return [] if found in (old, new) else ["a mixture"]

    stop, errors = threading.Event(), list[BaseException]()
    threads = [
        threading.Thread(target=look, args=(one, out, stop, errors))
        for one in (read, info_of, verify)
    ]
    for thread in threads:
        thread.start()
    for seed in (1, 0) * 2:
        store_split(out, PARTS, seed=seed)
    stop.set()
    for thread in threads:
        thread.join()
    assert errors == []


def test_a_packed_copy_takes_it_along_and_gets_none(folder: Path) -> None:
    out, one = folder.parent / "x.h5", folder.parent / "one.h5"
    pl.extract(folder, out, FEATURE, str(folder.parent / "events.csv"))
    store_split(out, PARTS)
    pack(out, one)
    assert opened(one).split.equals(opened(out).split)
    assert info_of(one)["split"] == info_of(out)["split"]
    for name in FRACTIONS:
        assert np.array_equal(*(stored_split(open_finished(p), name) for p in (out, one)))
    with pytest.raises(
        ValueError, match=r"one.h5 is a packed copy, to which nothing is added; spl"
    ):
        store_split(one, PARTS)


WRONG: list[tuple[tuple[str, ...], str]] = [
    (("--parts", "train=.8"), "the fractions of the parts sum to 0.8; they must sum to 1, such"),
    (("--parts", "train"), "parts has 'train'; a part is NAME=FRACTION, such as train=.8,val"),
    (("--parts", "a=.5,b=x"), "parts has 'b=x'; a part is NAME=FRACTION"),
    (("--parts", "a=.5,a=.5"), "parts has a twice; name each part once"),
    (("--parts", "a=.5,=.5"), "parts has '=.5'; a part is NAME=FRACTION"),
    (("--parts", "a b=1"), "a part has the name 'a b'; a name has letters, digits and"),
    (("--parts", "a=2,b=-1"), "a, a part, is 2.0; it must be a number above 0 and up to 1"),
    (("--parts", PARTS, "--by", "night"), "by is 'night'; allowed are recording, site, day"),
    (("--parts", PARTS, "--by", "day"), "nothing says on which day .*rec0.wav was recorded; pa"),
    (("--parts", PARTS, "--seed", "-1"), "seed is -1; it must be a whole number from 0"),
    ((), "Missing option '--parts'"),
]


def test_what_will_not_do_leaves_the_store(folder: Path, cli: Cli) -> None:
    pl.extract(folder, folder.parent / "x.zarr", FEATURE)
    before = snapshot(folder.parent / "x.zarr")
    for arguments, message in WRONG:
        ended = cli("split", "x.zarr", *arguments)
        assert (ended.code, ended.out) == (2, "")
        assert re.search(message, ended.err), ended.err
        assert ended.err.count("\n") == 1
        assert snapshot(folder.parent / "x.zarr") == before


def test_a_job_that_goes_on_is_without_it(out: Path, folder: Path, cli: Cli) -> None:
    whole: Any = stored(out)
    store_split(out, PARTS)
    part = out / "features" / "c.0.0.0"
    part = part if out.is_dir() else next(Path(f"{out}.parts").glob("*.h5"))
    part.unlink()
    arguments = ("--n-fft", 32, "--frame-length", 20, "--labels", folder.parent / "events.csv")
    ended = cli("extract", folder, "--out", out, *arguments, "--quiet")
    assert ended.code == 0, ended.err
    assert split_of(out) is None
    assert stored(out) == whole
