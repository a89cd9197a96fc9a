"""Labels of windows are those of a slow and obvious reference, in any blocks."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import given
from hypothesis import strategies as st

from pipeline.grid import WindowGrid
from pipeline.labels.events import EVERY_CLASS, State
from pipeline.labels.windows import Placed, Rule, WindowLabels

Array = npt.NDArray[Any]
RATE, CLASSES = 100, 3
Item = tuple[int, int, int, int, int]  # recording, start and end in samples, class, state


@dataclass
class Recordings:
    """As far as a grid knows them."""

    n_samples: Array
    samplerate: int = RATE


def placed(items: list[Item]) -> tuple[Placed, Array]:
    columns = np.array(items, np.int64).reshape(-1, 5).T
    recording, start, end, label, state = columns
    return Placed(recording, start.astype(float), end.astype(float), label), state


def reference(
    grid: WindowGrid, events: list[Item], spans: list[Item], rule: Rule
) -> tuple[Array, Array]:
    label = np.zeros((len(grid), CLASSES), np.uint8)
    annotated = np.zeros((len(grid), CLASSES), np.bool_)
    for t, (recording, start, stop) in enumerate(grid):
        samples = set(range(start, stop))
        for k in range(CLASSES):
            looked: set[int] = set()
            every: set[int] = set()
            for r, a, b, of, _ in spans:
                if r == recording and of == k:
                    looked |= set(range(a, b)) & samples
                if r == recording and of == EVERY_CLASS:
                    every |= set(range(a, b)) & samples
            unsure = False
            for r, a, b, of, state in events:
                if r != recording or of != k:
                    continue
                common = len(set(range(a, b)) & samples)
                inside = a == b and a in samples
                if state == State.ABSENT:
                    looked |= set(range(a, b)) & samples
                elif state == State.UNCERTAIN:
                    unsure |= common > 0 or inside
                elif inside or (common and is_enough(common, b - a, grid.window_samples, rule)):
                    label[t, k] = 1
            annotated[t, k] = label[t, k] or (
                (looked == samples or every == samples) and not unsure
            )
    return label, annotated


def is_enough(common: int, duration: int, window: int, rule: Rule) -> bool:
    least = []
    if rule.min_overlap is not None:
        least.append(Fraction(rule.min_overlap).limit_denominator(1000) * RATE)
    if rule.min_fraction_of_event is not None:
        least.append(Fraction(rule.min_fraction_of_event).limit_denominator(1000) * duration)
    if rule.min_fraction_of_window is not None:
        least.append(Fraction(rule.min_fraction_of_window).limit_denominator(1000) * window)
    return not least or common >= min(least)


@st.composite
def items(draw: st.DrawFn, classes: st.SearchStrategy[int], states: list[State]) -> Item:
    start = draw(st.integers(0, 400))
    length = draw(st.just(0) | st.integers(0, 250))
    states_of = st.sampled_from(states)
    return draw(st.integers(0, 3)), start, start + length, draw(classes), int(draw(states_of))


EVENTS = st.lists(items(st.integers(0, CLASSES - 1), [*State]), max_size=12)
SPANS = st.lists(items(st.integers(EVERY_CLASS, CLASSES - 1), [State.PRESENT]), max_size=6)
LEAST = st.none() | st.sampled_from([0.05, 0.1, 0.25, 0.5, 0.75, 1.0])
RULES = st.builds(Rule, LEAST, LEAST, LEAST)


@given(
    st.lists(st.integers(0, 350), min_size=4, max_size=4),
    st.integers(1, 120),
    st.integers(1, 120),
    st.sampled_from(["pad", "drop"]),
    EVENTS,
    SPANS,
    RULES,
    st.lists(st.integers(0, 1500), max_size=4),
)
def test_labels_are_those_of_the_reference_in_any_blocks(
    lengths: list[int],
    window: int,
    hop: int,
    tail: Any,
    events: list[Item],
    spans: list[Item],
    rule: Rule,
    cuts: list[int],
) -> None:
    grid = WindowGrid(Recordings(np.array(lengths)), window / RATE, hop / RATE, tail)
    spans = [span for span in spans if span[1] < span[2]]
    labels = WindowLabels(grid, *placed(events), placed(spans)[0], CLASSES, rule)
    edges = [0, *sorted(min(cut, len(grid)) for cut in cuts), len(grid)]
    parts = [labels.block(a, b) for a, b in pairwise(edges)]
    label, annotated = (np.concatenate(part) for part in zip(*parts, strict=True))
    expected = reference(grid, events, spans, rule)
    np.testing.assert_array_equal(label, expected[0])
    np.testing.assert_array_equal(annotated, expected[1])


@given(
    st.lists(st.integers(0, 350), min_size=4, max_size=4),
    st.integers(1, 120),
    st.integers(1, 120),
    EVENTS,
    st.integers(-30, 30),
    st.lists(st.integers(1, 60), min_size=1, max_size=6),
)
def test_frames_have_the_events_that_they_have_samples_of(
    lengths: list[int], window: int, hop: int, events: list[Item], first: int, frames: list[int]
) -> None:
    grid = WindowGrid(Recordings(np.array(lengths)), window / RATE, hop / RATE)
    edges = first + np.cumsum([0, *frames])
    # Events end where their recording does.
    events = [(r, a, min(b, lengths[r]), *of) for r, a, b, *of in events if a < lengths[r]]
    none = placed([])[0]
    labels = WindowLabels(grid, *placed(events), none, CLASSES, kind="frame", frames=edges)
    label = labels.block(0, len(grid))[0]
    for t, (recording, start, _) in enumerate(grid):
        for k in range(CLASSES):
            for f in range(len(frames)):
                samples = {*range(start + edges[f], start + edges[f + 1])}
                expected = any(
                    r == recording
                    and of == k
                    and state == State.PRESENT
                    and samples & ({*range(a, b)} if a < b else {a})
                    for r, a, b, of, state in events
                )
                assert label[t, k, f] == expected


@given(
    st.lists(st.integers(0, 350), min_size=4, max_size=4),
    st.integers(1, 120),
    st.integers(1, 120),
    EVENTS,
)
def test_fractions_are_those_of_the_samples_that_a_window_has(
    lengths: list[int], window: int, hop: int, events: list[Item]
) -> None:
    grid = WindowGrid(Recordings(np.array(lengths)), window / RATE, hop / RATE)
    none = placed([])[0]
    labels = WindowLabels(grid, *placed(events), none, CLASSES, kind="fraction")
    label = labels.block(0, len(grid))[0]
    assert label.dtype == np.float32
    for t, (recording, start, stop) in enumerate(grid):
        for k in range(CLASSES):
            heard = {
                sample
                for r, a, b, of, state in events
                if r == recording and of == k and state == State.PRESENT
                for sample in range(max(a, start), min(b, stop))
            }
            assert np.isclose(label[t, k], len(heard) / (stop - start), atol=1e-6)
