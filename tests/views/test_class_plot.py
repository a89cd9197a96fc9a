"""The figure of a class shows windows that have it, of as many recordings as there can be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from matplotlib.figure import Figure

import pipeline as pl
from pipeline.labels.values import Labels
from pipeline.views import plot_class

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
