"""Tables of events are read as their tools mean them, in each format."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from read_labels import Read, of, real
from table_examples import TEXTS
from text_examples import TEXTS as OTHERS

from pipeline.labels.events import ANY_CHANNEL, Collection, State, Unit
from pipeline.labels.formats.format import Choices
from pipeline.labels.formats.registry import FORMATS, recognise
from pipeline.labels.text import ROWS, Text

INF = math.inf
TABLES = (
    *("raven", "birdnet", "kaleidoscope", "aplose", "audioset", "dcase-strong", "dcase-weak"),
    *("crowsetta-generic", "crowsetta-simple", "songexplorer", "csv", "csv-samples"),
)


@pytest.mark.parametrize("name", TEXTS)
def test_each_example_is_recognised_as_its_own_format_and_read(name: str) -> None:
    text = Text(name, TEXTS[name])
    format = recognise(text)
    assert format is not None
    assert format.name == name.partition(":")[0]
    assert [*format.read(text, Choices())]


def test_all_formats_have_an_example() -> None:
    assert {*TABLES} <= {*FORMATS} == {name.partition(":")[0] for name in [*TEXTS, *OTHERS]}


def as_table(text: Text) -> str | None:
    """The first format of tables that a text is recognised as."""
    return next((name for name in TABLES if FORMATS[name].recognised(text)), None)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n\n",
        b"path,label\na.wav,owl\n",  # a label for each window
        b"0.5\t1.5\towl\n",
        b"SPEAKER a 1 0.5 1.5 <NA> <NA> bob <NA> <NA>\n",
        b"a.wav 1 0.0 30.0\n",
        b"a.wav\t1\t0.0\t30.0\n",
        b"a\t0.0\t30.0\towl\n",
        b"a.wav,1,2,annotated\nb.wav,1,2,annotated,owl\n",
        b"a.wav,1,2,heard,owl\n",
        b"start,offset,label\n1,2,owl\n",  # an offset may be anything
        b"\xff\xfe\x00",
        b"name,size\nx,1\n",
    ],
)
def test_what_is_no_table_of_events_is_not_recognised(data: bytes) -> None:
    assert as_table(Text("x", data)) is None


# --- BirdNET and Kaleidoscope ---------------------------------------------


def test_birdnet_names_the_species_and_how_sure_it_is() -> None:
    read = of("birdnet: analyzer")
    assert read.events == [
        ("/in/a.wav", 0, 3, "Eurasian Pygmy Owl"),
        ("/in/a.wav", 3, 6, "background"),
    ]
    assert read.confidence == [0.9237, 0.5]
    scientific = of("birdnet: analyzer", "Scientific name")
    assert [label for *_, label in scientific.events] == ["Glaucidium passerinum", "background"]
    common = of("birdnet: analyzer", "common name")
    assert [label for *_, label in common.events] == ["Eurasian Pygmy Owl", ""]
    assert of("birdnet: older").events == [("", 0, 3, "American Robin")]
    assert of("birdnet: for R").events == [("/in/a.wav", 0, 3, "Eurasian Blackbird")]


def test_birdnet_found_nothing_in_a_table_without_rows() -> None:
    read = of("birdnet: nothing there")
    assert read.events == []
    assert read.spans == [("", 0, INF, None)]
    assert not any(read.explicit)


def test_the_birdnet_package_writes_times_of_a_clock() -> None:
    assert of("birdnet: package").events == [
        ("/in/a.wav", 1.5, 4.5, "Turdus merula_Eurasian Blackbird"),
        ("/in/a.wav", 3660, 3663, "Parus major_Great Tit"),
    ]


def test_kaleidoscope_joins_its_folders_and_has_durations() -> None:
    read = of("kaleidoscope: BirdNET")
    assert read.events == [("/data/site/night1/a.wav", 3, 6, "Common Chaffinch")]
    assert read.confidence == [0.81]
    assert of("kaleidoscope: older BirdNET").events == [
        ("/data/night1/a.wav", 0, 3, "Eurasian Blackbird")
    ]


def test_kaleidoscope_takes_what_a_person_said_only_if_told_to() -> None:
    read = of("kaleidoscope: clusters")
    assert read.events == [
        ("D:\\\\site\\2024\\a.wav", 1.5, 1.75, "cluster7"),
        ("D:\\\\site\\b.wav", 2.5, 3, "cluster1"),
    ]
    assert read.confidence == [None, None]  # a distance is none
    assert [label for *_, label in of("kaleidoscope: clusters", "manual id").events] == [
        "MYOLUC",
        "",
    ]


# --- DCASE and AudioSet ---------------------------------------------------


def test_dcase_strong_and_a_file_with_nothing_in_it() -> None:
    read = of("dcase-strong: tabs")
    assert read.events == [("a.wav", 0.5, 1.25, "Speech"), ("c.wav", 2, 3, "Dog")]
    assert read.spans == [("b.wav", 0, INF, None)]
    assert read.line == [2, 4]
    assert of("dcase-strong: commas").confidence == [0.5]


def test_dcase_strong_without_a_header() -> None:
    read = of("dcase-strong: no header")
    assert read.events == [("a.wav", 0.5, 1.25, "Speech"), ("b.wav", 2, 3, "Dog")]
    assert read.line == [1, 2]
    assert of("dcase-strong: no label").events == [("a.wav", 0.5, 1.25, ""), ("b.wav", 2, 3, "")]


def test_dcase_weak_is_of_the_whole_recording() -> None:
    read = of("dcase-weak: tabs")
    assert read.events == [("a.wav", 0, INF, "Speech"), ("a.wav", 0, INF, "Running_water")]
    assert read.spans == [("b.wav", 0, INF, None)]


def test_audioset_says_what_it_looked_for() -> None:
    segment = "YxlGt805lTA_30000"
    assert of("audioset: strong").events == [(segment, 2.627, 7.237, "/m/053hz1")]
    assert of("audioset: strong").spans == []
    framed = of("audioset: framed")
    expected = [(segment, 0.96, 1.92, "/m/04rlf"), (segment, 0.96, 1.92, "/m/07rgkc5")]
    assert framed.events == framed.spans == expected
    assert framed.state == [State.PRESENT, State.ABSENT]
    assert all(framed.explicit)


# --- crowsetta, APLOSE, SongExplorer --------------------------------------


def test_crowsetta_has_seconds_or_samples_in_each_row() -> None:
    assert of("crowsetta-simple: birdsong").events == [("", 0.1, 0.25, "a"), ("", 0.3, 0.45, "b")]
    read = of("crowsetta-generic: both")
    by_line = dict(zip(read.line, zip(read.events, read.unit, strict=True), strict=True))
    assert by_line == {
        2: (("bird1.wav", 0.1, 0.25, "a"), Unit.SECONDS),
        3: (("bird2.wav", 16000, 24000, "b"), Unit.SAMPLES),
        4: (("", 1.5, 2.5, "c"), Unit.SECONDS),
    }


def test_aplose_has_seconds_in_a_file_and_levels_of_confidence() -> None:
    read = of("aplose: old")
    assert read.events == [
        ("sound001.wav", 108.25, 224.5, "Odontocetes"),
        ("sound001.wav", 0, 900, "Boat"),
    ]
    assert read.confidence == [0.333333, None]
    assert (read.low[0], read.high[0]) == (7520, 13696)
    assert read.spans == [("sound002.wav", 0, INF, None)]  # a comment


def test_points_and_whole_files_of_aplose() -> None:
    read = of("aplose: new")
    assert read.events == [("a.wav", 5.5, 5.5, "Click"), ("a.wav", 0, INF, "Boat")]
    assert (read.low[0], read.high[0]) == (100, None)


def test_aplose_without_a_file_keeps_the_clock() -> None:
    read = of("aplose: clock")
    assert read.events == [("", 1701239400, 1701239460, "porpoise")]  # 06:30 and 06:31 UTC
    assert read.unit == [Unit.CLOCK]
    assert read.spans == []


def test_songexplorer_counts_samples() -> None:
    read = of("songexplorer: fly")
    assert read.events == [("fly.wav", 2103, 4445, "ambient"), ("fly.wav", 6287, 9415, "mel-sine")]
    assert read.unit == [Unit.SAMPLES] * 2


# --- plain CSV ------------------------------------------------------------


def test_plain_csv_has_all_that_an_event_may_have() -> None:
    read = of("csv: seconds")
    assert read.events == [("a.wav", 0.5, 1.5, "owl"), ("b, c.wav", 2, 3, "barn owl, young")]
    assert (read.low, read.high, read.confidence) == ([100, None], [4000, None], [0.5, None])
    assert read.channel == [1, ANY_CHANNEL]
    assert read.spans == [("d.wav", 0, INF, None)]
    assert of("csv: duration").events == [("a.wav", 0.5, 1.5, "owl"), ("b.wav", 2, 2, "fox")]
    assert of("csv: one recording").events == [
        ("", 0, 22.48, "music"),
        ("", 22.48, 29.08, "noEnergy"),
    ]
    samples = of("csv-samples: one recording")
    assert samples.events == [("", 0, 4395, "six"), ("", 4395, 9043, "zero")]
    assert samples.unit == [Unit.SAMPLES] * 2


def test_with_a_state_only_what_is_named_was_looked_for() -> None:
    read = of("csv: states")
    assert read.state == [State.PRESENT, State.ABSENT, State.UNCERTAIN]
    assert read.spans == read.events
    assert all(read.explicit)


def test_an_offset_is_an_end_only_of_an_onset() -> None:
    assert Read("x", b"file,onset,offset,label\na,1,2,owl\n").events == [("a", 1, 2, "owl")]


def test_utf_16_and_a_mark_of_utf_8_are_read() -> None:
    table = "path,start,end,label\nñ.wav,1,2,lechuza común\n"
    for encoding in ("utf-16", "utf-8-sig", "utf-8"):
        assert Read("x", table.encode(encoding)).events == [("ñ.wav", 1, 2, "lechuza común")]


@given(
    st.lists(
        st.tuples(st.sampled_from(["a", "a\nb", 'say "a"', "x\r\ny", "", "c\rd"]), st.booleans()),
        max_size=20,
    )
)
def test_rows_keep_their_lines_though_cells_have_several(rows: list[tuple[str, bool]]) -> None:
    written, line, expected = "start,end,label\n", 1, []
    for label, blank_before in rows:
        if blank_before:
            written, line = written + "\n", line + 1
        quoted = label.replace('"', '""')
        written += f'1,2,"{quoted}"\n'
        line += 1 + label.count("\n") + label.count("\r") - label.count("\r\n")
        expected.append((line, label))
    read = Read("x", written.encode())
    assert [*zip(read.line, (label for *_, label in read.events), strict=True)] == expected


@pytest.mark.parametrize("first", ["x", '"x\ny"', '"x"'])
def test_rows_keep_their_lines_over_many_thousands(first: str) -> None:
    n, more = 2 * ROWS + 5, first.count("\n")
    written = f"start,end,label\n1,2,{first}\n" + "1,2,x\n" * (n - 1)
    read = Read("x", written.encode())
    assert read.line == [number + more for number in range(2, n + 2)]


@given(st.lists(st.floats(-1e14, 1e14).map(repr) | st.just(""), min_size=1, max_size=30))
def test_numbers_are_those_of_python_in_columns_with_gaps(cells: list[str]) -> None:
    table = "start,end,label,score\n" + "".join(f"1,2,x,{cell}\n" for cell in cells)
    read = Read("x", table.encode())
    values = read._events.columns["confidence"].tolist()
    for value, cell in zip(values, cells, strict=True):
        assert math.isnan(value) if cell == "" else value == pytest.approx(float(cell), rel=1e-6)


@given(
    st.lists(
        st.tuples(st.integers(0, 120), st.integers(0, 59), st.integers(0, 59), st.integers(0, 99)),
        min_size=2,
        max_size=20,
    )
)
def test_times_of_a_clock_that_are_written_alike_are_those_written_as_they_come(
    times: list[tuple[int, int, int, int]],
) -> None:
    rows = [f"{h:03d}:{m:02d}:{s:02d}.{part:02d}" for h, m, s, part in times]
    alike = Read("x", "\n".join(["start,duration,label", *(f"{t},1,x" for t in rows)]).encode())
    other = [*rows, "1:2:3"]
    mixed = Read("x", "\n".join(["start,duration,label", *(f"{t},1,x" for t in other)]).encode())
    starts = [3600 * h + 60 * m + float(f"{s}.{part:02d}") for h, m, s, part in times]
    assert [start for _, start, *_ in alike.events] == starts
    assert [start for _, start, *_ in mixed.events] == [*starts, 3723]


def test_a_minute_has_sixty_seconds_however_many_times_are_written_alike() -> None:
    for second in ("60", "6x", "٣٣"):
        rows = f"start,duration,label\n00:00:59,1,x\n00:00:{second},1,x\n"
        with pytest.raises(ValueError, match=rf"^x, line 3: the start is '00:00:{second}'; it mus"):
            Read("x", rows.encode())


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\n\r", "\n\n"])
def test_tables_are_the_same_with_quotes_and_without(end: str) -> None:
    rows = ["start,end,label", "1,2, an owl ", "", ",,", "2,3,fox"]
    plain = Read("x", end.join(rows).encode())
    quoted = Read("x", end.join(rows).replace("fox", '"fox"').encode())
    assert [label for *_, label in plain.events] == ["an owl", "fox"]
    assert (plain.events, plain.line) == (quoted.events, quoted.line)


# --- what cannot be read --------------------------------------------------

HEADER = b"file,start,end,label,channel,state,low_f\n"


@pytest.mark.parametrize(
    ("data", "line", "message"),
    [
        (HEADER + b"a,0,1,x,,present,\na,x,1,x,,present,\n", 3, "the start is 'x'; it must be a"),
        (HEADER + b"a,0,1_0,x,,present,\n", 2, "the end is '1_0'; it must be a number"),
        (HEADER + b"a,0,inf,x,,present,\n", 2, "the end is 'inf'; it must be a number"),
        (HEADER + b"a,0,1e300,x,,present,\n", 2, "the end is '1e300'; it must be a number"),
        (HEADER + b"a,0,1,x,,present,nan\n", 2, "the low frequency is 'nan'; it must be a"),
        (HEADER + "a,0,٣,x,,present,\n".encode(), 2, "the end is '٣'; it must be a number"),
        (HEADER + b"a,2,1,x,,present,\n", 2, "ends before it begins; correct it"),
        (HEADER + b"a,,1,x,,present,\n", 2, "no start is given; give one in each row"),
        (HEADER + b"a,,1,,,present,\n", 2, "no start is given; give one in each row"),
        (HEADER + b"\n\n,0,1,x,,present,\n", 4, "no file is named; name one in each row"),
        (HEADER + b"a,0,1,x,0.5,present,\n", 2, "its channel is no whole number from 0; correct"),
        (HEADER + b"a,0,1,x,99999,present,\n", 2, "its channel is no whole number from 0; co"),
        (HEADER + b"a,0,1,x,-1,present,\n", 2, "its channel is no whole number from 0; correct"),
        (HEADER + b"a,0,1,x,,maybe,\n", 2, "its state is none of PRESENT, NOT_PRESENT, ABSENT"),
        (HEADER + b"a,0,1,x,,present,,y\n", 2, "it has more cells than the 7 .* into quotes"),
        (HEADER + b'a,0,1,"x,,present,\n', 2, "it is no line of a table .*; correct it"),
        (HEADER + b"a,0,1,\xe9,,present,\n", 2, "it is not in UTF-8; save the file in UTF-8"),
        (HEADER + b"a,0,1,\0,,present,\n", 2, "there is a NUL character; save the file as text"),
        (b"start,end,size\n0,1,2\n", 1, r"to have the labels; pass .*, one of start, end, size"),
        (
            TEXTS["songexplorer: fly"] * 10 + b"a,1,2,heard,x\n",
            21,
            "its kind is none of annotated, pred",
        ),
        (
            TEXTS["songexplorer: fly"] * 10 + b"a,1,,todo\n",
            21,
            "no end is given; give one in each row with a",
        ),
        (TEXTS["birdnet: older"] + b"1\n", 3, "no end is given; give one in each row with a st"),
        (TEXTS["dcase-weak: tabs"] + b"\tx\n", 4, "no file is named; name one in each row"),
        (TEXTS["aplose: clock"].replace(b"+02:00", b""), 2, "start_datetime is .* an offset, as"),
        (TEXTS["aplose: old"].replace(b"1/3", b"high"), 2, "the level of confidence is 'high'"),
        (TEXTS["aplose: old"].replace(b"224.5,", b","), 2, "it has no end_time; give one"),
        (TEXTS["aplose: old"].replace(b"sound002.wav", b""), 4, "neither an annotation nor a file"),
        (TEXTS["crowsetta-generic: both"].replace(b"16000", b""), 3, "neither onset_s nor onset_"),
    ],
)
def test_what_cannot_be_read_is_refused_by_its_line(data: bytes, line: int, message: str) -> None:
    with pytest.raises(ValueError, match=rf"^my\.csv, line {line}: .*{message}"):
        Read("my.csv", data)


def test_a_column_that_is_not_there_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"^x, line 1: there is no column 'bird'; .* of start, en"):
        Read("x", b"start,end,label\n0,1,x\n", "bird")


# --- real files -----------------------------------------------------------


def test_real_plain_tables(audio: Path) -> None:
    digits = real(audio / "digits-8k/digits_long.csv", "digit")
    assert (digits.format, len(digits.events)) == ("csv", 1000)
    assert digits.events[1] == ("", 0.549375, 1.130375, "0")
    with pytest.raises(
        ValueError, match=r"digits_long\.csv, line 1: .* one of start_sample, .* di"
    ):
        real(audio / "digits-8k/digits_long.csv")
    drums = real(audio / "drums-48k-24bit-stereo/drums_long.csv")
    assert (drums.format, len(drums.events)) == ("csv", 25)
    assert drums.events[1] == ("", 1, 2, "Tambourine")
    music = real(audio / "speech-music-mp3/musanmix-smn-gender.csv")
    assert (music.format, len(music.events)) == ("csv", 12)
    assert music.events[1] == ("", 22.48, 29.080000000000002, "noEnergy")
    dawn = real(audio / "blackbird-48k/annotations.csv", "label:species")
    assert (dawn.format, len(dawn.events)) == ("csv", 18)
    name = "242A2604603691DD_20250503_031300.WAV"
    assert dawn.events[2] == (name, 10, 15, "Abbott's Babbler")


def test_real_tables_of_songexplorer(audio: Path) -> None:
    folder = audio / "fly-song-2500Hz"
    counts = {"20161207T102314_ch1": 276, "PS_20130625111709_ch3": 185}
    for name, count in counts.items():
        reads = [real(path) for path in folder.glob(f"{name}.wav-annotated-*.csv")]
        assert {read.format for read in reads} == {"songexplorer"}
        assert sum(len(read.events) for read in reads) == count
    first = real(folder / "20161207T102314_ch1.wav-annotated-person1.csv")
    assert first.events[1] == ("20161207T102314_ch1.wav", 6287, 9415, "mel-sine")


def test_files_that_are_no_tables_of_events_are_not_recognised(audio: Path) -> None:
    for name in ("manifest.csv", "broken/broken.csv", "percussion-48k-24bit-flac/labels.csv"):
        assert as_table(Text(name, (audio / name).read_bytes())) is None


def test_a_manifest_that_is_said_to_have_weak_labels_is_read() -> None:
    text = Text("m.csv", b'path,speaker,label\na.wav,x,"owl, fox"\nb.wav,y,\n')
    assert recognise(text) is None
    collection = Collection()
    collection.add("m.csv", FORMATS["dcase-weak"].read(text, Choices()))
    found = collection.events()
    assert (found.labels, found.recordings) == (("owl", "fox"), ("b.wav", "a.wav"))
    assert found.columns["end"].tolist() == [INF, INF]
    collection = Collection()
    collection.add("m.csv", FORMATS["dcase-weak"].read(text, Choices("speaker")))
    assert collection.events().labels == ("x", "y")
