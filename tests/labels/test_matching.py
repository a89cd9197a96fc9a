"""Label files and the names in them are matched to recordings, or refused, and never guessed."""

from __future__ import annotations

import pytest

from pipeline.labels.matching import NONE, UNREAD, Index

RECORDINGS = [
    "/data/site1/rec1.wav",
    "/data/site2/rec1.wav",
    "/data/site1/rec2.WAV",
    "s3://bucket/site3/rec3.flac",
    "/data/site1/rec.2.wav",
]


def match(
    *names: str, recordings: list[str] = RECORDINGS, unread: tuple[str, ...] = ()
) -> list[int]:
    where = [f"table.txt, name {i}" for i in range(len(names))]
    return Index(recordings, unread).match(names, where).tolist()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("/data/site2/rec1.wav", 1),
        ("site1/rec1.wav", 0),
        ("./site1//rec1.wav", 0),
        ("D:\\Recordings\\site2\\rec1.wav", 1),
        ("\\\\server\\site1\\REC1.WAV", 0),
        ("rec2.WAV", 2),
        ("rec2.wav", 2),  # of another case
        ("rec2", 2),  # RTTM has no ending
        ("rec2.flac", 2),  # a copy in another format
        ("elsewhere/rec3.wav", 3),
        ("rec.2", 4),
        ("rec.2.wav", 4),
        ("rec", NONE),
        ("rec4.wav", NONE),
        ("c.wav", NONE),
    ],
)
def test_a_name_fits_by_file_name_and_then_by_folders(name: str, expected: int) -> None:
    assert match(name) == [expected]


@pytest.mark.parametrize("name", ["rec1.wav", "rec1", "/other/rec1.wav"])
def test_a_name_that_fits_several_is_refused(name: str) -> None:
    message = (
        r"^table.txt, name 0: .*rec1.* fits several recordings, /data/site1/rec1.wav and "
        r"/data/site2/rec1.wav; name more of its folders, or leave one of them out$"
    )
    with pytest.raises(ValueError, match=message):
        match(name)


def test_the_exact_name_comes_before_one_of_another_case_or_ending() -> None:
    recordings = ["/a/x.flac", "/a/x.wav", "/a/X.wav", "/b/x.y.wav"]
    assert match("x.wav", "X.wav", "x.flac", recordings=recordings) == [1, 2, 0]
    with pytest.raises(ValueError, match="fits several recordings"):
        match("x", recordings=recordings)


def test_of_two_names_for_one_recording_the_nearer_holds() -> None:
    only = ["/data/site2/rec1.wav"]
    # The table is of two sites, the recordings of one.
    names = ("C:\\x\\site1\\rec1.wav", "C:\\x\\site2\\rec1.wav")
    assert match(*names, recordings=only) == [NONE, 0]
    assert match(*names[::-1], recordings=only) == [0, NONE]
    assert match("rec1.wav", "site2/rec1.wav", "x/site2/rec1.wav", recordings=only) == [0, 0, 0]
    with pytest.raises(ValueError, match=r"name 1: 'b/rec1.wav' and 'a/rec1.wav' both fit"):
        match("a/rec1.wav", "b/rec1.wav", recordings=only)


def test_recordings_that_cannot_be_read_are_known() -> None:
    assert match("bad.wav", "rec2", unread=("/data/bad.wav",)) == [UNREAD, 2]


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("labels/site1/rec1.Table.1.selections.txt", 0),
        ("labels/site2/rec1.txt", 1),
        ("rec2.txt", 2),
        ("rec2.WAV.csv", 2),
        ("rec2_labels.txt", 2),
        ("rec2.BirdNET.results.csv", 2),
        ("rec.2.txt", 4),
        ("s3://other/rec3-annotations.TextGrid", 3),
        ("notes.txt", NONE),
        ("rec22.txt", NONE),
    ],
)
def test_a_label_file_is_of_the_recording_that_it_is_named_after(file: str, expected: int) -> None:
    assert Index(RECORDINGS, ()).match_files([file, "x.txt"]).tolist() == [expected, NONE]


def test_a_label_file_that_is_named_after_several_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^rec1.txt fits several recordings"):
        Index(RECORDINGS, ()).match_files(["rec1.txt"])


def test_one_label_file_is_of_the_one_recording() -> None:
    assert Index(RECORDINGS[:1], ()).match_files(["Label Track.txt"]).tolist() == [0]
    assert Index(RECORDINGS[:1], ()).match_files(["a.txt", "b.txt"]).tolist() == [NONE, NONE]
