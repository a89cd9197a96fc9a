"""Annotations of soundevent and Whombat (AOEF): JSON, in tables that are joined by identifiers.

Times are real ones: recordings that are slowed down in their file have a `time_expansion`, by
which times are multiplied here; frequencies stay those of what was heard. Shapes are taken by their
bounds. Labels are the values of tags of one key (`species`, `event`, ...): an event that has
several is several events, and one without any has an empty label. A clip annotation says that its
clip was looked at, if a task about the clip, where there is one, is completed or verified; what is
in a clip that was rejected is uncertain. Tags of a clip are labels of all of it in a file that has
no sound events; else they are passed over. The format has no negative annotations.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple, NoReturn, TypeVar

from pipeline.labels.events import UNKNOWN, Event, Found, Span, State
from pipeline.labels.formats.format import Choices, Format
from pipeline.labels.formats.tiers import chosen_set
from pipeline.labels.text import Text

T = TypeVar("T")
KINDS = ("annotation_set", "annotation_project", "evaluation_set")
# How deep the points, of time and frequency, are in lists.
DEPTHS = {
    "Point": 0,
    **dict.fromkeys(("LineString", "MultiPoint"), 1),
    **dict.fromkeys(("Polygon", "MultiLineString"), 2),
    "MultiPolygon": 3,
}
DONE = {"completed", "verified"}
REJECTED = "rejected"
NO_TEXT = re.compile("[\0\ud800-\udfff]")  # which JSON can escape, but no file of text can hold
LARGEST = 1e15  # of any number; what is larger is no time or frequency
NO_LINE = 0  # JSON may all be in one


def recognised(text: Text) -> bool:
    """Whether it is an object that has a type of collection."""
    is_object = bool(text.head) and text.head[0].lstrip().startswith("{")
    return is_object and b'"collection_type"' in text.data


class _Recording(NamedTuple):
    path: str
    expansion: float


class _Clip(NamedTuple):
    recording: _Recording
    start: float
    end: float


class _Object:
    """An object of the file: what it is called there, and its values."""

    def __init__(self, text: Text, name: str, values: Any) -> None:
        self._text, self.name = text, name
        if not isinstance(values, dict):
            self.fail("it must be an object")
        self._values: dict[str, Any] = values

    def fail(self, what: str) -> NoReturn:
        """Refuse the object."""
        raise ValueError(f"{self._text.name}, {self.name}: {what}; correct it, or export it anew")

    def get(self, key: str) -> Any:
        """A value, which may be missing."""
        return self._values.get(key)

    def word(self, key: str) -> str:
        """A text, which must be there."""
        value = self.get(key)
        if not isinstance(value, str) or NO_TEXT.search(value):
            self.fail(f"its {key} is {_shown(value)}; it must be text")
        return value

    def number(self, value: Any, what: str) -> float:
        """A value as a number."""
        if isinstance(value, int | float) and not isinstance(value, bool):
            try:
                if abs(number := float(value)) < LARGEST:
                    return number
            except OverflowError:
                pass
        self.fail(f"{what} is {_shown(value)}; it must be a number")

    def values(self, key: str) -> list[Any]:
        """A list, which is empty if it is missing."""
        value = self.get(key)
        if value is None:
            return []
        if not isinstance(value, list):
            self.fail(f"its {key} is {_shown(value)}; it must be a list")
        return value

    def objects(self, key: str, name: str) -> Iterator[_Object]:
        """A list of objects, which are called by a name and their identifier."""
        for number, values in enumerate(self.values(key), 1):
            known = values.get("uuid", values.get("id")) if isinstance(values, dict) else None
            yield _Object(self._text, f"{name} {number if known is None else known}", values)

    def inner(self, key: str) -> _Object:
        """An object in this one."""
        return _Object(self._text, f"{self.name}, {key}", self.get(key))

    def joined(self, key: str, table: dict[str, T]) -> T:
        """What a table has for the identifier."""
        found = table.get(self.word(key))
        if found is None:
            self.fail(f"its {key} {self.word(key)} is not in the file")
        return found


def _shown(value: Any) -> str:
    return "missing" if value is None else repr(value)[:80]


def _parsed(text: Text) -> _Object:
    try:
        values = json.loads(text.content)
    except json.JSONDecodeError as error:
        text.fail(error.lineno, f"it is no JSON ({error.msg}); export it anew")
    except RecursionError:
        raise ValueError(f"{text.name} is nested too deep; export it anew") from None
    except ValueError:  # from Python, for a number of more than some thousand digits
        raise ValueError(f"{text.name} has a number that is too long; export it anew") from None
    data = _Object(text, "data", _Object(text, "the file", values).get("data"))
    kind = data.get("collection_type")
    if kind not in KINDS:
        data.fail(f"its collection_type is {_shown(kind)}; it must be one of {', '.join(KINDS)}")
    return data


class _Collection:
    """The tables of a file, joined."""

    def __init__(self, data: _Object) -> None:
        self._data = data
        self.tags = dict[int, tuple[str, str]]()
        for tag in data.objects("tags", "tag"):
            if not isinstance(number := tag.get("id"), int):
                tag.fail(f"its id is {_shown(number)}; it must be a whole number")
            self.tags[number] = tag.word("key"), tag.word("value")
        self._recordings = {
            item.word("uuid"): self._recording(item)
            for item in data.objects("recordings", "recording")
        }
        self._clips = {
            item.word("uuid"): self._clip(item) for item in data.objects("clips", "clip")
        }
        self._states = dict[str, set[str]]()
        for task in data.objects("tasks", "task"):
            badges = task.objects("status_badges", f"{task.name}, badge")
            self._states.setdefault(task.word("clip"), set()).update(
                badge.word("state") for badge in badges
            )

    def _recording(self, item: _Object) -> _Recording:
        given = item.get("time_expansion")
        expansion = 1.0 if given is None else item.number(given, "its time_expansion")
        if not 1e-6 < expansion < 1e6:
            item.fail(f"its time_expansion is {expansion:g}; it must be above 0")
        return _Recording(item.word("path"), expansion)

    def _clip(self, item: _Object) -> _Clip:
        recording = item.joined("recording", self._recordings)
        start, end = (
            item.number(item.get(key), f"its {key}") * recording.expansion
            for key in ("start_time", "end_time")
        )
        if end < start:
            item.fail("it ends before it begins")
        return _Clip(recording, start, end)

    def tags_of(self, item: _Object) -> list[tuple[str, str]]:
        """Keys and values of an annotation's tags."""
        numbers = item.values("tags")
        for number in numbers:
            if not isinstance(number, int) or number not in self.tags:
                item.fail(f"its tag {_shown(number)} is not in the file")
        return [self.tags[number] for number in numbers]

    def clips(self) -> Iterator[tuple[_Object, _Clip, set[str] | None]]:
        """Annotations of clips: the clip, and the states of its tasks, if it has any."""
        for item in self._data.objects("clip_annotations", "clip_annotation"):
            yield item, item.joined("clip", self._clips), self._states.get(item.word("clip"))

    def sound_events(self) -> Iterator[tuple[_Object, Event]]:
        """Annotations of sound events, and the events, without labels."""
        places = {
            item.word("uuid"): self._place(item)
            for item in self._data.objects("sound_events", "sound_event")
        }
        for item in self._data.objects("sound_event_annotations", "sound_event_annotation"):
            yield item, item.joined("sound_event", places)

    def _place(self, item: _Object) -> Event:
        recording = item.joined("recording", self._recordings)
        start, end, low, high = _bounds(item)
        start, end = start * recording.expansion, end * recording.expansion
        if end < start:
            item.fail("it ends before it begins")
        return Event(recording.path, start, end, "", NO_LINE, low, high)


