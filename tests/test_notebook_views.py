"""What notebooks show says what is there, whatever it is called and however much there is."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Write, loaded

import pipeline as pl
from pipeline.features import bind
from pipeline.html import LISTED, Shown
from pipeline.inputs import Inputs
from pipeline.job.plan import Plan
from pipeline.recordings import NAT, Starts
from pipeline.recordings.file_names import Paths
from pipeline.recordings.recordings import COLUMNS
from pipeline.recordings.starts import STAMPS, Said
from pipeline.settings import Settings
from pipeline.store.store import Store
from pipeline.text import shortened
from pipeline.training import store_split

MEL = pl.MelSpectrogram(n_mels=16)
MANY = 10**6
HOSTILE = "<script>alert('1')</script>&amp;\"\u202e\n\ud800" + 300 * '"'
TAGS = {
    *("div", "style", "p", "b", "details", "summary", "table", "thead", "tbody", "tr", "th", "td")
}


class Page(HTMLParser):
    """The tags of a page, which must be closed in their order, and the texts in it."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.line, self.titles = "", list[str]()
        self.rows: list[list[str]] = []
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in TAGS
        assert {name for name, _ in attrs} <= {"class", "open"}
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("th", "td"):
            self.rows[-1].append("")
        elif tag == "summary":
            self.titles.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1] in ("th", "td"):
            self.rows[-1][-1] += data
        elif self.open[-1] == "summary":
            self.titles[-1] += data
        elif self.open[-1] in ("p", "b"):
            self.line += data
        else:
            assert self.open[-1] == "style"

    @property
    def texts(self) -> list[str]:
        return [self.line, *self.titles, *(cell for row in self.rows for cell in row)]


def shown(value: Shown) -> Page:
    """What a notebook shows."""
    html = value._repr_html_()
    assert len(html.encode()) < 100_000
    assert re.fullmatch(r"<\w+: [^\x00-\x1f\ud800-\udfff\u202e]{1,250}>", repr(value))
    return Page(html)


def facts(value: Shown) -> dict[str, Any]:
    """The rows of all tables, by their first cells: what is on the right, or a list of it."""
    rows = shown(value).rows
    return {first: more[0] if len(more) == 1 else more for first, *more in rows}


@pytest.fixture
def sources(write_wav: Write, tmp_path: Path) -> Path:
    """Three recordings of 3.5 s, one of them stereo, and one that is none."""
    for name, channels in (
        ("a_20240102_030405.wav", 1),
        ("b_20240102_040000.wav", 1),
        ("c.wav", 2),
    ):
        write_wav(f"in/{name}", 3.5, channels=channels)
    (tmp_path / "in" / "broken.wav").write_text("no audio")
    return tmp_path / "in"


@pytest.fixture
def events(sources: Path, tmp_path: Path) -> Path:
    rows = [("a_20240102_030405", 0, 1, "song"), ("a_20240102_030405", 2, 3, "<b>call</b>"),
            ("b_20240102_040000", 0, 2, "song")]  # fmt: skip
    lines = [f"{sources / name}.wav,{a},{b},{label}" for name, a, b, label in rows]
    path = tmp_path / "events.csv"
    path.write_text("path,onset,offset,label\n" + "\n".join(lines))
    return path


@pytest.fixture
def out(sources: Path, events: Path, tmp_path: Path, suffix: str) -> Path:
    path = tmp_path / f"out{suffix}"
    pl.extract(sources, path, MEL, labels=events)
    return path


def test_recordings_are_told_of_without_their_files(sources: Path) -> None:
    recordings = pl.scan(sources, samplerate=4000)
    shutil.rmtree(sources)
    found = facts(recordings)
    assert shown(recordings).line == "Recordings 3 recordings of 4,000 Hz, 10.5 s"
    assert (found["formats"], found["channels"]) == ("WAV", "1 (2), 2 (1)")
    assert (found["resampled"], found["not read"]) == ("3, from 8,000 Hz", "1 file")
    path = f"{sources}/a_20240102_030405.wav"
    assert found["0"] == [path, "3.5 s", "8,000 Hz", "1", "0", ""]
    assert "libsndfile" in found[f"{sources}/broken.wav"]
    assert repr(recordings) == "<Recordings: 3 recordings of 4,000 Hz, 10.5 s>"
    assert repr(recordings[:0]) == "<Recordings: 0 recordings>"
    assert facts(recordings[:0])["formats"] == "none"


