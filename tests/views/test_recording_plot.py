"""The figure of a recording shows averages of its valid windows where they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import soundfile
from matplotlib.figure import Figure

import pipeline as pl
from pipeline.views import plot_recording
from pipeline.views import recording_plot as module


class Means:
    """The mean of each window, in rows or alone."""

    version, units, long_name = 1, "1", "mean"

    def __init__(self, *axes: pl.Axis) -> None:
        self.axes, self.shape = axes, tuple(len(axis.values) for axis in axes)

    def __call__(self, windows: Any, /) -> Any:
        means = windows.mean(axis=1).reshape(-1, *(1 for _ in self.shape))
        return means * np.ones((1, *self.shape))


ROWS = (pl.Axis("frequency", [100.0, 2000, 4000], "Hz"), pl.Axis("time", [0.25, 0.75], "s"))


def write(path: Path, n_windows: int) -> Any:
    """A recording in which each window is its number, in hundredths."""
    path.parent.mkdir(exist_ok=True)
    levels = np.arange(n_windows) / 100
    soundfile.write(path, np.repeat(levels, 1000), 1000, subtype="FLOAT")
    return levels


@pytest.mark.parametrize("ending", ["zarr", "h5"])
def test_each_window_of_a_short_recording_is_a_column(
    tmp_path: Path, ending: str, drawn: list[Figure]
) -> None:
    levels, out = write(tmp_path / "x.wav", 30), tmp_path / f"x.{ending}"
    pl.extract(tmp_path / "x.wav", out, Means(*ROWS))
    plot_recording(out, "x.wav", tmp_path / "x.png")
    panel = drawn[0].axes[0]
    mesh = np.reshape(np.ma.getdata(panel.collections[0].get_array()), (3, 30))
    np.testing.assert_allclose(mesh, np.tile(levels, (3, 1)), atol=1e-6)
    assert (panel.get_xlabel(), panel.get_ylabel()) == ("time (s)", "frequency (kHz)")
    assert panel.get_title() == "averages of all valid windows, in 30 columns"


def test_a_long_recording_is_sampled_evenly_and_says_so(
    tmp_path: Path, drawn: list[Figure], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "COLUMNS", 10)
    monkeypatch.setattr(module, "READ", 40)
    levels, out = write(tmp_path / "x.wav", 95), tmp_path / "x.zarr"
    pl.extract(tmp_path / "x.wav", out, Means(*ROWS))
    plot_recording(out, 0, tmp_path / "x.png")
    panel = drawn[0].axes[0]
    mesh = np.reshape(np.ma.getdata(panel.collections[0].get_array()), (3, 10))
    wanted = [levels[i * 95 // 10 : (i + 1) * 95 // 10].mean() for i in range(10)]
    np.testing.assert_allclose(mesh[0], wanted, atol=0.011)
    assert "a sample of 40 of 95 valid windows, in 10 columns" in panel.get_title()


def test_features_without_rows_are_a_curve_and_masked_windows_are_left_out(
    tmp_path: Path, drawn: list[Figure]
) -> None:
    levels, out = write(tmp_path / "x.wav", 6), tmp_path / "x.zarr"
    pl.extract(tmp_path / "x.wav", out, Means())
    import zarr

    zarr.open_group(out, mode="r+")["valid"][2] = False
    plot_recording(out, 0, tmp_path / "x.png")
    panel = drawn[0].axes[0]
    steps = np.asarray(panel.patches[0].get_data().values)
    np.testing.assert_allclose(np.delete(steps, 2), np.delete(levels, 2), atol=1e-6)
    assert np.isnan(steps[2])
    assert panel.get_title().endswith("grey: no valid window")


def test_time_is_that_of_the_place_where_it_is_known(tmp_path: Path, drawn: list[Figure]) -> None:
    write(tmp_path / "20210610_233000.wav", 3)
    pl.extract(
        tmp_path / "20210610_233000.wav", tmp_path / "x.zarr", Means(*ROWS),
        datetime="%Y%m%d_%H%M%S", timezone="-03:30",
    )  # fmt: skip
    plot_recording(tmp_path / "x.zarr", 0, svg=tmp_path / "x.svg")
    panel = drawn[0].axes[0]
    assert [text.get_text() for text in panel.get_xticklabels()[::2]] == [
        "23:30:00.0", "23:30:01.0", "23:30:02.0", "23:30:03.0"
    ]  # fmt: skip
    assert panel.get_xlabel() == "time (UTC-03:30), 2021-06-10"
    assert ElementTree.parse(tmp_path / "x.svg").getroot().tag.endswith("svg")


def test_a_file_name_of_several_recordings_is_refused_but_their_sources_are_not(
    tmp_path: Path, drawn: list[Figure]
) -> None:
    sources = [tmp_path / name / "x.wav" for name in "ab"]
    for source in sources:
        write(source, 2)
    pl.extract(sources, tmp_path / "x.zarr", Means())
    with pytest.raises(ValueError, match="file name of several; pass a number of these: 0, 1"):
        plot_recording(tmp_path / "x.zarr", "x.wav", tmp_path / "x.png")
    for wrong in ("y.wav", 2, "2", -1):
        with pytest.raises(ValueError, match="has recordings 0 to 1, or their names"):
            plot_recording(tmp_path / "x.zarr", wrong, tmp_path / "x.png")
    plot_recording(tmp_path / "x.zarr", str(sources[1]), tmp_path / "x.png")
    assert len(drawn) == 1
