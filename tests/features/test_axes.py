"""Axes of any number, name, length and order go all the way, from the plan to the picture."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
import xarray
from conftest import SUFFIXES, Cli, Write

import pipeline as pl

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Cut:
    """The first samples of each window, in some shape."""

    axes: tuple[pl.Axis, ...]
    units: str = "1"
    long_name: str = "the first samples"
    version: int = 1

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(len(axis.values) for axis in self.axes)

    def __call__(self, windows: Array, /) -> Array:
        n = int(np.prod(self.shape, dtype=int))
        return np.ascontiguousarray(windows[:, :n]).reshape(len(windows), *self.shape)


FEATURES = {
    "one value": Cut((), "V"),
    "one place": Cut((pl.Axis("c", [7.0]),)),
    "no order": Cut((pl.Axis("NAME", [3, 1, 2, 9, 9], "Pa$^2$", "a $name$ of \\some{ kind"),)),
    "named as what programs ask for": Cut(
        (pl.Axis("dims", [2, 1], "K"), pl.Axis("phony_dim_0", [0, 1, 2]))
    ),
    "time first": Cut((pl.Axis("t", [0.25, 0.75], "s"), pl.Axis("zarr", [1, 2, 4, 8], "Hz"))),
    "one frame": Cut((pl.Axis("frequency", np.arange(9.0), "Hz"), pl.Axis("time", [0.5], "s"))),
    "one frequency": Cut((pl.Axis("frequency", [9.0], "Hz"), pl.Axis("time", [0, 0.5], "s"))),
    "very long": Cut((pl.Axis("L" + "o" * 98 + "ng", np.arange(7000.0), "Ω"),)),
}


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("which", FEATURES)
def test_axes_go_all_the_way(
    cli: Cli, write_wav: Write, tmp_path: Path, suffix: str, which: str
) -> None:
    feature, source, out = FEATURES[which], write_wav(seconds=5.5), tmp_path / f"x{suffix}"
    samples = np.zeros(6 * 8000, np.float32)
    samples[: 5 * 8000 + 4000] = soundfile.read(source, dtype="float32")[0]
    expected, names = feature(samples.reshape(6, 8000)), [axis.name for axis in feature.axes]
    assert pl.extract(source, out, feature).ok
    np.testing.assert_array_equal(pl.Batches(out, batch_size=6)[0][0], expected)
    np.testing.assert_array_equal([x for x, _ in pl.Batches(out, batch_size=None)], expected)
    (X, _), *_ = pl.stream(source, feature, batch_size=6)
    np.testing.assert_array_equal(X, expected)
    with xarray.open_zarr(out) if suffix == ".zarr" else xarray.open_dataset(out) as store:
        assert store.features.dims == ("window", *names)
        np.testing.assert_array_equal(store.features, expected)
        assert store.features.attrs["units"] == feature.units
        for axis in feature.axes:
            np.testing.assert_array_equal(store[axis.name], axis.values)
            assert store[axis.name].attrs["units"] == axis.units
            assert store[axis.name].attrs["long_name"] == axis.long_name
    told = json.loads(cli("info", out, "--json").out)
    assert (told["shape"], told["dimensions"]) == ([6, *feature.shape], ["window", *names])
    assert cli("info", out).code == 0
    assert cli("verify", out).code == 0
    assert cli("statistics", out).code == 0
    np.testing.assert_array_equal(pl.Batches(out, batch_size=6)[0][0], expected)
    assert cli("report", out, "--html", "x.html").code == 0
    if suffix == ".zarr":
        assert cli("plot", out, "--window", 2, "--png", "x.png") == (0, "", "")
        assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")


def test_a_plan_knows_the_shape(write_wav: Write, tmp_path: Path) -> None:
    from pipeline.job.plan import Plan
    from pipeline.job.projection import count_files, describe_plan

    for number, feature in enumerate(FEATURES.values()):
        out = tmp_path / f"{number}.zarr"
        plan = Plan.make(write_wav(), out, feature)
        assert describe_plan(plan, 1)["shape"] == [3, *feature.shape]
        pl.extract(write_wav(), out, feature)
        assert count_files(plan) == sum(path.is_file() for path in out.rglob("*"))
