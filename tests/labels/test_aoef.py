"""Annotations of soundevent and Whombat (AOEF)."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from read_events import PRESENT, UNCERTAIN, events_of, refused, rows_of, spans_of
from text_examples import AOEF, PROJECT, aoef

SPECIES = "dwc:scientificName"
BAT, NOCTULE = "Myotis myotis", "Nyctalus noctula"


def test_times_are_those_of_the_file_and_shapes_have_bounds() -> None:
    # The bounds that soundevent 2.10.0 gives (compute_bounds), times the expansion of 10; where
    # a shape has no frequencies, it gives 0 to 5 MHz.
    assert rows_of(AOEF["aoef: project"], SPECIES, "low", "high", "state") == [
        (BAT, 2.5, 2.5, None, None, PRESENT),
        (BAT, 1.0, 2.0, None, None, PRESENT),
        (BAT, 3.0, 3.0, 40000, 40000, PRESENT),
        (NOCTULE, 3.0, 3.0, 40000, 40000, PRESENT),
        ("", 4.0, 5.0, 30000, 60000, PRESENT),
        ("", 6.0, 7.0, 10000, 50000, PRESENT),
        (BAT, 8.0, 9.0, 20000, 25000, PRESENT),
        (BAT, 10.0, 11.0, 1000, 2000, PRESENT),
        (BAT, 10.0, 13.0, 500, 3000, PRESENT),
        (BAT, 10.0, 11.0, 100, 2000, PRESENT),
        (NOCTULE, 1.0, 2.5, 2000, 8000, UNCERTAIN),
    ]


def test_a_clip_was_looked_at_if_its_task_is_done() -> None:
    assert spans_of(AOEF["aoef: project"], SPECIES) == [
        ("bat 1.wav", 0, 15, 1),
        ("b.wav", 0, 0, 1),
        ("b.wav", 30, 30, 1),
    ]
    assert spans_of(AOEF["aoef: set"], SPECIES) == [
        ("bat 1.wav", 0, 15, 1),
        ("b.wav", 0, 30, 1),
        ("b.wav", 30, 60, 1),
    ]
    assert rows_of(AOEF["aoef: set"], SPECIES, "state")[-1][-1] == PRESENT


def test_another_key_gives_other_labels() -> None:
    rows = rows_of(AOEF["aoef: project"], "event")
    assert [label for label, *_ in rows].count("Echolocation") == 2
    assert len(rows) == 10


def test_a_key_must_be_chosen_where_tags_have_several() -> None:
    assert refused(AOEF["aoef: project"]) == (
        "x.txt has labels in several tag keys; pass as label_column (--label-column) one of "
        "'dwc:scientificName', 'event'"
    )
    assert "no tag key 'species'" in refused(AOEF["aoef: project"], "species")
    one = [item | {"tags": [0]} for item in PROJECT["sound_event_annotations"]]
    assert {row[0] for row in rows_of(aoef(PROJECT, sound_event_annotations=one))} == {BAT}


def test_tags_of_clips_are_labels_where_there_are_no_sound_events() -> None:
    weak = aoef(PROJECT, sound_events=None, sound_event_annotations=[])
    assert rows_of(weak, None, "state") == [(BAT, 0.0, 15.0, PRESENT)]
    assert events_of(weak).recordings == ("bat 1.wav", "b.wav")


def changed(table: str, number: int, **values: Any) -> bytes:
    """The project with other values in one object."""
    data = copy.deepcopy(PROJECT)
    data[table][number] |= values
    return aoef(data)


def shape(kind: Any, at: Any) -> bytes:
    return changed("sound_events", 3, geometry={"type": kind, "coordinates": at})


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (changed("tags", 0, id="a"), ", tag a: its id is 'a'; it must be a whole number"),
        (changed("tags", 0, value="\ud800"), ", tag 0: its value is '\\ud800'; it must be text"),
        (changed("recordings", 1, path=None), ", recording r1: its path is missing"),
        (changed("recordings", 1, time_expansion=0), ", recording r1: its time_expansion is 0"),
        (changed("recordings", 1, time_expansion="2"), ", recording r1: its time_expansion is '2'"),
        (changed("clips", 1, recording="r7"), ", clip c1: its recording r7 is not in the file"),
        (changed("clips", 1, end_time=-1), ", clip c1: it ends before it begins"),
        (changed("clips", 1, uuid=[1]), ", clip [1]: its uuid is [1]; it must be text"),
        (changed("tasks", 1, status_badges=7), ", task t1: its status_badges is 7"),
        (changed("tasks", 1, status_badges=[7]), ", task t1, badge 1: it must be an object"),
        (changed("clip_annotations", 1, clip="c7"), ", clip_annotation ca1: its clip c7 is not"),
        (
            changed("sound_event_annotations", 1, tags=[7]),
            ", sound_event_annotation a1: its tag 7 is not in the file",
        ),
        (
            changed("sound_event_annotations", 1, sound_event="s77"),
            ", sound_event_annotation a1: its sound_event s77 is not in the file",
        ),
        (changed("sound_events", 3, geometry=None), ", sound_event s3, geometry: it must be"),
        (shape("Cube", [1]), ", sound_event s3, geometry: its type is 'Cube'"),
        (shape([], [1]), ", sound_event s3, geometry: its type is []"),
        (shape("TimeStamp", True), ", sound_event s3, geometry: its time is True"),
        (shape("TimeStamp", 10**400), ", sound_event s3, geometry: its time is 1000"),
        (shape("TimeStamp", float("nan")), ", sound_event s3, geometry: its time is nan"),
        (shape("TimeStamp", 1e308), ", sound_event s3, geometry: its time is 1e+308"),
        (shape("TimeInterval", [2, 1]), ", sound_event s3: it ends before it begins"),
        (shape("TimeInterval", [1, 2, 3]), ", sound_event s3, geometry: its coordinates are [1, "),
        (shape("Polygon", [[1, 2], [3, 4]]), ", sound_event s3, geometry: its coordinates are"),
        (shape("Polygon", [[]]), ", sound_event s3, geometry: its coordinates are [[]]"),
        (shape("LineString", [[1, "a"]]), ", sound_event s3, geometry: a coordinate is 'a'"),
        (aoef(PROJECT, tags=7), ", data: its tags is 7; it must be a list"),
        (aoef(PROJECT, collection_type="prediction_set"), ", data: its collection_type is 'pred"),
        (b'{"collection_type": 1}', ", data: it must be an object"),
        (b'{"collection_type": 1,\n', ", line 2: it is no JSON"),
        (b'{"collection_type": ' + b"9" * 5000 + b"}", " has a number that is too long"),
        (b'{"collection_type": ' + b"[" * 10**6, " is nested too deep"),
    ],
)
def test_what_is_wrong_is_refused_by_the_name_of_the_object(data: bytes, message: str) -> None:
    assert refused(data, SPECIES).startswith(f"x.txt{message}")
