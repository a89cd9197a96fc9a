"""Label files of Audacity, of NIST and subtitles; and that each format knows its own files."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from read_events import events_of, refused, rows_of, spans_of
from text_examples import COLUMNS, TEXTS

from pipeline.labels.formats.registry import FORMATS
from pipeline.labels.text import Text

EVERYWHERE = [("", 0.0, float("inf"), 0)]


@pytest.mark.parametrize("name", TEXTS)
def test_a_file_is_recognised_by_its_own_format_alone(name: str) -> None:
    text = Text("x", TEXTS[name])
    found = [format.name for format in FORMATS.values() if format.recognised(text)]
    assert found == [name.partition(":")[0]]
    assert len(events_of(TEXTS[name], COLUMNS.get(name)).spans["start"]) or "tm" in name


@pytest.mark.parametrize("data", [b"", b"\n\n", b";; only\n;; comments\n", b"label\nowl\nfox\n"])
def test_what_says_nothing_is_of_no_format(data: bytes) -> None:
    assert not any(format.recognised(Text("x", data)) for format in FORMATS.values())


# --- Audacity -------------------------------------------------------------


def test_labels_have_frequencies_in_the_line_below() -> None:
    data = TEXTS["audacity: regions, points and frequencies"]
    assert rows_of(data, None, "low", "high", "line") == [
        ("wren", 0.5, 1.25, 2000.0, 8000.5, 1),
        ("", 2.0, 2.0, None, None, 3),
        ("crow", 3.0, 4.0, None, 9000.0, 4),
    ]
    assert spans_of(data) == EVERYWHERE


def test_further_lines_with_a_backslash_say_nothing() -> None:
    data = b"0.5\t1.5\ta\n\\\t100\t200\n\\\t7\t8\n\\\tnew\n2\t3\tb\n"
    assert rows_of(data, None, "low", "high") == [
        ("a", 0.5, 1.5, 100, 200),
        ("b", 2, 3, None, None),
    ]


def test_decimals_may_have_commas_and_tracks_follow_each_other() -> None:
    data = TEXTS["audacity: two tracks with commas"]
    assert rows_of(data) == [("b", 5.0, 6.0), ("a", 1.0, 2.0)]


def test_what_has_no_end_is_a_point() -> None:
    assert rows_of(TEXTS["audacity: points"]) == [
        ("click", 0.5, 0.5),
        ("other", 1.5, 1.5),
        ("", 2.5, 2.5),
        ("", 3.5, 4.5),
    ]


def test_the_fourth_column_of_birdnet_is_confidence() -> None:
    assert rows_of(TEXTS["audacity: BirdNET"], None, "confidence") == [
        ("Turdus merula, Eurasian Blackbird", 0, 3, 0.8132),
        ("Parus major, Great Tit", 3, 6, 0.55),
    ]


def test_text_of_a_point_may_look_like_a_time() -> None:
    assert rows_of(b"1.5\t0:30:00\n2\t3\tx\n") == [("0:30:00", 1.5, 1.5), ("x", 2, 3)]


def test_the_real_track_is_read_whole(audio: Path) -> None:
    data = (audio / "spinetail-44k" / "spinetail.txt").read_bytes()
    rows = rows_of(data, None, "low", "high")
    assert len(rows) == 18
    assert rows[0] == ("SP", 0.101385, 0.36752, 6441.064453, 12296.577148)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\\\t1\t2\n1\t2\ta\n", "x.txt, line 1: frequencies stand before any label"),
        (b"1\t2\ta\n\\\t5\n", "x.txt, line 2: it must be a backslash, and two frequencies"),
        (b"1\t2\ta\n\\\t5\thigh\n", "x.txt, line 2: the highest frequency is 'high'"),
        (b"2\t1\ta\n", "x.txt, line 1: the label ends before it begins"),
        (b"1\t2\ta\n" * 30 + b"one\t2\ta\n", "x.txt, line 31: the start is 'one'"),
        (b"1\t2\ta\n" * 30 + b"\t2\ta\n", "x.txt, line 31: the label has no start"),
        (b"1e999\t2\ta\n", "x.txt, line 1: the start is '1e999'"),
        (b"1\t2\t\xff\n", "x.txt, line 1: it is not in UTF-8"),
    ],
)
def test_a_track_that_is_wrong_is_refused_by_its_line(data: bytes, message: str) -> None:
    assert refused(data).startswith(message)


# --- NIST -----------------------------------------------------------------


def test_speakers_have_durations_and_other_lines_are_passed_over() -> None:
    data = TEXTS["rttm: speakers"]
    assert rows_of(data, None, "channel", "confidence", "line") == [
        ("ann", 6.69, 7.12, 0, None, 2),
        ("bob", 0.5, 2.0, 1, 0.9, 4),
    ]
    assert events_of(data).recordings == ("a", "b")
    assert rows_of(TEXTS["rttm: nine fields"]) == [("ann", 6.69, 7.12)]


def test_lines_of_other_widths_and_blanks_are_read_alike() -> None:
    line = b"SPEAKER a 1 1 2 <NA> <NA> ann <NA> <NA>\n"
    mixed = line * 3 + b"\n" + line.replace(b" ", b" \t ") + line[:-6] + b"\n;; end\n"
    assert rows_of(mixed, None, "line") == [("ann", 1, 3, n) for n in (1, 2, 3, 5, 6)]


def test_lines_are_kept_in_order_however_many_there_are() -> None:
    lines = [f"SPEAKER r{i % 3} 1 {i} 0.5 <NA> <NA> s{i % 7} <NA> <NA>\n" for i in range(45_000)]
    events = events_of("".join(lines).encode())
    assert events.columns["start"].tolist() == [*range(45_000)]
    assert events.columns["line"].tolist() == [*range(1, 45_001)]


def test_parts_that_were_annotated_say_it_all() -> None:
    data = TEXTS["uem: parts"]
    assert spans_of(data) == [("a", 0, 30, 1), ("b", 10, 20, 1)]
    assert rows_of(data) == []


def test_words_have_durations_and_sides_of_a_line() -> None:
    assert rows_of(TEXTS["ctm: words"], None, "channel", "confidence") == [
        ("hello", 0.5, 0.75, 0, 0.9),
        ("you", 1.0, 1.5, 1, None),
    ]


@pytest.mark.parametrize(
    ("cell", "channel"), [("1", 0), ("2", 1), ("0", -1), ("B", 1), ("x", -1), ("9" * 5000, -1)]
)
def test_channels_are_counted_from_1(cell: str, channel: int) -> None:
    data = f"SPEAKER a {cell} 1 2 <NA> <NA> ann <NA> <NA>\n".encode()
    assert rows_of(data, None, "channel") == [("ann", 1, 3, channel)]


def test_real_files_of_a_meeting_are_read(audio: Path) -> None:
    folder = audio / "meeting-16k"
    assert rows_of((folder / "sample.rttm").read_bytes())[0] == ("speaker90", 6.69, 7.12)
    spans = spans_of((folder / "trn.uem").read_bytes())
    assert spans == [(f"trn0{i}", 0.0, 30.0, 1) for i in range(1, 5)]


SPEAKER = b"SPEAKER a 1 1 2 <NA> <NA> ann <NA> <NA>\n"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (SPEAKER * 20 + b"SPEAKER a 1\n", "x.txt, line 21: it is no line of RTTM"),
        (SPEAKER * 20 + SPEAKER.replace(b"SPE", b"spi"), "x.txt, line 21: its type is none of a/p"),
        (SPEAKER.replace(b" 2 ", b" -2 "), "x.txt, line 1: the duration is less than nothing"),
        (SPEAKER.replace(b" 2 ", b" <NA> "), "x.txt, line 1: the duration is '<NA>'"),
        (SPEAKER.replace(b" 1 2 ", b" 1e308 1e308 "), "x.txt, line 1: the "),
        (b"a NA 2 1\n", "x.txt, line 1: the part ends before it begins"),
        (b"a NA 1 2\n" * 20 + b"a NA 1\n", "x.txt, line 21: it is no line of UEM"),
        (b"a A 1 2 x\n" * 20 + b"a A 1 2\n", "x.txt, line 21: it is no line of CTM"),
        (b"a A 1 2 x\n" * 20 + b"a A 1 2 x y\n", "x.txt, line 21: the confidence is 'y'"),
    ],
)
def test_a_line_that_is_wrong_is_refused(data: bytes, message: str) -> None:
    assert refused(data).startswith(message)


# --- subtitles ------------------------------------------------------------


def test_cues_have_times_and_may_have_several_lines() -> None:
    data = TEXTS["srt: cues"]
    assert rows_of(data, None, "line") == [
        ("wren", 0.5, 1.25, 2),
        ("", 3602.0, 3602.0, 6),
        ("two lines", 3603.0, 3604.0, 10),
    ]
    assert rows_of(data.replace(b"\n", b"\r\n")) == rows_of(data)
    assert spans_of(data) == EVERYWHERE


def test_webvtt_may_leave_out_what_audacity_writes() -> None:
    assert rows_of(TEXTS["webvtt: of Audacity"]) == [("wren", 0.5, 1.25)]
    assert rows_of(TEXTS["webvtt: of others"]) == [("crow", 1.0, 2.5)]
    assert rows_of(b"WEBVTT") == []


CUE = b"1\n00:00:00,500 --> 00:00:01,250\nwren\n\n"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (CUE + b"2\nno times\n", "x.txt, line 5: a cue must have its times"),
        (CUE + b"2\n", "x.txt, line 5: a cue must have its times"),
        (CUE + b"2\n00:00:01,5 --> 1\n", "x.txt, line 6: the end is '1'"),
        (CUE + b"2\n00:00:01,5 -->\n", "x.txt, line 6: the end is ''"),
        (CUE.replace(b"01,250", b"00,250"), "x.txt, line 2: the cue ends before it begins"),
    ],
)
def test_a_cue_that_is_wrong_is_refused(data: bytes, message: str) -> None:
    assert refused(data).startswith(message)


# --- what is written is read ----------------------------------------------

MICROSECONDS = st.integers(0, 10**12)
TEXT = st.text(st.characters(exclude_categories=("C", "Z"), exclude_characters="\\"), max_size=9)


@given(st.lists(st.tuples(MICROSECONDS, MICROSECONDS, TEXT), min_size=1, max_size=30))
def test_labels_are_read_as_audacity_writes_them(labels: list[tuple[int, int, str]]) -> None:
    ordered = [(*sorted(times), text) for *times, text in labels]
    lines = [f"{a / 1e6:.6f}\t{b / 1e6:.6f}\t{text}\n" for a, b, text in ordered]
    expected = [(text, round(a / 1e6, 6), round(b / 1e6, 6)) for a, b, text in ordered]
    assert rows_of("".join(lines).encode()) == expected
    with_commas = [line.replace(".", ",", 2) for line in lines]
    assert rows_of("".join(with_commas).encode()) == expected


@given(st.lists(st.tuples(MICROSECONDS, MICROSECONDS), min_size=1, max_size=30), st.data())
def test_speakers_are_read_whatever_stands_between_them(
    turns: list[tuple[int, int]], data: st.DataObject
) -> None:
    others = st.sampled_from(["", ";; comment", "  ", "NOSCORE a 1 0 1 <NA> <NA> <NA> <NA> <NA>"])
    lines = list[str]()
    expected = list[tuple[str, float, float, int]]()
    for number, (start, duration) in enumerate(turns):
        lines += data.draw(st.lists(others, max_size=2))
        end = data.draw(st.sampled_from([" <NA>", "", "\t<NA>  "]))
        fields = f"{start / 1e6:.6f} {duration / 1e6:.6f} <NA> <NA> s{number} <NA>"
        lines.append(f"SPEAKER a 1 {fields}{end}")
        expected.append((f"s{number}", start / 1e6, round((start + duration) / 1e6, 6), len(lines)))
    assert rows_of("\n".join(lines).encode(), None, "line") == expected
