"""Thumbnails show the values of a window where they are, in a few bytes."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image

import pipeline as pl
from pipeline.store import open_finished
from pipeline.views.thumbnails import thumbnail


class Values:
    """Zeros along some axes."""

    version, units, long_name = 1, "1", "value"

    def __init__(self, *axes: pl.Axis) -> None:
        self.axes, self.shape = axes, tuple(len(axis.values) for axis in axes)

    def __call__(self, windows: Any, /) -> Any:
        return np.zeros((len(windows), *self.shape))


TIME = pl.Axis("time", np.arange(4) + 0.5, "s")
UP = pl.Axis("frequency", [10.0, 20, 30], "Hz")
DOWN = pl.Axis("frequency", [30.0, 20, 10], "Hz")
NAMES = pl.Axis("index", [0.0, 2, 1])


def picture(tmp_path: Path, X: Any, *axes: pl.Axis) -> Any:
    """The thumbnail of X, as red, green and blue."""
    out = tmp_path / "x.zarr"
    soundfile.write(tmp_path / "x.wav", np.zeros(4000), 1000)
    pl.extract(tmp_path / "x.wav", out, Values(*axes), window=4)
    png = thumbnail(open_finished(out), np.asarray(X, np.float32))
    image = Image.open(io.BytesIO(png))
    assert (image.mode, image.size, image.format) == ("P", (320, 180), "PNG")
    return np.asarray(image.convert("RGB")).astype(int)


@pytest.mark.parametrize("axes", [(UP, TIME), (TIME, UP), (DOWN, TIME)])
def test_frequency_goes_upwards_and_time_to_the_right(
    tmp_path: Path, axes: tuple[pl.Axis, ...]
) -> None:
    X = np.zeros((3, 4))
    X[2, 0] = 1  # the highest frequency, first
    stored = X.T if axes[0] is TIME else X[::-1] if axes[0] is DOWN else X
    pixels = picture(tmp_path, stored, *axes)
    bright = pixels[..., 1] > 200
    assert bright[:60, :80].all()
    assert bright.sum() == 60 * 80


def test_what_is_no_number_is_grey_and_the_rest_keeps_its_contrast(tmp_path: Path) -> None:
    pixels = picture(tmp_path, [[0, 1, 0, 1], [np.nan] * 4, [0, 1, 0, 1]], UP, TIME)
    assert (pixels[60:120] == 204).all()
    assert (pixels[:60] == pixels[120:]).all()
    assert len(np.unique(pixels[:60])) > 3


def test_a_window_without_any_number_is_grey(tmp_path: Path) -> None:
    assert (picture(tmp_path, np.full((3, 4), np.nan), UP, TIME) == 204).all()


def test_values_along_one_axis_are_a_curve_from_its_lowest_to_its_highest(tmp_path: Path) -> None:
    ink = picture(tmp_path, [0, 1, 2, 3], TIME)[..., 0] < 200
    assert ink.any(axis=0).all()
    assert ink[-4:, 0].any()
    assert not ink[:90, 0].any()
    assert ink[:4, -1].any()
    assert not ink[90:, -1].any()


def test_values_in_no_order_are_bars_from_zero(tmp_path: Path) -> None:
    ink = picture(tmp_path, [2, -1, 1], NAMES)[..., 0] < 200
    heights = ink.sum(axis=0)
    assert heights[50] == pytest.approx(118, abs=3)
    assert heights[150] == pytest.approx(59, abs=3)
    assert not ink[:100, 150].any()
    assert heights[300] == pytest.approx(59, abs=3)
    assert not ink[125:, 300].any()


def test_a_curve_of_values_that_are_all_alike_is_a_line(tmp_path: Path) -> None:
    ink = picture(tmp_path, [5, 5, 5, 5], TIME)[..., 0] < 200
    assert ink[88:92].any(axis=0).all()


def test_cells_that_are_all_alike_have_one_shade(tmp_path: Path) -> None:
    assert len(np.unique(picture(tmp_path, np.full((3, 4), 7), UP, TIME))) == 3


def test_noise_takes_few_bytes(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.wav", np.random.default_rng(0).normal(0, 0.1, 16000), 16000)
    pl.extract(tmp_path / "x.wav", tmp_path / "x.h5", pl.MelSpectrogram(n_mels=64))
    with_mel = open_finished(tmp_path / "x.h5")
    X = np.asarray(pl.Batches(tmp_path / "x.h5", 1)[0][0], np.float32)
    assert len(thumbnail(with_mel, X)) < 20_000
