"""Labels of events from the plan to the batches, and labelled anew when a store is finished."""

from __future__ import annotations

import json
import pickle
import re
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
from conftest import SUFFIXES, Cli, snapshot, stored
from s3 import Bucket

import pipeline as pl
from pipeline.job import info_of, status_of
from pipeline.job.verification import verify
from pipeline.store import open_finished

FEATURE = pl.Spectrogram(n_fft=32, frame_length=20)
SMALL = ("--n-fft", 32, "--frame-length", 20)
RAVEN = "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tBegin File\t"
RAVEN += "File Offset (s)\tSpecies\n"
OLD = RAVEN + (
    "1\tSpectrogram 1\t1\t0.2\t0.4\ta.wav\t0.2\towl\n"
    "2\tSpectrogram 1\t1\t1.9\t2.3\ta.wav\t1.9\tfox\n"
    "3\tSpectrogram 1\t1\t99\t99.5\ta.wav\t99\tfox\n"
    "4\tSpectrogram 1\t1\t200\t201\tgone.wav\t0\tfox\n"
)
NEW = "path,start,end,label\nb.wav,1.5,2.5,bat\nb.wav,0,0.1,owl\n"
OLD_Y = [[0, 1], [1, 0], [1, 0], [0, 0], [0, 0], [0, 0]]
NEW_Y = [[0, 0], [0, 0], [0, 0], [0, 1], [1, 0], [1, 0]]
LOOKED_A, LOOKED_B = [[True] * 2] * 3 + [[False] * 2] * 3, [[False] * 2] * 3 + [[True] * 2] * 3


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two recordings of three windows each, and two tables of events."""
    folder = tmp_path / "in"
    folder.mkdir()
    for number, name in enumerate("ab"):
        samples = 0.1 * np.random.default_rng(number).standard_normal(3 * 500)
        soundfile.write(folder / f"{name}.wav", samples, 500, subtype="FLOAT")
    (folder / "old.txt").write_text(OLD)
    (folder / "new.csv").write_text(NEW)
    return folder


@pytest.fixture(params=SUFFIXES)
def out(request: pytest.FixtureRequest, folder: Path) -> Path:
    """A store with the old labels."""
    path = folder.parent / f"x{request.param}"
    assert pl.extract(folder, path, FEATURE, str(folder / "old.txt")).ok
    return path


def labels_of(path: Path) -> tuple[list[str], Any, Any]:
    """Classes, y and what was annotated, for every way to look at a store, which agree."""
    assert verify(path) == []
    assert status_of(path)["finished"]
    batches = pl.Batches(path, 6, annotated=True)
    _, y, annotated = batches[0]
    assert np.array_equal(annotated, batches.annotated)
    engine = "zarr" if path.suffix == ".zarr" else "h5netcdf"
    with xarray.open_dataset(path, engine=engine, chunks=None) as dataset:
        assert dataset.label.dims[:2] == dataset.annotated.dims == ("window", "class")
        assert {"label", "annotated"} <= {*dataset.coords}
        assert np.array_equal(dataset.label, y)
        assert np.array_equal(dataset.annotated, annotated)
        assert dataset["class"].values.tolist() == batches.classes
    found = info_of(path)
    assert found["classes"] == batches.classes
    heard = (y.reshape(*annotated.shape, -1) > 0).any(axis=2)
    counted = {
        name: {
            "present": int(heard[:, k].sum()),
            "absent": int((annotated & ~heard)[:, k].sum()),
            "unknown": int((~annotated[:, k]).sum()),
        }
        for k, name in enumerate(batches.classes or [])
    }
    assert found["labels"] == counted
    return batches.classes or [], y.tolist(), annotated.tolist()


def test_a_plan_tells_what_becomes_of_events(folder: Path, cli: Cli) -> None:
    arguments = ("plan", folder, "--out", "x.zarr", "--labels", folder / "old.txt", *SMALL)
    found = json.loads(cli(*arguments, "--json").out)
    assert found["events"] == {
        **{"files": 1, "events": 4, "matched": 2, "no_recording": 1, "behind_end": 1}
    }
    assert found["classes"] == {
        "fox": {"present": 2, "absent": 1, "unknown": 3},
        "owl": {"present": 1, "absent": 2, "unknown": 3},
    }
    assert [(item["line"], item["reason"]) for item in found["unplaced"]] == [
        (4, "behind_end"), (5, "no_recording")
    ]  # fmt: skip
    text = cli(*arguments).out
    assert "fox (present: 2, absent: 1, unknown: 3)" in text
    assert f"(file: {folder / 'old.txt'}, line: 5, recording: gone.wav, " in text
    assert "reason: no_recording)" in text


def test_labels_of_events_are_stored_and_read(out: Path) -> None:
    assert labels_of(out) == (["fox", "owl"], OLD_Y, LOOKED_A)
    assert info_of(out)["events"] == {
        **{"files": 1, "events": 4, "matched": 2, "cut_at_end": 0, "no_recording": 1},
        **{"unreadable": 0, "other_channel": 0, "before_start": 0, "behind_end": 1},
        "left_out": 0,
        "no_time": 0,
    }
    assert [len(batch) for batch in pl.Batches(out, 4)] == [2, 2]


def test_the_stream_has_the_labels_of_the_store(out: Path, folder: Path) -> None:
    streamed = pl.stream(folder, FEATURE, str(folder / "old.txt"), 4, annotated=True)
    for one, other in zip(streamed, pl.Batches(out, 4, annotated=True), strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_batches_of_labels_that_are_known_everywhere(folder: Path) -> None:
    pl.extract(folder, folder.parent / "y.zarr", FEATURE, [1, 2, 3, 4, 5, 6])
    for batches in (
        pl.Batches(folder.parent / "y.zarr", None, annotated=True),
        pl.stream(folder, FEATURE, [1, 2, 3, 4, 5, 6], None, annotated=True),
    ):
        assert [(y, bool(known)) for _, y, known in batches] == [(i, True) for i in range(1, 7)]
    pl.extract(folder, folder.parent / "z.zarr", FEATURE)
    assert [y for _, *y in pl.Batches(folder.parent / "z.zarr", annotated=True)] == [[None, None]]


@pytest.mark.parametrize("order", [{}, {"shuffle": True}, {"shuffle": True, "mix": 1}])
def test_batches_in_any_order_keep_labels_with_their_windows(
    out: Path, order: dict[str, Any]
) -> None:
    batches = pl.Batches(out, 4, annotated=True, seed=3, **order)
    assert batches.annotated is not None
    batches = pickle.loads(pickle.dumps(batches))
    for i, (X, y, annotated) in enumerate(batches):
        windows = batches.windows(i)
        assert len(X) == len(windows)
        assert y.tolist() == [OLD_Y[t] for t in windows]
        assert annotated.tolist() == batches.annotated[windows].tolist()


def test_going_on_with_other_labels_is_refused(out: Path, folder: Path) -> None:
    assert pl.extract(folder, out, FEATURE, str(folder / "old.txt")).computed == 0
    with pytest.raises(ValueError, match=r"holds another job: other labels; pass the same"):
        pl.extract(folder, out, FEATURE, str(folder / "new.csv"))
    with pytest.raises(ValueError, match=r"holds another job: other labels; pass the same"):
        pl.extract(folder, out, FEATURE, str(folder / "old.txt"), min_overlap=0.3)


def test_a_store_is_labelled_anew_and_again(out: Path, folder: Path, cli: Cli) -> None:
    features = pl.Batches(out, 6)[0][0]
    pl.statistics(out)
    ended = cli("label", out, "--labels", folder / "new.csv")
    assert (ended.code, ended.err) == (0, "")
    assert "bat (present: 2, absent: 1, unknown: 3)" in ended.out
    assert labels_of(out) == (["bat", "owl"], NEW_Y, LOOKED_B)
    assert info_of(out)["events"]["matched"] == 2
    told = pl.label(out, folder / "old.txt", min_overlap=0.15, classes="fox,owl,wolf")
    assert told["classes"]["wolf"] == {"present": 0, "absent": 3, "unknown": 3}
    assert labels_of(out)[1] == [[0, 1, 0], [0, 0, 0], [1, 0, 0], *[[0, 0, 0]] * 3]
    pl.label(out, [5, 4, 3, 2, 1, 0])
    assert pl.Batches(out, 6)[0][1].tolist() == [5, 4, 3, 2, 1, 0]
    assert verify(out) == []
    assert info_of(out)["labels"] == {str(n): 1 for n in range(6)}
    assert (info_of(out)["classes"], pl.Batches(out).annotated) == (None, None)
    pl.label(out, folder / "old.txt")
    assert labels_of(out) == (["fox", "owl"], OLD_Y, LOOKED_A)
    assert np.array_equal(pl.Batches(out, 6)[0][0], features)
    assert info_of(out)["statistics"] == ["mean", "std"]


def test_a_store_without_labels_is_labelled(folder: Path) -> None:
    for suffix in SUFFIXES:
        out = folder.parent / f"y{suffix}"
        pl.extract(folder, out, FEATURE)
        pl.label(out, folder / "old.txt")
        assert labels_of(out) == (["fox", "owl"], OLD_Y, LOOKED_A)


def test_labels_of_frames(folder: Path) -> None:
    for suffix in SUFFIXES:
        out = folder.parent / f"f{suffix}"
        assert pl.extract(folder, out, FEATURE, folder / "new.csv", label_kind="frame").ok
        _, y, annotated = pl.Batches(out, 6, annotated=True)[0]
        times = open_finished(out).coordinate("time")
        assert (y.shape, annotated.shape) == ((6, 2, len(times)), (6, 2))
        half = np.diff(times)[0] / 2
        for t, first, last in ((4, 0.5, 1), (5, 0, 0.5)):
            expected = (times + half > first) & (times - half < last)
            assert np.array_equal(y[t, 0], expected)
        labels_of(out)
        pl.label(out, folder / "new.csv", label_kind="fraction")
        np.testing.assert_allclose(pl.Batches(out, 6)[0][1][:, 0], [0, 0, 0, 0, 0.5, 0.5])
        labels_of(out)
        pl.label(out, folder / "new.csv", label_kind="frame")
        assert np.array_equal(pl.Batches(out, 6)[0][1], y)


def copied(folder: Path, to: Path) -> Path:
    """All of a folder but the copies in it, elsewhere."""
    shutil.copytree(folder, to, ignore=shutil.ignore_patterns("copies"))
    return to


def test_killed_anywhere_a_store_has_the_old_labels_or_the_new(out: Path, folder: Path) -> None:
    home, copies = out.parent, out.parent / "copies"
    whole = copied(home, copies / "whole") / out.name
    pl.label(whole, folder / "new.csv")
    old, new = (["fox", "owl"], OLD_Y, LOOKED_A), (["bat", "owl"], NEW_Y, LOOKED_B)
    # The record, three chunks, the metadata of four arrays, the root.
    last = 9 if out.suffix == ".zarr" else 2
    for n in (1, 2, 4, 5, 8, 9, 10) if out.suffix == ".zarr" else (1, 2, 3):
        copy = copied(home, copies / str(n))
        path, kill = copy / out.name, KILL.format(n=min(n, last), before=n <= last)
        arguments = ("label", path, "--labels", folder / "new.csv")
        assert start(*arguments, cwd=copy, before=kill).wait().code == -signal.SIGKILL
        assert labels_of(path) == (new if n > last else old)
        assert status_of(path)["running"] == []
        assert start(*arguments, cwd=copy).wait().code == 0
        assert labels_of(path) == new
        assert n > last or stored(path) == stored(whole)
        assert [left.name for left in copy.glob(".*")] == []


def test_who_reads_meanwhile_has_the_old_labels_or_the_new(out: Path, folder: Path) -> None:
    def read(path: Path) -> list[str]:
        _, y, annotated = pl.Batches(path, 6, annotated=True)[0]
        pair = y.tolist(), annotated.tolist()
        return [] if pair in ((OLD_Y, LOOKED_A), (NEW_Y, LOOKED_B)) else ["a mixture"]

    stop, errors = threading.Event(), list[BaseException]()
    threads = [
        threading.Thread(target=look, args=(one, out, stop, errors))
        for one in (read, info_of, verify)
    ]
    reading = pl.Batches(out, 6, annotated=True)
    for thread in threads:
        thread.start()
    for _ in range(5):
        for table in ("new.csv", "old.txt"):
            pl.label(out, folder / table)
    stop.set()
    for thread in threads:
        thread.join()
    assert errors == []
    assert reading[0][1].tolist() == OLD_Y


def test_who_opened_it_before_reads_the_old_labels_out_of_it(folder: Path) -> None:
    out = folder.parent / "x.zarr"
    pl.extract(folder, out, FEATURE, folder / "old.txt")
    with xarray.open_dataset(out, engine="zarr", chunks={}) as dataset:
        pl.label(out, folder / "new.csv")
        assert dataset.label.values.tolist() == OLD_Y
        assert dataset.annotated.values.tolist() == LOOKED_A


def test_a_repaired_store_has_the_labels_that_the_job_was_given(out: Path, folder: Path) -> None:
    whole = stored(out)
    pl.label(out, folder / "new.csv")
    part = out / "features" / "c.0.0.0"
    if not out.is_dir():
        part = next(Path(f"{out}.parts").glob("*.h5"))
    data = bytearray(part.read_bytes())
    data[len(data) // 3] ^= 1
    part.write_bytes(data)
    assert [damage.file for damage in verify(out, repair=True)] == [str(part)]
    assert pl.extract(folder, out, FEATURE, folder / "old.txt").ok
    assert labels_of(out) == (["fox", "owl"], OLD_Y, LOOKED_A)
    assert stored(out) == whole


def test_going_on_says_that_labels_are_lost(folder: Path, cli: Cli) -> None:
    command = ("extract", folder, "--out", "x.zarr", "--labels", folder / "old.txt", *SMALL)
    assert cli(*command).code == 0
    assert cli("label", "x.zarr", "--labels", folder / "new.csv").code == 0
    Path("x.zarr/features/c.0.0.0").unlink()
    assert "x.zarr is made without what was added to it when" in cli(*command).err
    assert labels_of(Path("x.zarr")) == (["fox", "owl"], OLD_Y, LOOKED_A)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "labels is missing; pass --labels FILE"),
        (("--labels", "gone.txt"), "gone.txt does not exist; give a file of labels"),
        (("--labels", "*.none"), r"\*.none names no label file; pass a file, a folder or a glob"),
        (("--labels", "in/old.txt", "--label-format", "x"), "label_format is 'x'; allowed are"),
        (("--labels", "in/old.txt", "--label-column", "x"), "old.txt, line 1: .*no column 'x'"),
        (("--labels", "in/bad.txt"), "bad.txt, line 2: .* is 'x'; it must be a number"),
        (("--labels", "in/y.npy"), "in/y.npy has 2 labels, but the audio has 6 windows"),
        (("--labels", "in/y.npy", "--min-overlap", "1"), "min_overlap is passed, but the labels"),
    ],
)
def test_labels_that_will_not_do_leave_the_old(
    arguments: tuple[str, ...], message: str, out: Path, folder: Path, cli: Cli
) -> None:
    np.save(folder / "y.npy", [1, 2])
    (folder / "bad.txt").write_text(RAVEN + "1\tSpectrogram 1\t1\tx\t0.4\ta.wav\t0\towl\n")
    before = snapshot(out.parent)
    ended = cli("label", out, *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.count("\n") == 1
    assert re.search(message, ended.err)
    assert snapshot(out.parent) == before


def test_stores_that_cannot_be_labelled_are_refused(folder: Path, tmp_path: Path) -> None:
    pl.extract(folder, tmp_path / "x.h5", FEATURE)
    from pipeline.store import pack

    pack(tmp_path / "x.h5", tmp_path / "one.h5")
    with pytest.raises(ValueError, match=r"one.h5 is a packed copy, of which nothing is changed"):
        pl.label(tmp_path / "one.h5", folder / "old.txt")
    with pytest.raises(ValueError, match="label_kind is 'frame', but the feature has no frames"):
        pl.extract(
            folder, tmp_path / "w.zarr", pl.Waveform(), folder / "old.txt", label_kind="frame"
        )
    with pytest.raises(ValueError, match="classes is passed, but there are no labels"):
        pl.extract(folder, tmp_path / "w.zarr", FEATURE, classes=["a"])


def test_labels_of_a_store_in_a_bucket(s3: Bucket, folder: Path) -> None:
    out = f"{s3.url}/labels/x.zarr"
    assert pl.extract(folder, out, FEATURE, folder / "old.txt").ok
    pl.label(out, folder / "new.csv")
    assert verify(out) == []
    _, y, annotated = pl.Batches(out, 6, annotated=True)[0]
    assert (y.tolist(), annotated.tolist()) == (NEW_Y, LOOKED_B)


def test_labels_come_out_of_a_file_of_settings(folder: Path, cli: Cli) -> None:
    Path("run.yaml").write_text(
        f"sources: [{folder}]\nout: x.zarr\nlabels: {folder}/new.csv\nclasses: [owl, bat]\n"
        f"feature: {{name: spectrogram, n_fft: 32, frame_length: 20}}\nunlabelled: negative\n"
    )
    assert cli("extract", "--config", "run.yaml").code == 0
    classes, y, annotated = labels_of(Path("x.zarr"))
    assert (classes, y) == (["owl", "bat"], [row[::-1] for row in NEW_Y])
    assert np.all(annotated)


def test_a_table_of_windows_is_none_of_events_if_that_is_said(folder: Path) -> None:
    rows = "".join(f"{name}.wav,{t},{t + 1},{name}{t}\n" for name in "ab" for t in range(3))
    (folder / "y.csv").write_text("path,start,end,label\n" + rows)
    _, y = next(pl.stream(folder, FEATURE, folder / "y.csv", label_format="windows"))
    assert y.tolist() == [0, 1, 2, 3, 4, 5]
    _, y = next(pl.stream(folder, FEATURE, folder / "y.csv"))
    assert y.tolist() == np.eye(6).tolist()
