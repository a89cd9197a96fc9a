"""Axes and shades of features show what can be told apart, in units that are said."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

import pipeline as pl
from pipeline.views.scales import edges_of, in_own_ranges, outline, shades, show_axis


def shown(way: str, values: Any, units: str = "Hz") -> tuple[list[str], str, str]:
    """Tick labels within the values, label and scale of an axis."""
    panel, edges = Figure().subplots(), edges_of(np.asarray(values, float))
    getattr(panel, f"set_{way}lim")(edges.min(), edges.max())
    show_axis(panel, way, pl.Axis("frequency", values, units))
    axis = getattr(panel, f"{way}axis")
    places = zip(axis.get_ticklocs(), axis.get_ticklabels(), strict=True)
    texts = [text.get_text() for place, text in places if edges.min() <= place <= edges.max()]
    return texts, axis.get_label_text(), axis.get_scale()


@pytest.mark.parametrize("way", ["x", "y"])
def test_frequencies_are_in_hertz_or_beyond_2_khz_in_kilohertz(way: str) -> None:
    _, *hertz = shown(way, np.arange(0, 2001, 50))
    texts, *kilo = shown(way, np.arange(0, 8001, 50))
    assert hertz == ["frequency (Hz)", "linear"]
    assert kilo == ["frequency (kHz)", "linear"]
    assert texts == [f"{k}" for k in range(9)]


def test_bands_are_on_a_logarithmic_scale_with_several_ticks() -> None:
    texts, label, scale = shown("y", 1000 * 10 ** np.arange(-1, 1.1, 0.1))
    assert (label, scale) == ("frequency (kHz)", "log")
    assert texts == ["0.1", "0.2", "0.5", "1", "2", "5", "10"]


def test_frequencies_in_no_order_are_named_in_their_unit_as_far_as_there_is_room() -> None:
    assert shown("y", [4000, 100, 3000])[:2] == (["4000", "100", "3000"], "frequency (Hz)")
    values = np.random.default_rng(0).permutation(1000)
    texts, _, _ = shown("y", values)
    assert texts == [f"{value}" for value in values[50::100]]


def test_numbers_of_rows_are_whole() -> None:
    texts, label, _ = shown("y", np.arange(4), "1")
    assert (texts, label) == (["0", "1", "2", "3"], "frequency")


def test_values_with_a_few_peaks_are_shaded_by_their_logarithms() -> None:
    powers = np.array([1e-5] * 98 + [0.5, np.nan, 2])
    norm = shades(powers)
    assert isinstance(norm, LogNorm)
    assert 0 < norm(1e-3) < 1
    assert norm(0) == 0  # silence is the darkest shade, and not missing
    assert shades(np.arange(101))(50) == pytest.approx(0.49, abs=0.01)
    assert not isinstance(shades(-powers), LogNorm)
    assert shades(np.full(3, np.nan))(0.5) == 0.5


def test_rows_of_different_kinds_have_each_its_range() -> None:
    values = np.array([[[0.0], [200]], [[1], [300]], [[np.nan], [np.nan]], [[2], [400]]])
    found = in_own_ranges(values)[..., 0]
    np.testing.assert_allclose(found[[0, 1, 3]], [[-0.02, -0.02], [0.49, 0.49], [1, 1]], atol=0.02)
    assert np.isnan(found[2]).all()
    assert np.array_equal(in_own_ranges(np.full((2, 1, 1), 7.0)), np.zeros((2, 1, 1)))


def test_of_a_long_curve_the_extremes_are_drawn_where_they_are() -> None:
    curve = np.zeros(1_000_000, np.float32)
    curve[[123_456, 654_321]] = 1, -2
    places, values = outline(curve)
    assert len(places) == len(values) == 8000
    assert (values.min(), values.max()) == (-2, 1)
    np.testing.assert_allclose(
        places[[values.argmax(), values.argmin()]], [123_456, 654_321], atol=250
    )
    short = curve[123_000:124_000]
    assert all(
        np.array_equal(*pair) for pair in zip(outline(short), (range(1000), short), strict=True)
    )
