"""The figure of a class shows windows that have it, of as many recordings as there can be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from matplotlib.figure import Figure
from plotted import boxes

import pipeline as pl
from pipeline.labels.values import Labels
from pipeline.views import class_plot, plot_class, plot_window

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


def test_the_files_of_events_are_read_once_for_all_windows(
    tmp_path: Path, drawn: list[Figure], monkeypatch: pytest.MonkeyPatch
) -> None:
    soundfile.write(tmp_path / "x.wav", np.random.default_rng(0).random(6000) / 2, 1000)
    names = (
        "Selection",
        "Begin Time (s)",
        "End Time (s)",
        "Low Freq (Hz)",
        "High Freq (Hz)",
        "Species",
    )
    row = "1", "0.25", "5.5", "100", "300", "owl"
    table = tmp_path / "x.Table.1.selections.txt"
    table.write_text("\t".join(names) + "\n" + "\t".join(row) + "\n")
    pl.extract(tmp_path / "x.wav", tmp_path / "x.zarr", FEATURE, table)
    asked, find = list[int](), class_plot.find_events

    def counted(store: Any, windows: Any) -> Any:
        asked.append(len(windows))
        return find(store, windows)

    monkeypatch.setattr(class_plot, "find_events", counted)
    plot_class(tmp_path / "x.zarr", "owl", tmp_path / "x.png")
    assert asked == [6]
    first = boxes(drawn[0].axes[0])[0][0]
    assert first[0] == pytest.approx(0.25)
    assert all(len(boxes(panel)) == 1 for panel in drawn[0].axes[:6])


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


def test_curves_of_windows_have_one_scale(tmp_path: Path, drawn: list[Figure]) -> None:
    samples = np.repeat([0.1, 0.5], 8000) * np.random.default_rng(0).standard_normal(16_000) / 3
    soundfile.write(tmp_path / "x.wav", samples, 8000)
    for number, feature in enumerate((pl.Waveform(), pl.Levels(), pl.Indices())):
        out = tmp_path / f"{number}.zarr"
        pl.extract(tmp_path / "x.wav", out, feature, [1, 1])
        plot_class(out, "1", tmp_path / "x.png")
        one, other = (panel.get_ylim() for panel in drawn[number].axes[:2])
        assert one == other