def _bounds(item: _Object) -> tuple[float, float, float, float]:
    """The start, end, lowest and highest frequency of a shape."""
    geometry = item.inner("geometry")
    kind, found = geometry.get("type"), geometry.get("coordinates")
    if kind == "TimeStamp":
        time = geometry.number(found, "its time")
        return time, time, UNKNOWN, UNKNOWN
    if kind in ("TimeInterval", "BoundingBox"):
        values = [
            geometry.number(value, "a coordinate") for value in geometry.values("coordinates")
        ]
        if len(values) == 2 and kind == "TimeInterval":
            return values[0], values[1], UNKNOWN, UNKNOWN
        if len(values) == 4 and kind == "BoundingBox":
            return values[0], values[2], values[1], values[3]
        geometry.fail(f"its coordinates are {_shown(found)}; they are not those of a {kind}")
    if not isinstance(kind, str) or kind not in DEPTHS:
        geometry.fail(f"its type is {_shown(kind)}; it must be a shape of time and frequency")
    points = [found]
    for _ in range(DEPTHS[kind]):
        points = [part for parts in points if isinstance(parts, list) for part in parts]
    if not points or not all(isinstance(point, list) and len(point) == 2 for point in points):
        geometry.fail(f"its coordinates are {_shown(found)}; they are not those of a {kind}")
    times, frequencies = (
        [geometry.number(value, "a coordinate") for value in values]
        for values in zip(*points, strict=True)
    )
    return min(times), max(times), min(frequencies), max(frequencies)


def read(text: Text, choices: Choices) -> Iterator[Found]:
    """The events that have tags of one key, and the clips that were annotated."""
    tables = _Collection(_parsed(text))
    events = [(item, event, tables.tags_of(item)) for item, event in tables.sound_events()]
    clips = [*tables.clips()]
    for item, clip, _ in () if events else clips:
        whole = Event(clip.recording.path, clip.start, clip.end, "", NO_LINE)
        if tags := tables.tags_of(item):
            events.append((item, whole, tags))
    there = [key for key, _ in tables.tags.values()]
    used = (key for _, _, tags in events for key, _ in tags)
    chosen = chosen_set(text, "tag key", there, used, choices)
    yield from _spans(clips)
    rejected = _rejected(clips)
    for item, event, tags in events:
        state = State.UNCERTAIN if item.word("uuid") in rejected else State.PRESENT
        labels = dict.fromkeys(value for key, value in tags if key == chosen)
        for label in labels or ("",):
            yield event._replace(label=label, state=state)


def _spans(clips: list[tuple[_Object, _Clip, set[str] | None]]) -> Iterator[Span]:
    for _, clip, states in clips:
        done = states is None or (bool(states & DONE) and REJECTED not in states)
        # A clip that is not done yet still says that other parts were not looked at.
        end = clip.end if done else clip.start
        yield Span(clip.recording.path, clip.start, end, explicit=True)


def _rejected(clips: list[tuple[_Object, _Clip, set[str] | None]]) -> set[str]:
    """Identifiers of the annotations in clips that were rejected, and of those of the clips."""
    found = set[str]()
    for item, _, states in clips:
        if states and REJECTED in states:
            found.add(item.word("uuid"))
            found.update(uuid for uuid in item.values("sound_events") if isinstance(uuid, str))
    return found


AOEF = Format("aoef", recognised, read)