def test_recordings_tell_when_they_began_where_that_is_said(sources: Path, tmp_path: Path) -> None:
    manifest = tmp_path / "m.csv"
    manifest.write_text(
        f"path,datetime\n{sources}/a_20240102_030405.wav,2024-01-02T03:04:05+01:00\n"
        f"{sources}/b_20240102_040000.wav,2024-01-02T02:30:00Z\n{sources}/c.wav,\n"
    )
    found = facts(pl.scan(manifest))
    span = "2024-01-02 03:04:05+01:00 to 2024-01-02 02:30:00+00:00; known of 2"
    assert found["begin"] == span
    recordings = pl.scan(sources)
    assert "begin" not in facts(recordings)
    stamps = np.zeros(3, STAMPS)
    stamps["clock"], stamps["offset"] = [NAT, 0, NAT], np.iinfo(np.int32).min
    recordings.said = Said(metadata=stamps)
    assert facts(recordings)["begin"].startswith("1970-01-01 00:00:00 (no time zone) to ")


def test_a_grid_is_told_of(sources: Path) -> None:
    grid = pl.WindowGrid(pl.scan(sources), 1.0, 0.5)
    assert repr(grid) == "<WindowGrid: 18 windows of 1 s, one every 0.5 s, of 3 recordings>"
    found = facts(grid)
    assert (found["windows"], found["partial"]) == ("18", "0 windows")
    assert found["hop"] == "0.5 s, 4,000 samples"
    cut = facts(pl.WindowGrid(pl.scan(sources))[5:9])
    assert (cut["windows"], cut["offset"]) == ("4", "5 windows were cut off before")
    assert cut["partial"] == "1 window"
    assert (cut["1"], cut["2"]) == (["5", "3", "1", "1 s"], ["8", "1", "0", "0 s"])
    dropped = pl.WindowGrid(pl.scan(sources), 3.6, tail="drop")
    assert "0 windows" in repr(dropped)
    assert facts(dropped)["without windows"] == "3 recordings"


@pytest.mark.parametrize("hop", [0.3, 1.0, 1.7])
@pytest.mark.parametrize("part", [slice(None), slice(2, -1)])
def test_a_grid_knows_which_windows_are_partial(sources: Path, hop: float, part: slice) -> None:
    grid = pl.WindowGrid(pl.scan(sources), 1.0, hop)[part]
    recording, _, n_samples = grid.locate()
    short = recording[n_samples < grid.window_samples]
    assert grid.partial.tolist() == [np.count_nonzero(short == i) for i in range(3)]


def test_a_plan_is_told_of(sources: Path, events: Path, tmp_path: Path) -> None:
    settings = Settings(datetime=("%Y%m%d_%H%M%S",), timezone="UTC")
    plan = Plan.make(sources, tmp_path / "x.zarr", MEL, str(events), settings)
    assert repr(plan).endswith("x.zarr, 12 windows of 3 recordings, 76.8 kB in 32 files>")
    found = facts(plan)
    assert found["recordings"] == "3, 10.5 s at 8,000 Hz"
    assert found["features"] == "12 x 16 x 100, float32"
    assert re.fullmatch(r"\d+ MB at most, for \d+ threads?", found["memory"])
    span = "2024-01-02T03:04:05Z to 2024-01-02T04:00:03.5Z; 1 gap (55.9 min); not known of 1"
    assert found["begin"] == span
    assert (found["song"], found["<b>call</b>"]) == (["3", "5", "4"], ["1", "7", "4"])
    assert (found["n_mels"], found["not read"]) == ("16", "1 file")
    assert "matched: 3" in found["events"]


def test_a_report_is_told_of(sources: Path, tmp_path: Path) -> None:
    report = pl.extract(sources, tmp_path / "x.zarr", MEL)
    assert repr(report).endswith("x.zarr, 12 windows, not read: 1 file>")
    assert facts(report)["regions"] == "1, of which 1 computed by this run"
    bad = pl.Report("x.zarr", 12, 3, 1, ((2, "disk full"),), (), ((3, 7, "noise"),), "full", 3.2)
    assert repr(bad) == "<Report: x.zarr, 12 windows, failed: 1 region, masked: 4 windows, stopped>"
    found = facts(bad)
    assert (found["2"], found["3 to 6"], found["took"]) == ("disk full", "noise", "3.2 s")
    assert (found["stopped"], found["failed"]) == ("full", "1 region")
    fine = pl.Report("x.zarr", 12, 3, 1, (), (), (), None, 3.2)
    assert repr(fine) == "<Report: x.zarr, 12 windows, all done>"


