"""Samples are evenly spread, over recordings too."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.views.sample import over_recordings, spread


@pytest.mark.parametrize(
    ("n", "most", "wanted"),
    [(10, 3, [1, 5, 8]), (3, 10, [0, 1, 2]), (4, 4, [0, 1, 2, 3]), (0, 3, []), (5, 0, [])],
)
def test_a_sample_is_evenly_spread(n: int, most: int, wanted: list[int]) -> None:
    assert spread(np.arange(n), most).tolist() == wanted


@pytest.mark.parametrize(
    ("lengths", "most", "wanted"),
    [
        ([10, 1, 10], 5, [2, 7, 10, 13, 18]),  # of one window, the rest is shared by the others
        ([1, 1, 1, 1, 1], 2, [1, 3]),  # more recordings than windows that are asked for
        ([2, 1], 9, [0, 1, 2]),
        ([], 3, []),
    ],
)
def test_a_sample_is_of_as_many_recordings_as_there_can_be(
    lengths: list[int], most: int, wanted: list[int]
) -> None:
    recording = np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)
    assert over_recordings(np.arange(len(recording)), recording, most).tolist() == wanted
