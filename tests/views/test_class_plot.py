"""The figure of a class shows windows that have it, of as many recordings as there can be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from plotted import boxes

import pipeline as pl
from pipeline.job import stored_events
from pipeline.labels.values import Labels
from pipeline.views import plot_class, plot_window

FEATURE = pl.Spectrogram(n_fft=32, frame_length=20)


@pytest.mark.parametrize("ending", ["zarr", "h5"])
def test_windows_of_a_class_are_spread_over_recordings(
    tmp_path: Path, ending: str, drawn: list[Figure]
) -> None:
    for name, n in (("a.wav", 20), ("b.wav", 3)):
        soundfile.write(tmp_path / name, np.random.default_rng(0).random(n * 1000) / 2, 1000)
    y, out = np.zeros((23, 2), np.int64), tmp_path / f"x.{ending}"
    y[[*range(0, 20, 2), 20, 22], 1] = 1
    y[[1, 3], 0] = 1
    sources = [tmp_path / "a.wav", tmp_path / "b.wav"]
    pl.extract(sources, out, FEATURE, Labels(y, ("cat", "owl")))
    plot_class(out, "cat", tmp_path / "x.png")
    assert [panel.get_title() for panel in drawn[0].axes[:2]] == ["a.wav\nat 1 s", "a.wav\nat 3 s"]
    plot_class(out, "owl", tmp_path / "x.png")
    titles = [panel.get_title() for panel in drawn[1].axes[:12]]
    assert titles == [f"a.wav\nat {t} s" for t in range(0, 20, 2)] + [
        "b.wav\nat 0 s", "b.wav\nat 2 s"
    ]  # fmt: skip
    with pytest.raises(ValueError, match="has the classes cat, owl"):
        plot_class(out, "fox", tmp_path / "x.png")


def labelled(folder: Path, n_classes: int, feature: pl.Feature = FEATURE) -> Path:
    """A store of 60 windows, each with an event of some class, and of "all", with frequencies."""
    soundfile.write(folder / "x.wav", np.random.default_rng(0).random(60000) / 2, 1000)
    rows = ["0\t60\tall\n\\\t100\t200"]
    rows += [f"{t}.25\t{t}.75\tc{t % n_classes:02}\n\\\t200\t300" for t in range(60)]
    (folder / "x.txt").write_text("\n".join(rows))
    assert pl.extract(folder / "x.wav", folder / "x.zarr", feature, folder / "x.txt").ok
    return folder / "x.zarr"


def test_events_are_boxes_from_the_start_of_each_window_in_colours_of_their_own(
    tmp_path: Path, drawn: list[Figure]
) -> None:
    plot_class(labelled(tmp_path, 30), "all", tmp_path / "x.png")
    panels = drawn[0].axes[:12]
    assert [panel.get_title() for panel in panels][:2] == ["x.wav\nat 2 s", "x.wav\nat 7 s"]
    found = [boxes(panel) for panel in panels]
    assert [box for box, _, _ in found[1]] == [[-7, 53, 100, 200], [0.25, 0.75, 200, 300]]
    of_all, others = zip(*([colour for *_, colour in some] for some in found), strict=True)
    assert len({*of_all}) == 1
    assert len({*others[:5]}) == 5
    assert [text.get_text() for text in panels[1].texts] == ["all", "c07"]
    assert panels[1].get_xlim() == (0, 1)


def test_label_files_are_read_once_and_panels_are_placed_once(
    tmp_path: Path, drawn: list[Figure], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, counts = labelled(tmp_path, 2), {"read": 0, "place": 0}

    def counted(what: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def counting(*args: Any, **kwargs: Any) -> Any:
            counts[what] += 1
            return function(*args, **kwargs)

        return counting

    read, place = stored_events.read_heard, ConstrainedLayoutEngine.execute
    monkeypatch.setattr(stored_events, "read_heard", counted("read", read))
    monkeypatch.setattr(ConstrainedLayoutEngine, "execute", counted("place", place))
    plot_class(out, "all", tmp_path / "x.png")
    assert counts == {"read": 1, "place": 1}


def test_curves_of_all_windows_have_one_scale(tmp_path: Path, drawn: list[Figure]) -> None:
    loud = np.repeat([0.01, 0.5, 0.1], 1000) * np.sin(np.arange(3000))
    soundfile.write(tmp_path / "x.wav", loud, 1000)
    for name, feature in (("wave", pl.Waveform()), ("level", pl.Levels())):
        pl.extract(tmp_path / "x.wav", tmp_path / f"{name}.zarr", feature, [1, 1, 1])
        plot_class(tmp_path / f"{name}.zarr", "1", tmp_path / "x.png")
    for figure in drawn:
        assert len({panel.get_ylim() for panel in figure.axes}) == 1
    wave, level = drawn
    assert wave.axes[0].get_ylim()[1] > 0.5 > 0.02 > np.abs(wave.axes[0].lines[0].get_ydata()).max()
    assert wave.get_supxlabel() == "time (s) in the window"
    assert " ".join(wave.get_supylabel().split()) == "amplitude, of which full scale is 1"
    # What has no time is drawn along the axis that it has.
    assert level.get_supxlabel() == "frequency (Hz)"
    assert level.axes[0].get_xlim() == (-0.5, 500.5)


class Numbers:
    """The loudest sample, and a thousand times that, in an order that is none."""

    version, units, long_name, shape = 1, "1", "numbers", (2,)
    axes = (pl.Axis("index", [1.0, 0.0]),)

    def __call__(self, windows: Any, /) -> Any:
        return np.abs(windows).max(axis=1)[:, np.newaxis] * [1, 1000]


def test_numbers_of_different_kinds_are_bars_each_in_its_own_range(
    tmp_path: Path, drawn: list[Figure]
) -> None:
    soundfile.write(tmp_path / "x.wav", np.repeat([0.125, 0.5, 0.25], 1000), 1000, "FLOAT")
    pl.extract(tmp_path / "x.wav", tmp_path / "x.zarr", Numbers(), [1, 1, 1])
    plot_class(tmp_path / "x.zarr", "1", tmp_path / "x.png")
    heights = [panel.patches[0].get_data().values for panel in drawn[0].axes]  # type: ignore[attr-defined]
    np.testing.assert_allclose(heights, [[0, 0], [1, 1], [1 / 3, 1 / 3]], atol=0.03)
    panel = drawn[0].axes[0]
    assert [text.get_text() for text in panel.get_yticklabels()] == ["lowest", "highest"]
    # In as many lines as there is room for.
    assert drawn[0].get_supylabel() == "numbers, each index in its own\nrange"


def test_when_windows_are_is_told_from_the_start_where_a_clock_is_not_known(
    tmp_path: Path, drawn: list[Figure]
) -> None:
    sources = [tmp_path / "20210610_233000.wav", tmp_path / "x.wav"]
    for source in sources:
        soundfile.write(source, np.random.default_rng(0).random(1000) / 2, 1000)
    dated = {"datetime": "%Y%m%d_%H%M%S", "timezone": "UTC"}
    pl.extract(sources, tmp_path / "x.zarr", FEATURE, [1, 1], **dated)
    plot_class(tmp_path / "x.zarr", "1", tmp_path / "x.png")
    titles = [panel.get_title() for panel in drawn[0].axes[:2]]
    assert titles == ["20210610_233000.wav\nat 0 s", "x.wav\nat 0 s"]


def test_panels_above_none_have_the_ticks_of_time(tmp_path: Path, drawn: list[Figure]) -> None:
    soundfile.write(tmp_path / "x.wav", np.random.default_rng(0).random(5000) / 2, 1000)
    pl.extract(tmp_path / "x.wav", tmp_path / "x.zarr", FEATURE, [1] * 5)
    plot_class(tmp_path / "x.zarr", "1", tmp_path / "x.png")
    ticked = [any(tick.get_visible() and tick.get_text() for tick in panel.get_xticklabels())
              for panel in drawn[0].axes[:5]]  # fmt: skip
    assert ticked == [False, True, True, True, True]


def test_one_label_a_window_is_a_class_by_its_value(tmp_path: Path, drawn: list[Figure]) -> None:
    soundfile.write(tmp_path / "x.wav", np.random.default_rng(0).random(3000) / 2, 1000)
    pl.extract(tmp_path / "x.wav", tmp_path / "x.zarr", FEATURE, [0, 1, 0])
    plot_class(tmp_path / "x.zarr", "1", svg=tmp_path / "x.svg")
    assert drawn[0].axes[0].get_title() == "x.wav\nat 1 s"


def test_a_store_without_labels_has_no_classes(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.wav", np.zeros(1000), 1000)
    pl.extract(tmp_path / "x.wav", tmp_path / "x.zarr", FEATURE)
    with pytest.raises(ValueError, match="has no labels"):
        plot_class(tmp_path / "x.zarr", "1", tmp_path / "x.png")


def test_one_name_a_window_is_a_class_by_its_name(tmp_path: Path, drawn: list[Figure]) -> None:
    for name in ("a.wav", "b.wav"):
        soundfile.write(tmp_path / name, np.random.default_rng(0).random(2000) / 2, 1000)
    (tmp_path / "labels.csv").write_text("path,label\na.wav,cat\nb.wav,owl\n")
    sources, out = [tmp_path / "a.wav", tmp_path / "b.wav"], tmp_path / "x.zarr"
    pl.extract(sources, out, FEATURE, tmp_path / "labels.csv")
    plot_class(out, "owl", tmp_path / "x.png")
    assert [panel.get_title() for panel in drawn[0].axes[:2]] == ["b.wav\nat 0 s", "b.wav\nat 1 s"]
    with pytest.raises(ValueError, match="has the classes cat, owl"):
        plot_class(out, "1", tmp_path / "x.png")


@pytest.mark.parametrize("name", ["x_20260302_040506.wav", "x.wav"])
def test_axes_are_in_kilohertz_and_by_the_clock_where_it_is_known(
    tmp_path: Path, drawn: list[Figure], name: str
) -> None:
    soundfile.write(tmp_path / name, np.random.default_rng(0).random(24_000) / 2, 8000)
    out, times = tmp_path / "x.zarr", {"datetime": "%Y%m%d_%H%M%S", "timezone": "+02:00"}
    dated = times if "2026" in name else {}
    pl.extract(tmp_path / name, out, pl.Spectrogram(), [0, 1, 0], **dated)
    plot_window(out, 1, tmp_path / "x.png")
    panel = next(panel for panel in drawn[0].axes if "frequency" in panel.get_ylabel())
    assert panel.get_ylabel() == "frequency (kHz)"
    wanted = "time (UTC+02:00), 2026-03-02" if dated else "time (s)"
    assert panel.get_xlabel() == wanted
    plot_class(out, "1", tmp_path / "x.png")
    when = "2026-03-02 04:05:07 UTC+02:00" if dated else "at 1 s"
    assert drawn[1].axes[0].get_title() == f"{name}\n{when}"
    assert drawn[1].get_supylabel() == "frequency (kHz)"
    assert drawn[1].get_supxlabel() == "time (s) in the window"