def test_batches_are_told_of_without_features(
    out: Path, sources: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store_split(out, {"train": 0.5, "test": 0.5}, seed=1)
    batches = pl.Batches(out, 5, shuffle=True, seed=3)
    read = Store.read

    def nothing(self: Store, windows: Any, *more: Any) -> Any:
        assert not len(windows)
        return read(self, windows, *more)

    monkeypatch.setattr(Store, "read", nothing)
    assert repr(batches) == f"<Batches: {out}, 3 batches of 5 windows, X (5, 16, 100) float32>"
    found = facts(batches)
    assert found["X"] == "(5, 16, 100) float32, db of mel power (dB)"
    assert (found["y"], found["windows"]) == ("(5, 2) uint8", "12")
    assert (found["order"], found["memory"]) == ("shuffled, seed 3", "32 kB a batch")
    assert re.fullmatch(r"train \d, test \d|train 12|test 12", found["split"])
    assert (found["song"], found["<b>call</b>"]) == (["3", "4"], ["1", "4"])
    assert found["time"] == ["100", "0", "0.99", "s"]
    some = facts(pl.Batches(out, None, windows=[0, 1, 2]))
    assert (some["windows"], some["y"], some["song"]) == ("3 of 12", "(2,) uint8", ["1", "0"])
    assert some["order"] == "as they are numbered"
    both = facts(pl.Batches([out, out], 5, weights="balanced", world_size=2))
    assert (both["windows"], both["ranks"], both["song"]) == ("24", "rank 0 of 2", ["6", "8"])
    assert both["order"].startswith("drawn with replacement")


def test_streams_are_told_of(sources: Path, events: Path) -> None:
    with pytest.warns(RuntimeWarning, match="broken"):
        stream = pl.stream(sources, MEL, str(events), batch_size=4)
    shutil.rmtree(sources)
    assert repr(stream).startswith("<Stream: ")
    found = facts(stream)
    assert found["X"] == "(4, 16, 100) float32, db of mel power (dB)"
    assert found["song"] == ["3", "4"]
    assert found["path"].endswith("a_20240102_030405.wav and 2 more")


@pytest.mark.parametrize(
    ("labels", "rows"),
    [
        ([0, 1] * 6, [["0", "6"], ["1", "6"]]),
        (["a", "b", "b"] * 4, [["b", "8"], ["a", "4"]]),
        (np.tile([0.5, 1], 6), [["0.5", "6"], ["1.0", "6"]]),
        (np.eye(12, 3, dtype=np.uint8), [["0", "1", "0"], ["1", "1", "0"], ["2", "1", "0"]]),
    ],
)
def test_labels_of_a_window_are_counted(
    sources: Path, tmp_path: Path, labels: Any, rows: list[list[str]]
) -> None:
    pl.extract(sources, tmp_path / "x.zarr", MEL, labels=labels)
    page = shown(pl.Batches(tmp_path / "x.zarr"))
    assert page.rows[-len(rows) :] == rows


def test_of_many_values_of_labels_the_range_is_shown(write_wav: Write, tmp_path: Path) -> None:
    pl.extract(write_wav(seconds=30), tmp_path / "x.zarr", MEL, labels=np.arange(30) / 2)
    assert facts(pl.Batches(tmp_path / "x.zarr"))["0 to 14.5"] == "30"


def test_labels_of_more_windows_than_are_soon_counted_are_named(
    out: Path, sources: Path, events: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.labels.values.COUNTED", 23)
    plan = Plan.make(sources, out.with_name("y.zarr"), MEL, str(events))
    for view in (pl.Batches(out), plan):
        assert [row for row in shown(view).rows if len(row) == 1][1:] == [["<b>call</b>"], ["song"]]


def test_what_cannot_be_shown_says_why(out: Path) -> None:
    batches = pl.Batches(out)
    for path in (out, out.with_name(f"{out.name}.parts")):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    assert "was removed" in repr(batches)
    assert "was removed" in shown(batches).line


def views_with(text: str, sources: Path, tmp_path: Path) -> list[Shown]:
    """Views of values whose every name is a text."""
    recordings = pl.scan(sources)
    named = [
        pl.Recording(text, item.header, 0, item.samplerate, 1, 1, str(item.location))
        for item in recordings
    ] * 9
    hostile = pl.Recordings(named, [(text, text)] * 99)
    hostile.passed_over = ((text, 3),) * 99
    inputs = Inputs.of(hostile, MEL, None, Settings())
    plan = Plan.of(inputs, Settings(), text, region_is_file=False)
    runs = tuple((i, i + 1, text) for i in range(99))
    failed = tuple((i, text) for i in range(99))
    report = pl.Report(text, 9, 9, 9, failed, ((text, text),) * 99, runs, text, 1.0, text, text)
    labels = np.tile(np.eye(12, dtype=np.uint8), 1)
    pl.extract(sources, tmp_path / "x.zarr", MEL, labels=labels)
    batches = pl.Batches(tmp_path / "x.zarr")
    batches.classes, batches.path = [text] * 12, text
    return [hostile, plan, report, batches]


def test_names_are_escaped_and_cut(sources: Path, tmp_path: Path) -> None:
    for view in views_with(HOSTILE, sources, tmp_path):
        cells = shown(view).texts  # no tag comes of it, and the page stays small
        assert any("<script>alert('1')</script>&amp;\"\\u202e\\n\\ud800" in cell for cell in cells)
        assert max(map(len, cells)) <= 300
        assert not any(re.search("[\u202e\n\ud800]", cell) for cell in cells)


def many_recordings() -> pl.Recordings:
    columns = np.zeros(MANY, COLUMNS)
    columns["native"], columns["samplerate"], columns["channels"] = 48000, 16000, 1
    columns["n_samples"], columns["size"] = 48000 * 7200 + np.arange(MANY) % 999, 10**9
    paths = Paths(f"/data/site{i % 100}/2024/rec_{i:08d}.wav" for i in range(MANY))
    recordings = pl.Recordings.of_columns(columns, paths, "/")
    recordings.unreadable = tuple((f"/data/{i}.wav", "no audio") for i in range(MANY))
    return recordings


def many_plans(recordings: pl.Recordings) -> Callable[[], Plan]:
    grid = pl.WindowGrid(recordings)
    feature = bind(pl.Spectrogram(), grid.samplerate, 1.0, "float32")
    began = np.arange(MANY, dtype=np.int64) * 7300 * 10**9
    starts = Starts(began, np.zeros(MANY, np.int32), began, 0, 0)
    inputs = Inputs(recordings, grid, feature, None, starts)
    return lambda: Plan.of(inputs, Settings(), "x.zarr", region_is_file=False)


def test_a_million_recordings_are_shown_in_a_second() -> None:
    recordings = many_recordings()
    bad = tuple((i, i + 1, "noise") for i in range(MANY))
    report = pl.Report("x.zarr", MANY, 9, 9, (), recordings.unreadable, bad, None, 1.0)
    grid, plans = pl.WindowGrid(recordings), many_plans(recordings)
    views: list[Callable[[], Shown]] = [lambda: recordings, lambda: grid, plans, lambda: report]
    for view in views:
        spent = []
        for value in (view(), view(), view()):
            began = time.process_time()
            page = shown(value)
            spent.append(time.process_time() - began)
        assert "cannot be shown" not in page.line
        assert min(spent) < 1, type(value).__name__  # of this process: others may be at work
        assert any(title.endswith(f"(1,000,000; the first {LISTED})") for title in page.titles)


def test_nothing_slow_is_loaded_to_show() -> None:
    code = """
import numpy as np, pipeline as pl
report = pl.Report("x.zarr", 1, 1, 1, (), (), (), None, 1.0)
recordings = pl.Recordings([])
[value._repr_html_() + repr(value) for value in (report, recordings)]
"""
    assert not {"matplotlib", "pandas", "IPython", "jinja2"} & loaded(code)


@pytest.mark.parametrize(
    ("paths", "endings"),
    [
        (["a.WAV", "b.wav", "c.x/d", "é.flac", ".ogg", "e.toolongending", "f"],
         {"wav": 2, "": 3, "flac": 1, "ogg": 1}),
        (["s3://b/k.mp3"], {"mp3": 1}),
        ([], {}),
    ],
)  # fmt: skip
def test_endings_of_paths_are_counted(paths: list[str], endings: dict[str, int]) -> None:
    assert Paths(paths).endings() == endings
    assert Paths(["longer.wav", *paths])[1:].endings() == endings


def test_what_is_long_loses_its_middle() -> None:
    assert shortened("abcdefgh", 8) == "abcdefgh"
    assert shortened("abcdefghi", 6) == "abc…hi"
