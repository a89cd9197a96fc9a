"""Events come to lie in recordings and classes; what has no place is counted and listed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.audio import Header
from pipeline.grid import WindowGrid
from pipeline.labels.collecting import label_files, read_events
from pipeline.labels.event_labels import EventLabels
from pipeline.labels.events import Collection, Event, Found, Rows, Span, State, Unit
from pipeline.labels.labelling import Labelling
from pipeline.labels.placing import Placement, Places, place
from pipeline.recordings import Recording, Recordings

RATE, USUAL = 100, Labelling()


def recordings(**seconds: float) -> Recordings:
    """Recordings of so many seconds, at twice the rate that they are used at."""
    return Recordings(
        [
            Recording(f"/d/{name}.wav", Header(2 * RATE, 2, round(2 * RATE * length), True), 0,
                      RATE, 1, 1, f"/d/{name}.wav")
            for name, length in seconds.items()
        ]
    )  # fmt: skip


def placed(
    items: list[Found], found: Recordings, labelling: Labelling = USUAL, **options: Any
) -> Placement:
    collection = Collection()
    collection.add("a.txt", items)
    return place(collection.events(), Places.of(found, **options), WindowGrid(found), labelling)


def labels(items: list[Found], found: Recordings, **labelling: Any) -> EventLabels:
    chosen = Labelling(**labelling)
    return EventLabels(placed(items, found, chosen), WindowGrid(found), chosen)


def y(made: EventLabels) -> tuple[list[list[int]], list[list[bool]]]:
    block = made.block(0, made.shape[0])
    return block["label"].tolist(), block["annotated"].tolist()


def test_what_has_no_place_is_counted_and_listed() -> None:
    items: list[Found] = [
        Event("a", 0.5, 0.7, "owl", 1),
        Event("b", 0.5, 0.7, "owl", 2),  # of no recording
        Event("a", 2, 3, "owl", 3),  # begins where the recording ends
        Event("a", 1.9, 9, "owl", 4),  # goes on behind it
        Event("a", -2, -1, "owl", 5),
        Event("a", -2, 0, "owl", 6),
        Event("a", 0, 0, "owl", 7),  # a point in the first window
        Event("a", 0, 1, "owl", 8, channel=1),
        Event("a", 0, 1, "fox", 9),
        Event("bad.wav", 0, 1, "owl", 10),
    ]
    labelling = Labelling(classes=("owl",))
    found = placed(items, recordings(a=2), labelling, unread=["/d/bad.wav"])
    assert found.account.counts == {
        **{"files": 1, "events": 10, "matched": 3, "cut_at_end": 1},
        **{"no_recording": 1, "unreadable": 1, "other_channel": 1, "before_start": 2},
        **{"behind_end": 1, "left_out": 1, "no_time": 0},
    }
    assert [(item["line"], item["reason"]) for item in found.account.listed] == [
        *((2, "no_recording"), (3, "behind_end"), (5, "before_start"), (6, "before_start")),
        *((8, "other_channel"), (9, "left_out"), (10, "unreadable")),
    ]
    assert found.account.listed[0] == {
        **{"file": "a.txt", "line": 2, "recording": "b", "start": 0.5, "end": 0.7},
        **{"label": "owl", "reason": "no_recording"},
    }
    assert found.events.start.tolist() == [50, 190, 0]
    assert found.events.end.tolist() == [70, 200, 0]


def test_rows_and_single_events_are_the_same() -> None:
    start, end = np.array([0.1, 1.2]), np.array([0.2, 1.3])
    rows: list[Found] = [Rows(["a", "b"], start, end, ["owl", "fox"], [1, 2])]
    single: list[Found] = [Event("a", 0.1, 0.2, "owl", 1), Event("b", 1.2, 1.3, "fox", 2)]
    files = recordings(a=2, b=2)
    one, other = (labels(items, files) for items in (rows, single))
    assert one.identity() == other.identity()
    assert y(one) == y(other) == (
        [[0, 1], [0, 0], [0, 0], [1, 0]], [[True, True]] * 4
    )  # fmt: skip


def test_events_in_samples_are_of_the_files_own_rate() -> None:
    items: list[Found] = [Event("a", 150, 250, "owl", 1, unit=Unit.SAMPLES)]
    found = placed(items, recordings(a=2))
    assert (found.events.start.tolist(), found.events.end.tolist()) == ([75], [125])


def test_an_event_goes_on_in_the_recording_that_follows() -> None:
    items: list[Found] = [
        Event("a", 1.5, 5.5, "owl", 1, sequence=0.0),  # through b into c
        Event("b", 0.1, 0.2, "fox", 2, sequence=2.0),
        Event("c", 1.5, 1.6, "fox", 3, sequence=5.004),  # clocks drift
        Event("d", 0.9, 1.9, "fox", 4, sequence=100.0),
    ]
    found = placed(items, recordings(a=2, b=3, c=2, d=1))
    assert list(zip(*(column.tolist() for column in found.events), strict=True)) == [
        (0, 150, 200, 1), (1, 10, 20, 0), (2, 150, 160, 0), (3, 90, 100, 0),
        (1, 0, 300, 1), (2, 0, 50, 1),
    ]  # fmt: skip
    assert found.account.counts["matched"] == 4


def test_what_nobody_looked_at_is_unknown_or_negative() -> None:
    files = recordings(a=2, b=1, c=1)
    items: list[Found] = [Event("a", 0.5, 0.7, "owl", 1), Span("b")]
    assert y(labels(items, files)) == ([[1], [0], [0], [0]], [[True]] * 3 + [[False]])
    assert y(labels(items, files, unlabelled="negative"))[1] == [[True]] * 4


def test_what_is_said_to_be_annotated_alone_is() -> None:
    files = recordings(a=3)
    items: list[Found] = [
        Event("a", 0.5, 0.7, "owl", 1),
        Event("a", 2.5, 2.7, "fox", 2),
        Span("a", 0, 2, explicit=True),
    ]
    # Of the last window it is not said, but the fox was heard there.
    assert y(labels(items, files))[1] == [[True, True], [True, True], [True, False]]


def test_uncertain_events_are_not_known() -> None:
    items: list[Found] = [
        Event("a", 0.5, 1.5, "owl", 1, state=State.UNCERTAIN),
        Event("a", 1.2, 1.3, "owl", 2),
        Event("a", 2.2, 2.3, "fox", 3),
    ]
    assert y(labels(items, recordings(a=3))) == (
        [[0, 0], [0, 1], [1, 0]], [[True, False], [True, True], [True, True]]
    )  # fmt: skip


def test_classes_are_named_merged_and_left_out(tmp_path: Path) -> None:
    items: list[Found] = [
        Event("a", 0.5, 0.6, "owl", 1),
        Event("a", 1.5, 1.6, "Strix aluco", 2),
        Event("a", 2.5, 2.6, "noise", 3),
    ]
    files = recordings(a=4)
    assert labels(items, files).classes == ("Strix aluco", "noise", "owl")
    names = {"Strix aluco": "owl", "noise": None}
    (tmp_path / "map.yaml").write_text("Strix aluco: owl\nnoise: null\n")
    (tmp_path / "map.csv").write_text("label,name\nStrix aluco,owl\nnoise,\n")
    for label_map in (names, tmp_path / "map.yaml", str(tmp_path / "map.csv")):
        made = labels(items, files, label_map=label_map)
        assert made.classes == ("owl",)
        assert y(made) == ([[1], [1], [0], [0]], [[True]] * 4)
        assert made.told["left_out"] == 1
    made = labels(items, files, classes="noise, owl,bat")
    assert y(made)[0] == [[0, 1, 0], [0, 0, 0], [1, 0, 0], [0, 0, 0]]


def test_labels_that_are_empty_are_refused_or_named() -> None:
    items: list[Found] = [Event("a", 0.5, 0.6, "owl", 1), Event("a", 1.5, 1.6, "", 2)]
    message = r"^a.txt, line 2: it has no label, as 1 in all; pass a label_map .* leave them out$"
    with pytest.raises(ValueError, match=message):
        labels(items, recordings(a=2))
    assert labels(items, recordings(a=2), label_map={"": "call"}).classes == ("call", "owl")
    assert labels(items, recordings(a=2), label_map={"": None}).classes == ("owl",)


@pytest.mark.parametrize(
    ("items", "message"),
    [
        (
            [Event("b", 0, 1, "owl", 3)],
            r"^a.txt, line 3: its event is of 'b', which matches no recording; pass the recordings",
        ),
        (
            [Event("", 0, 1, "owl", 3)],
            r"^a.txt, line 3: its event is of 'a.txt', which matches no recording",
        ),
        (
            [Event("x", 5, 6, "owl", 1), Event("x", -2, -1, "owl", 2)],
            "its event begins at 5 s, behind the end of its recording, nor has any of the 1 others",
        ),
        ([Span("x")], r"^the label files name no class in these recordings; pass classes$"),
    ],
)
def test_labels_of_nothing_are_refused(items: list[Found], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        labels(items, recordings(x=2, c=1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"label_kind": "windows"}, "label_kind is 'windows'; allowed are window, fraction and"),
        ({"unlabelled": 0}, "unlabelled is 0; allowed are unknown and negative"),
        ({"min_overlap": 0}, "min_overlap is 0; it must be a number of seconds above 0"),
        ({"min_overlap": "1"}, "min_overlap is '1'; it must be a number of seconds above 0"),
        ({"min_fraction_of_event": 1.1}, "it must be a number above 0, of at most 1"),
        ({"min_fraction_of_window": -1}, "it must be a number above 0, of at most 1"),
        ({"min_overlap": 1, "label_kind": "frame"}, "min_overlap is 1, but label_kind is 'frame'"),
        ({"classes": ""}, "classes is .*; it must be names with commas between them"),
        ({"classes": ["a", "a"]}, "classes has 'a' twice; name each class once"),
        ({"classes": [1.5]}, "classes is .*; it must be names with commas between them"),
        ({"label_column": 3}, "label_column is 3; it must be a name"),
    ],
)
def test_choices_that_are_not_allowed_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Labelling(**options)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("m.yaml", "- a\n", "holds no mapping"),
        ("m.yaml", "ja: [1]\n", r"has \[1\] for 'ja'; it must be a name, or null"),
        ("m.yaml", "true: a\n", "has True, which is no text; put it between quotes"),
        ("m.csv", "a,b\n", "lacks a column 'label' or 'name'"),
        ("m.csv", "", "lacks a column 'label' or 'name'"),
        ("m.csv", "label,name\n\0,b\n", "is not a CSV file"),
    ],
)
def test_maps_that_are_none_are_refused(
    name: str, content: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=message):
        Labelling(label_map=tmp_path / name).names()


def test_files_folders_and_globs_are_collected(tmp_path: Path) -> None:
    folder = tmp_path / "labels"
    (folder / "deep" / ".hidden").mkdir(parents=True)
    for name in ("b.txt", "a.CSV", "deep/c.TextGrid", "deep/x.wav", "deep/.hidden/d.txt", "e.md"):
        (folder / name).write_text("x")
    names = ["a.CSV", "b.txt", "deep/c.TextGrid"]
    assert label_files(str(folder)) == [folder / name for name in names]
    assert label_files(str(folder / "b.txt")) == [folder / "b.txt"]
    deep = label_files(str(folder / "**" / "*.[tT]*"))
    assert [path.name for path in deep] == ["b.txt", "c.TextGrid"]
    assert label_files(str(folder / "nothing")) == []


def test_a_file_in_no_format_is_refused_and_an_empty_one_is_as_the_others(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("notes of the night\n")
    message = r"x.txt, line 1: it is in no format that is known; pass label_format .*csv"
    with pytest.raises(ValueError, match=message):
        read_events(label_files(str(tmp_path)), Labelling())
    (tmp_path / "x.txt").write_text("")
    with pytest.raises(ValueError, match=r"x.txt, line 1: it is empty, which tells no format"):
        read_events(label_files(str(tmp_path)), Labelling())
    with pytest.raises(ValueError, match=r"label_format is 'ravn'; allowed are .*raven"):
        read_events(label_files(str(tmp_path)), Labelling(label_format="ravn"))


def test_events_with_the_time_of_day_lie_where_a_recording_was_running() -> None:
    files = recordings(a=60, b=60, c=60)
    clock = np.array([1_700_000_000.0, 1_700_000_059.96, np.nan])  # clocks drift
    items: list[Found] = [
        Event("", 1_700_000_010.5, 1_700_000_011, "owl", 1, unit=Unit.CLOCK),
        Event("", 1_700_000_059.98, 1_700_000_061, "owl", 2, unit=Unit.CLOCK),  # b was running
        Event("a.wav", 1_700_000_001, 1_700_000_002, "owl", 3, unit=Unit.CLOCK),
        Event("", 1_600_000_000, 1_600_000_001, "owl", 4, unit=Unit.CLOCK),
        Event("c.wav", 1_700_000_001, 1_700_000_002, "owl", 5, unit=Unit.CLOCK),
    ]
    found = placed(items, files, clock=clock)
    assert found.events.recording.tolist() == [0, 1, 0]
    np.testing.assert_allclose(found.events.start, [1050, 2, 100], atol=0.001)
    np.testing.assert_allclose(found.events.end, [1100, 104, 200], atol=0.001)
    reasons = [(item["line"], item["reason"]) for item in found.account.listed]
    assert reasons == [(4, "no_recording"), (5, "no_time")]


def test_the_time_of_day_alone_is_refused_where_it_tells_no_recording() -> None:
    files = recordings(a=60, b=60)
    items: list[Found] = [Event("", 1_700_000_010.5, 1_700_000_011, "owl", 7, unit=Unit.CLOCK)]
    message = "^a.txt, line 7: its times are of the day, but .* pass datetime"
    collection = Collection()
    collection.add("x.txt", items)
    with pytest.raises(ValueError, match=message.replace("a.txt", "x.txt")):
        place(collection.events(), Places.of(files), WindowGrid(files), USUAL)
    both = np.array([1_700_000_000.0, 1_700_000_000.5])
    with pytest.raises(ValueError, match="line 7: several recordings were running at its time"):
        place(collection.events(), Places.of(files, (), both), WindowGrid(files), USUAL)
