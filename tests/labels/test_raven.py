"""Selection tables of Raven: views, files open together, channels, labels in any column."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from read_labels import Read, of, real
from table_examples import TEXTS

from pipeline.labels.events import ANY_CHANNEL

BEGIN = b"Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)"


def test_one_row_of_each_selection_and_channel_is_taken_of_a_spectrogram_if_there_is_one() -> None:
    read = of("raven: each view")
    assert read.events == [
        ("", 1.5, 2.5, "WOTH"),
        ("", 1.5, 2.5, "EATO"),
        ("", 4, 4, "click"),
        ("", 5, 6, ""),
    ]
    assert read.line == [3, 4, 5, 7]
    assert read.channel == [0, 1, 0, 0]
    assert read.low == [500, 500, 500, 0]


def test_the_offset_in_the_file_alone_says_where_a_selection_is() -> None:
    read = of("raven: files of another machine")
    assert read.events == [
        ("C:\\data\\a.wav", 10, 12, "owl"),
        ("D:\\data\\b.wav", 1.5, 3, "fox"),
        ("c.wav", 4, 5, ""),
    ]
    assert read.sequence == [0, 60, 60]


def test_the_tables_of_birdnet() -> None:
    read = of("raven: BirdNET")
    assert read.events == [
        ("/in/a.wav", 3, 6, "Common Chaffinch"),
        ("/in/c.wav", 0, 3, "House Sparrow"),
    ]
    assert read.confidence == [0.8154, 0.6394]


def test_a_table_without_rows_says_that_somebody_looked() -> None:
    for read in (of("raven: nothing there"), of("raven: nothing there", "Song type")):
        assert read.events == []
        assert read.spans == [("", 0, math.inf, None)]


def test_measurements_are_no_labels() -> None:
    read = of("raven: measurements")
    assert read.events == [("", 0.5, 1.5, "song"), ("", 2.5, 3.5, "")]
    assert read.channel == [ANY_CHANNEL] * 2
    assert read.sequence == [None, None]
    assert of("raven: measurements", "peak freq (hz)").events[0][3] == "440.0"


@pytest.mark.parametrize(
    ("columns", "cells", "label"),
    [
        (b"Annotation\tSpecies", b"\towl", "owl"),  # Raven has Annotation, though it be empty
        (b"Annotation\tVoice", b"owl\tdeep", "owl"),
        (b"Annotation\tPower", b"\t3.5", ""),
        (b"Annotation\tPower", b"27\t3.5", "27"),
        (b"Power\tVoice", b"3.5\tdeep", "deep"),
    ],
)
def test_the_column_of_labels_is_the_only_one_that_can_be(
    columns: bytes, cells: bytes, label: str
) -> None:
    data = BEGIN + b"\t" + columns + b"\n1\tSpectrogram 1\t1\t0.5\t1.5\t" + cells + b"\n"
    assert Read("x.txt", data).events == [("", 0.5, 1.5, label)]


def test_selections_of_one_number_at_other_times_are_not_views_of_each_other() -> None:
    row = b"1\tSpectrogram 1\t1\t%d\t9\towl\n"
    data = BEGIN + b"\tSpecies\n" + row % 1 + row % 2 + row.replace(b"Spectrogram", b"Wave") % 2
    assert [start for _, start, *_ in Read("x.txt", data).events] == [1, 2]


def refused(columns: bytes, rows: bytes, line: int, message: str) -> None:
    with pytest.raises(ValueError, match=rf"^x\.txt, line {line}: .*{message}"):
        Read("x.txt", BEGIN + columns + b"\n" + rows)


def test_labels_that_may_be_in_several_columns_are_refused_by_name() -> None:
    row = b"1\tSpectrogram 1\t1\t0\t1\ta\tb\n"
    refused(b"\tSpecies\tTags", row, 1, "labels may be in Species, Tags; pass label_column")
    refused(b"\tVoice\tMood", row, 1, "labels may be in Voice, Mood; pass label_column")
    row = b"1\tSpectrogram 1\t1\t0\t1\t3.5\n"
    refused(b"\tPower", row, 1, "no column is known to have the labels; pass label_column")
    with pytest.raises(ValueError, match="there is no column 'bird'; pass"):
        Read("x.txt", BEGIN + b"\tPower\n" + row, "bird")


def test_selections_in_several_files_without_an_offset_are_refused() -> None:
    rows = b"1\tS\t1\t0\t1\towl\ta.wav\n2\tS\t1\t61\t62\towl\tb.wav\n"
    message = r"no File Offset \(s\) says where in its file the selection is; export the table"
    refused(b"\tSpecies\tBegin File", rows, 2, message)
    row = b"1\tS\t1\t0\t1\towl\ta.wav\t0\n"
    refused(b"\tSpecies\tBegin File\tFile Offset (s)", row + row[:-3] + b"\n", 3, message)
    data = BEGIN + b"\tSpecies\tBegin File\n" + rows.replace(b"b.wav", b"a.wav")
    assert Read("x.txt", data).events[1] == ("a.wav", 61, 62, "owl")


def test_what_cannot_be_read_is_refused_by_its_line() -> None:
    refused(b"\tSpecies", b"1\tS\t1\t0\t1\tx\n2\tS\t1\t\t1\tx\n", 3, "lacks its begin or its end")
    refused(b"\tSpecies", b"1\tS\t1\t2\t1\tx\n", 2, "the selection ends before it begins; corre")
    refused(b"\tSpecies", b"1\tS\t0\t0\t1\tx\n", 2, "its channel is no whole number from 1; cor")
    refused(b"\tSpecies", b"1\tS\t1\t0,5\t1\tx\n", 2, "Begin Time is '0,5'; it must be a number")
    refused(b"\tSpecies\tPower", b"1\tS\t1\t0\t1\tx\ty\t9\n", 2, "more cells than the 7 that there")
    twice = TEXTS["raven: each view"] * 2
    with pytest.raises(ValueError, match=r"^x, line 8: Begin Time is 'Begin Time \(s\)'; it must"):
        Read("x", twice)


# --- real files -----------------------------------------------------------


def test_real_tables(audio: Path) -> None:
    folder = audio / "raven-tables-only"
    views = real(folder / "2020_10_27_132148.Table.1.selections.txt")
    assert len(views.events) == 3
    assert views.events[0] == ("", 363.770787458, 364.067561474, "27")
    assert views.line == [3, 5, 7]
    empty = real(folder / "EmptyExample.Table.1.selections.txt")
    assert (empty.events, empty.spans) == ([], [("", 0, math.inf, None)])
    ragged = real(folder / "MSD-0003_20180427_2minstart00.Table.1.selections.txt")
    assert [label for *_, label in ragged.events][:3] == ["WOTH", "EATO", "WOTH"]
    assert len(ragged.events) == 10
    [only] = real(folder / "raven_with_Annotation_col.txt").events
    assert only == ("", 1.897648165999982, 4.110570810999974, "CSWA")


def test_real_tables_of_several_files_and_of_points(audio: Path) -> None:
    dawn = real(audio / "blackbird-48k/blackbird.Table.1.selections.txt")
    assert len(dawn.events) == 18
    assert {*dawn.sequence} == {0, 30, 60}
    assert dawn.events[-1][:3] == ("242A2604603691DD_20250503_031500.WAV", 25, 30)
    fly = real(audio / "fly-song-2500Hz/20161207T102314_ch1.Table.1.selections.txt")
    assert len(fly.events) == 276
    other = real(audio / "fly-song-2500Hz/PS_20130625111709_ch3.Table.1.selections.txt")
    points = [start == end for read in (fly, other) for _, start, end, _ in read.events]
    assert (len(points), sum(points)) == (461, 140)
    spinetail = real(audio / "spinetail-44k/spinetail.Table.1.selections.txt")
    assert len(spinetail.events) == 18
    assert spinetail.events[1] == ("spinetail.wav", 0.506924, 3.041545, "CRER")
