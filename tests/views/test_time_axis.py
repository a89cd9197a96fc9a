"""Time is told in one unit a figure, or by the clock of the place."""

from __future__ import annotations

import pytest
from matplotlib.figure import Figure

from pipeline.views.time_axis import Clock, moment, show_time

EVENING = Clock(86400 * 365 - 5.25, -12600)  # a few seconds before 1971, west of Greenwich

SHOWN: list[tuple[float, float, Clock | None, list[str], str]] = [
    (0, 1, None, ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"], "time (s)"),
    (16, 25, None, [f"{t}" for t in range(16, 26)], "time (s)"),
    (0, 480, None, [f"{t}" for t in range(9)], "time (min)"),
    (0, 7201, None, ["0.0", "0.5", "1.0", "1.5", "2.0"], "time (h)"),
    # Long after the start, a number of seconds or minutes tells nobody when it is.
    (400000.5, 400002.5, None,
     ["111:06:40.5", "111:06:41.0", "111:06:41.5", "111:06:42.0", "111:06:42.5"],
     "time (h:mm:ss)"),
    (36000, 36540, None, [f"10:0{t}:00" for t in range(10)], "time (h:mm:ss)"),
    (0, 4, EVENING, ["23:59:55.0", "23:59:55.5", "23:59:56.0", "23:59:56.5", "23:59:57.0",
                     "23:59:57.5", "23:59:58.0", "23:59:58.5"], "time (UTC-03:30), 1970-12-31"),
    (0, 9, EVENING, [*(f"23:59:{t}" for t in range(55, 60)), *(f"00:00:0{t}" for t in range(4))],
     "time (UTC-03:30), 1970-12-31"),
    (0, 300, Clock(36000, 0), [f"10:0{t}" for t in range(6)], "time (UTC), 1970-Jan-01"),
]  # fmt: skip


@pytest.mark.parametrize(("first", "last", "clock", "labels", "text"), SHOWN)
def test_ticks_are_round_and_the_label_says_their_unit(
    first: float, last: float, clock: Clock | None, labels: list[str], text: str
) -> None:
    panel = Figure().subplots()
    show_time(panel.xaxis, first, last, clock)
    assert [tick.get_text() for tick in panel.get_xticklabels()] == labels
    assert panel.get_xlabel() == text
    ticks = panel.get_xticks()
    assert first - 1e-6 <= ticks[0]
    assert ticks[-1] <= last + 1e-6


@pytest.mark.parametrize(
    ("clock", "last", "said"),
    [
        (None, 7200, "at 3.5 s"),
        (None, 7201, "at 0:00:04 (h:mm:ss)"),
        (Clock(0, 0), 9, "1970-01-01 00:00:03.5 UTC"),
        (Clock(0.5, 7200), 9, "1970-01-01 00:00:04 UTC+02:00"),
    ],
)
def test_a_moment_is_told_in_the_unit_of_its_figure(
    clock: Clock | None, last: float, said: str
) -> None:
    assert moment(3.5, clock, last) == said
