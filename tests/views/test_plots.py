"""Plots show what the store holds, whatever its names are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from matplotlib.figure import Figure

import pipeline as pl
from pipeline.views.class_rows import ClassRows
from pipeline.views.plots import plot_window

FEATURE = pl.Spectrogram(n_fft=32, frame_length=20)


def write(path: Path, seconds: int) -> None:
    soundfile.write(path, np.random.default_rng(0).random(seconds * 1000) / 2, 1000)


@pytest.mark.parametrize("ending", ["zarr", "h5"])
def test_labels_of_several_classes_have_a_row_for_each(
    tmp_path: Path, ending: str, drawn: list[Figure]
) -> None:
    from pipeline.labels.values import Labels

    write(tmp_path / "x.wav", 12)
    y = np.random.default_rng(1).integers(0, 2, (12, 3))
    y[4] = 0
    names = ("$owl", "fox_{$", "鳥")
    for number, labels in enumerate([Labels(y, names), y]):
        out = tmp_path / f"{number}.{ending}"
        assert pl.extract(tmp_path / "x.wav", out, FEATURE, labels).ok
        plot_window(out, 4, tmp_path / "x.png")
        panel = drawn[-1].axes[0]
        assert panel.get_ylabel() == "label"
        ticks = [text.get_text() for text in panel.get_yticklabels()]
        assert ticks == list(names if number == 0 else ("0", "1", "2"))
        mesh = panel.collections[0].get_array()
        assert mesh is not None
        assert np.array_equal(np.reshape(mesh, (3, 9)), y[:9].T)


def test_one_label_a_window_is_a_line(tmp_path: Path, drawn: list[Figure]) -> None:
    write(tmp_path / "x.wav", 3)
    pl.extract(tmp_path / "x.wav", tmp_path / "x.zarr", FEATURE, [0, 1, 0])
    plot_window(tmp_path / "x.zarr", 1, tmp_path / "x.png")
    (line,) = (line for line in drawn[0].axes[0].lines if line.get_drawstyle() == "steps-post")
    assert np.asarray(line.get_ydata()).tolist() == [0, 1, 0, 0]


class Shown:
    """Counts along some axes."""

    version, units, long_name = 1, "V$^2$", "count"

    def __init__(self, *axes: pl.Axis) -> None:
        self.axes, self.shape = axes, tuple(len(axis.values) for axis in axes)

    def __call__(self, windows: Any, /) -> Any:
        return np.arange(float(np.prod(self.shape))).reshape(self.shape) * np.ones(
            (len(windows), *(1 for _ in self.shape))
        )


BANDS = pl.Axis("band", 10 * 2.0 ** np.arange(6), "Hz")
PICTURES = [
    # Axes, the edges of cells within a window, those of rows, and what is said of these.
    ((BANDS,), [0, 1], None, "band (Hz)"),
    ((pl.Axis("k", [4.0, 2, 0]),), [0, 1], [5, 3, 1, -1], "k"),
    ((pl.Axis("k", [4.0, 2, 3]),), [0, 1], [-0.5, 0.5, 1.5, 2.5], "k"),
    ((BANDS, pl.Axis("time", [0.25, 0.75], "s")), [0, 0.5, 1], None, "band (Hz)"),
    ((pl.Axis("t", [0.25, 0.75], "s"), BANDS), [0, 0.5, 1], None, "band (Hz)"),
    ((BANDS, pl.Axis("part", [7, 8, 9, 10])), [0, 0.25, 0.5, 0.75, 1], None, "band (Hz)"),
]


@pytest.mark.parametrize(("axes", "across", "rows", "said"), PICTURES)
def test_what_is_not_along_time_alone_is_a_picture(
    tmp_path: Path,
    drawn: list[Figure],
    axes: tuple[pl.Axis, ...],
    across: list[float],
    rows: list[float] | None,
    said: str,
) -> None:
    write(tmp_path / "x.wav", 3)
    feature = Shown(*axes)
    assert pl.extract(tmp_path / "x.wav", tmp_path / "x.zarr", feature).ok
    plot_window(tmp_path / "x.zarr", 1, tmp_path / "x.png")
    *_, panel, bar = drawn[0].axes
    assert len(panel.collections) == 3
    for t, mesh in enumerate(panel.collections):
        corners = mesh.get_coordinates()  # type: ignore[attr-defined]
        np.testing.assert_allclose(corners[0, :, 0], t + np.array(across))
        if rows is not None:
            np.testing.assert_allclose(corners[:, 0, 1], rows)
        values = pl.Batches(tmp_path / "x.zarr")[0][0][t]
        values = values.T if axes[0].units == "s" else values
        cells = mesh.get_array()
        assert cells is not None
        own = axes[0].units == "1"  # of rows that are not alike, each has a range of its own
        np.testing.assert_array_equal(
            np.ravel(cells), 0 * np.ravel(values) if own else np.ravel(values)
        )
    assert panel.get_ylabel() == said
    assert panel.get_yscale() == ("log" if said == "band (Hz)" else "linear")
    assert bar.get_ylabel() == "count (V$^2$)" + ", each k in its own range" * own
    part = ", and part within each window" if axes[-1].name == "part" else ""
    assert panel.get_xlabel() == f"time (s){part}"
    if rows == [-0.5, 0.5, 1.5, 2.5]:
        assert [text.get_text() for text in panel.get_yticklabels()] == ["4", "2", "3"]


@pytest.mark.parametrize("name", ["m$\\foo{$.wav", "a$_b$.wav", "鳥の声.wav"])
def test_a_name_is_drawn_as_it_is(tmp_path: Path, name: str, drawn: list[Figure]) -> None:
    write(tmp_path / name, 3)
    pl.extract(tmp_path / name, tmp_path / "x.zarr", FEATURE)
    plot_window(tmp_path / "x.zarr", 1, tmp_path / "x.png")
    assert drawn[0].get_suptitle() == f"{name}, window 1"
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("ending", ["zarr", "h5"])
@pytest.mark.parametrize(
    ("harm", "said"), [("cut", "is damaged: .*; verify --repair"), ("remove", "is missing; ")]
)
def test_damaged_features_are_not_drawn(
    tmp_path: Path, ending: str, harm: str, said: str, drawn: list[Figure]
) -> None:
    write(tmp_path / "x.wav", 4)
    out = tmp_path / f"x.{ending}"
    assert pl.extract(tmp_path / "x.wav", out, FEATURE).ok
    file = next(tmp_path.glob({"zarr": "x.zarr/features/c*", "h5": "x.h5.parts/*.h5"}[ending]))
    if harm == "cut":
        file.write_bytes(file.read_bytes()[:-9])
    else:
        file.unlink()
    with pytest.raises(OSError, match=rf"windows? 0.*{said}"):
        plot_window(out, 2, tmp_path / "x.png")
    assert not drawn
    assert not (tmp_path / "x.png").exists()


def test_a_row_of_several_classes_is_hatched_where_one_is_unknown_and_none_is_there() -> None:
    labels = np.ones((2, 26), np.uint8)
    labels[0, 25], labels[1, 24:] = 0, 0
    annotated = labels > 0
    panel = Figure().subplots()
    ClassRows.of(labels, annotated, None, np.zeros(0, int)).draw(panel, [0, 1, 2], np.zeros(0))
    hatched = [path.get_extents().bounds for c in panel.collections if c.get_hatch()
               for path in c.get_paths()]  # fmt: skip
    assert hatched == [(1, 24, 1, 1)]
