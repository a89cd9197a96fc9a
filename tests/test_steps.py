"""What takes long tells how far it is, to the end; and only a terminal is shown it."""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path

import pytest
from conftest import SUFFIXES, Write, record_lines
from terminals import on_a_terminal

import pipeline as pl
from pipeline.job.plan import Plan
from pipeline.job.projection import describe_plan
from pipeline.job.status import info_of, status_of
from pipeline.job.verification import verify
from pipeline.paths import RemotePath
from pipeline.recordings.sources import find_files
from pipeline.settings import Settings
from pipeline.steps import Step, told
from pipeline.store import pack
from pipeline.terminal import step_bars
from pipeline.training.stored_split import store_split

FEATURE = pl.Spectrogram(n_fft=64, frame_length=20, hop_length=50)
N = 12  # recordings, of two windows each


class Seen:
    """All that steps have told, by what is counted."""

    def __init__(self) -> None:
        self.calls: dict[str, list[tuple[int, int]]] = {}

    def __call__(self, counted: str) -> Step:
        def step(done: int, total: int = 0, /) -> None:
            self.calls.setdefault(counted, []).append((done, total))

        return step

    def end(self, counted: str) -> tuple[int, int]:
        """The last that a step has told, if it never went back, and always had one total."""
        done, total = zip(*self.calls[counted], strict=True)
        assert [*done] == sorted({*done})
        assert len({*total}) == 1
        return done[-1], total[-1]


@pytest.fixture
def seen() -> Seen:
    return Seen()


@pytest.fixture
def folder(tmp_path: Path, write_wav: Write) -> Path:
    """Recordings in folders, and label files."""
    for i in range(N):
        write_wav(f"in/{i % 3}/{i}.wav", 2)
        (tmp_path / "events").mkdir(exist_ok=True)
        (tmp_path / "events" / f"{i}.txt").write_text("0.5\t1.2\towl\n")
    return tmp_path


@pytest.fixture
def store(folder: Path, suffix: str) -> Path:
    out = folder / f"x{suffix}"
    assert pl.extract(folder / "in", out, FEATURE, folder / "events").ok
    return out


def test_items_are_counted_when_the_next_is_asked_for(seen: Seen) -> None:
    items = told("abc", seen("letters"), 3)
    assert next(items) == "a"
    assert seen.calls == {}
    assert [*items] == ["b", "c"]
    assert seen.calls == {"letters": [(1, 3), (2, 3), (3, 3)]}


@pytest.mark.parametrize("pattern", ["in", "in/*/*.wav", "in/**/*.wav"])
def test_names_are_counted_as_they_are_listed(folder: Path, seen: Seen, pattern: str) -> None:
    pl.scan(folder / pattern, listing=seen("listed"), progress=seen("looked at"))
    folders = 3 if pattern == "in" else 0
    assert seen.end("listed") == (N + folders, 0)
    assert seen.end("looked at") == (N, N)


def test_objects_are_counted_as_they_are_listed(
    seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [(f"{i}.wav", 100) for i in range(9)] + [("notes.txt", 1)]
    monkeypatch.setattr(RemotePath, "walk", lambda self: iter(names))
    paths, _, _ = find_files("s3://bucket/in/", seen("listed"))
    assert (len(paths), seen.end("listed")) == (9, (10, 0))


@pytest.mark.parametrize("labels", ["events", None])
def test_a_plan_tells_of_files_and_labels(folder: Path, seen: Seen, labels: str | None) -> None:
    given = labels and str(folder / labels)
    plan = Plan.make(folder / "in", folder / "x.zarr", FEATURE, given, Settings(), progress=seen)
    describe_plan(plan, 1, progress=seen)
    assert seen.end("names listed") == (N + 3, 0)
    assert seen.end("files looked at") == (N, N)
    if labels:
        assert seen.end("label files read") == (N, N)
        assert seen.end("windows counted") == (2 * N, 2 * N)
    else:
        assert seen.end("files asked for labels") == (N, N)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_verify_tells_of_lines_and_bytes(store: Path, seen: Seen) -> None:
    assert verify(store, progress=seen) == []
    lines = record_lines(store)
    assert seen.end("lines of the record read") == (len(lines), 0)
    size = sum(file[1] for line in lines if line["kind"] == "done" for file in line["files"])
    assert seen.end("bytes checked") == (size, size)
    assert size > 0


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_is_added_to_a_store_tells_of_windows(store: Path, seen: Seen) -> None:
    pl.label(store, str(store.parent / "events"), progress=seen, min_overlap=0.1)
    assert seen.end("label files read") == (N, N)
    assert seen.end("rows of labels written") == (4 * N, 4 * N)  # of label and annotated
    assert seen.end("windows counted") == (2 * N, 2 * N)
    store_split(store, "train=.5,test=.5", progress=seen)
    assert seen.end("windows read") == seen.end("windows written") == (2 * N, 2 * N)
    found = Seen()
    info_of(store, found)
    assert found.end("windows counted") == (2 * N, 2 * N)
    assert found.end("windows of the split counted") == (2 * N, 2 * N)
    status_of(store, found)
    assert found.end("lines of the record read") == (len(record_lines(store)), 0)


@pytest.mark.parametrize("suffix", [".h5"])
def test_packing_tells_of_bytes(store: Path, seen: Seen) -> None:
    pack(store, store.parent / "one.h5", seen("bytes"))
    n_bytes = sum(X.nbytes for X, _ in pl.Batches(store))
    assert seen.end("bytes") == (n_bytes, n_bytes)


SLOW_STEPS = """
import sys, time
from pipeline.terminal import step_bars

with step_bars(quiet="quiet" in sys.argv) as steps:
    listed, checked = steps("names listed"), steps("bytes checked")
    for i in range(1, 6):
        listed(i)
        time.sleep(0.3)
    for i in range(1, 6):
        checked(i * 10**9, 5 * 10**9)
        time.sleep(0.3)
    quick = steps("quick")
    quick(1, 1)
"""


@pytest.mark.parametrize("quiet", [False, True])
def test_a_terminal_is_shown_each_step_that_takes_long_and_left_clean(quiet: bool) -> None:
    shown = on_a_terminal([sys.executable, "-c", SLOW_STEPS, *["quiet"] * quiet])
    if quiet:
        assert shown == ""
        return
    assert re.search(r"\r5 names listed", shown)
    assert re.search(r"\r5\.00G of 5\.00G bytes checked, [\d:]+ left", shown)
    assert "quick" not in shown
    assert shown.rpartition("\r")[2] == ""
    assert shown.split("\r")[-2].strip() == ""


def test_what_is_no_terminal_is_shown_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with step_bars() as steps:
        for i in range(1, 4):
            steps("bytes checked")(i, 3)
            time.sleep(0.5)
    assert capsys.readouterr() == ("", "")
