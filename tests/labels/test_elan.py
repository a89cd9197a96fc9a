"""Annotations of ELAN."""

from __future__ import annotations

import pytest
from read_events import events_of, refused, rows_of, spans_of
from text_examples import ELAN

from pipeline.labels.formats.elan import path_of

EAF = ELAN["elan: tiers"].decode()


def test_times_are_milliseconds_behind_the_origin_of_the_medium() -> None:
    # pympi-ling 1.71 gives (1000, 2500) and (1200, 2500) for these; it leaves the origin out.
    rows = [("wren & <co>", 1.5, 3.0, 16), ("", 1.7, 3.0, 18)]
    assert rows_of(EAF.encode(), "birds", "line") == rows
    assert spans_of(EAF.encode(), "birds") == [("a b.wav", 0.0, float("inf"), 0)]


def test_slots_without_times_are_spread_between_their_neighbours() -> None:
    rows = [("x", 1.5, 2.0), ("y", 2.0, 2.5), ("z", 2.5, 3.0)]
    assert rows_of(EAF.encode(), "parts") == rows


def test_what_refers_to_an_annotation_has_its_times() -> None:
    rows = [("Troglodytes", 1.5, 3.0), ("troglodytes", 1.5, 3.0)]
    assert rows_of(EAF.encode(), "gloss") == rows


def test_annotations_are_of_each_medium_that_is_audio() -> None:
    two = EAF.replace("video/mp4", "audio/mp4").encode()
    assert [row[:2] for row in rows_of(two, "parts")] == [
        *(("x", 1.5), ("y", 2.0), ("z", 2.5)),
        *(("x", 1.0), ("y", 1.5), ("z", 2.0)),
    ]
    assert events_of(two, "parts").recordings == ("a b.wav", "C:/My Data/a.mp4")
    films = EAF.replace("audio/x-wav", "video/mp4").encode()
    assert len(events_of(films, "birds").spans["start"]) == 2


def test_a_file_without_media_is_of_the_recording_of_its_name() -> None:
    start, end = EAF.index("<MEDIA"), EAF.index("</HEADER>")
    assert spans_of((EAF[:start] + EAF[end:]).encode(), "birds") == [("", 0.0, float("inf"), 0)]


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("file:///media/x/a%20b.wav", "/media/x/a b.wav"),
        ("file:///C:/My%20Data/a.wav", "C:/My Data/a.wav"),
        ("file:/./a.wav", "a.wav"),
        ("../../x/a.wav", "x/a.wav"),
        ("./a#1?.wav", "a#1?.wav"),
        ("C:\\x\\a.wav", "C:/x/a.wav"),
        ("100%.wav", "100%.wav"),
        ("", ""),
    ],
)
def test_recordings_are_named_by_urls_or_paths(url: str, path: str) -> None:
    assert path_of(url) == path


@pytest.mark.parametrize("encoding", ["UTF-16", "ISO-8859-1"])
def test_the_encoding_is_the_one_that_is_declared(encoding: str) -> None:
    text = EAF.replace("UTF-8", encoding).replace("wren", "wr\u00ebn")
    assert rows_of(text.encode(encoding), "birds")[0] == ("wr\u00ebn & <co>", 1.5, 3.0)


LAUGHS = '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]>\n<ANNOTATION_DOCUMENT A'
LISTS = '<!DOCTYPE x [<!ATTLIST TIER x CDATA "ha">]>\n<ANNOTATION_DOCUMENT A'


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("<ANNOTATION_DOCUMENT A", LAUGHS, ", line 2: it declares entities"),
        ("<ANNOTATION_DOCUMENT A", LISTS, ", line 2: it declares entities or attributes"),
        ("</HEADER>", "", ", line 35: it is no XML (mismatched tag)"),
        ('"UTF-8"', '"klingon"', ", line 1: its encoding is 'klingon'"),
        ('"UTF-8"', '"shift_jis"', ", line 1: its encoding is 'shift_jis'"),
        ('"UTF-8"', '"UTF-16"', ", line 1: it is no XML (encoding specified"),
        ("milliseconds", "PAL-frames", ", line 3: its times are in 'PAL-frames'"),
        ('"1000"', '"1.5"', ", line 8: TIME_VALUE is '1.5'"),
        ('"1000"', '"9999999999999999"', ", line 8: TIME_VALUE is '9999999999999999'"),
        ('"500"', '"x"', ", line 4: TIME_ORIGIN is 'x'"),
        ('TIME_SLOT_ID="ts1" ', "", ", line 8: TIME_SLOT_ID is missing"),
        ('ID="ts4" TIME_VALUE="2500"', 'ID="ts4"', ", line 22: 'a3' has no time"),
        ('TIME_SLOT_REF2="ts2"', 'TIME_SLOT_REF2="ts9"', ", line 22: 'a3' has no time"),
        ('"2500"', '"900"', ", line 22: 'a3' ends before it begins"),
    ],
)
def test_what_is_wrong_is_refused_by_its_line(old: str, new: str, message: str) -> None:
    assert old in EAF
    error = refused(EAF.replace(old, new, 1).encode(), "parts")
    assert error.startswith(f"x.txt{message}"), error


def test_an_annotation_must_refer_to_another() -> None:
    for parent in ("a6", "a7", "a99"):
        text = EAF.replace('ANNOTATION_REF="a1"', f'ANNOTATION_REF="{parent}"')
        assert "refers to no annotation" in refused(text.encode(), "gloss")


def test_a_tier_must_be_chosen_where_several_have_annotations() -> None:
    error = refused(EAF.encode())
    assert error.endswith(
        "several tiers; pass as label_column (--label-column) one of 'birds', 'parts', 'gloss'"
    )
    assert "'none'" in refused(EAF.encode(), "x")
    assert rows_of(EAF.encode(), "none") == []


def test_xml_that_is_deep_is_no_harm() -> None:
    deep = EAF.replace("</HEADER>", "<A>" * 100_000 + "</A>" * 100_000 + "</HEADER>")
    assert len(rows_of(deep.encode(), "birds")) == 2
