"""What is wrong with a feature of one's own is said in one sentence, before it costs anything."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
import xarray
from conftest import COMMAND, SUFFIXES, Cli, Write, stored
from matplotlib.figure import Figure

import pipeline as pl
from pipeline.job.plan import Plan
from pipeline.job.projection import count_files
from pipeline.views.plots import plot_window

Array = npt.NDArray[Any]
ALL = "shape, frequencies, times = (1,), [0.0], None\n    def __call__(self, windows): return 0\n"
MODULES = {
    "raise RuntimeError('not today')": r"RuntimeError: not today \(wrong.py, line 1\)",
    "import sys\nsys.exit(5)": r"SystemExit: 5 \(wrong.py, line 2\)",
    "x = 1\nclass :": r"SyntaxError: invalid syntax \(wrong.py, line 2\)",
    "from no_such import x": r"No module named 'no_such' \(wrong.py, line 1\)",
    "": "has no attribute 'Own'",
    "Own = lambda: 0": r"is 0, which lacks shape and frequencies and times and __call__",
    "Own = lambda: None": "is None, which lacks shape",
    "Own = lambda: int": r"is the class int; give one made of it, int\(\.\.\.\)",
    "Own = 'text'": "cannot be made of {}: TypeError: 'str' object is not callable",
    "class Own:\n    def __init__(self): raise KeyError(1)": r"KeyError: 1 \(wrong.py, line 2\)",
    "class Own:\n    def __init__(self): raise SystemExit": r"SystemExit.*give other parameters",
    **{
        f"class Own:\n    {ALL}    shape = {shape}": said
        for shape, said in {
            "(1, 1, 1)": r"shape \(1, 1, 1\); it must be at most 2 whole numbers of at least 1",
            "()": r"Own has the shape \(\), but axes of \[1\]; each must have one value",
            "(0,)": r"has the shape \(0,\); it must",
            "(-1,)": r"has the shape \(-1,\); it must",
            "(1.0,)": r"has the shape \(1.0,\); it must",
            "1": r"does not say its shape, .*: TypeError",
            "property(lambda self: 1 / 0)": "does not say its shape, .*: ZeroDivisionError",
        }.items()
    },
    f"class Own:\n    {ALL}    times = ['a']": "does not say its shape, .*: ValueError",
    f"class Own:\n    {ALL}    frequencies = [[1, 2]]": "but axes of",
    **{
        f"import pipeline as pl\nclass Own:\n    {ALL}    axes = {axes}": said
        for axes, said in {
            "(pl.Axis('valid', [1]),)": "Own has an axis of the name valid, which a store has for",
            "(pl.Axis('window', [1]),)": "Own has an axis of the name window, which a store",
            "(pl.Axis('band', [1, 2]),)": r"has the shape \(1,\), but axes of \[2\]; each must",
            "(pl.Axis('../x', [1]),)": r"the name of an axis is '../x'; it must be of letters",
            "(pl.Axis('band', ['a']),)": "ValueError: could not convert",
            "{'band': [1]}": "its axes are {'band': .*; give a pipeline.Axis for each dimension",
            "(pl.Axis('band', [1]),) * 2\n    shape = (1, 1)": "Own has two axes of the name band",
        }.items()
    },
    **{
        f"class Own:\n    {ALL}    floor = {floor}": f"Own has the floor .*{said}.*; it must be a"
        for floor, said in {
            "float('nan')": "nan",
            "float('-inf')": "-inf",
            "1e300": r"1e\+300",
            "'low'": "'low'",
            "1j": "1j",
            "None": "None",
        }.items()
    },
}


@pytest.mark.parametrize("text", MODULES)
def test_a_wrong_feature_is_refused_when_planning(
    cli: Cli, write_wav: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    write_wav("a.wav", 2)
    (tmp_path / "wrong.py").write_text(text)
    monkeypatch.delitem(sys.modules, "wrong", raising=False)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    ended = cli("plan", "a.wav", "--out", "x.zarr", "--feature", "wrong:Own")
    assert (ended.code, ended.out) == (2, "")
    assert re.search(MODULES[text], ended.err), ended.err
    assert ended.err.startswith("error: ")
    assert ended.err.count("\n") == 1


@pytest.mark.parametrize(
    ("features", "said"),
    [
        (pl.Spectrogram, r"^features is the class Spectrogram; give one made of it, Spectrogram"),
        (None, "^features is None, which lacks shape"),
        ("spectrogram", "^features is 'spectrogram', which lacks shape"),
        (lambda windows: windows, r"^features is <function .*>, which lacks shape and frequencies"),
    ],
)
def test_what_is_no_feature_is_refused_in_python(
    write_wav: Write, tmp_path: Path, features: Any, said: str
) -> None:
    for call in (pl.stream, lambda *given: pl.extract(given[0], tmp_path / "x.zarr", given[1])):
        with pytest.raises(ValueError, match=said):
            call(write_wav(), features)
    assert not (tmp_path / "x.zarr").exists()


class Given:
    """Gives what it was told to."""

    shape, frequencies, times, version = (1,), np.zeros(1), None, 1

    def __init__(self, values: Any) -> None:
        self.values = values

    def __call__(self, windows: Array, /) -> Array:
        return np.full((len(windows), 1), self.values)


@pytest.mark.parametrize("value", [1j, "a", None, np.datetime64("2020-01-01")])
def test_only_real_numbers_are_stored(write_wav: Write, tmp_path: Path, value: Any) -> None:
    report = pl.extract(write_wav(), tmp_path / "x.zarr", Given(value))
    ((_, reason),) = report.failed
    assert re.search(r"gave values of dtype \S+ in windows 0 to \d; stored features must", reason)


@pytest.mark.parametrize("value", [True, np.int64(3), np.uint8(3), np.float16(0.5), 2.5])
def test_real_numbers_of_any_dtype_are_stored(write_wav: Write, tmp_path: Path, value: Any) -> None:
    assert pl.extract(write_wav(), tmp_path / "x.zarr", Given(value)).ok
    assert (pl.Batches(tmp_path / "x.zarr")[0][0] == np.float32(value)).all()


@pytest.mark.parametrize(("value", "dtype"), [(65520, "float16"), (-7e4, "float16"), (1e300, None)])
def test_what_the_dtype_cannot_hold_is_refused(
    write_wav: Write, tmp_path: Path, value: float, dtype: Any
) -> None:
    source, dtype = write_wav(seconds=70), dtype or "float32"
    report = pl.extract(source, tmp_path / "x.zarr", Given(value), dtype=dtype)
    ((_, reason),) = report.failed
    assert f"Given gave values of up to {abs(value):g} in windows 0 to 69, and {dtype}" in reason
    assert "pass dtype float32" in reason
    with pytest.raises(ValueError, match="in windows 0 to"):
        list(pl.stream(source, Given(value), dtype=dtype))
    assert pl.extract(source, tmp_path / "y.zarr", Given(65519), dtype="float16").ok


def test_powers_are_not_for_float16(write_wav: Write, tmp_path: Path) -> None:
    power, source = pl.Spectrogram(log_offset=None), write_wav()
    with pytest.raises(ValueError, match=r"^Spectrogram gives powers, .*; pass dtype float32, or"):
        pl.extract(source, tmp_path / "x.zarr", power, dtype="float16")
    with pytest.raises(ValueError, match="Spectrogram gives powers"):
        pl.stream(source, power, dtype="float16")
    Plan.make(source, tmp_path / "x.zarr", power)
    Plan.make(source, tmp_path / "x.zarr", Given(1))


def test_numpy_s_warnings_are_not_printed(write_wav: Write, tmp_path: Path) -> None:
    class Divided(Given):
        def __call__(self, windows: Array, /) -> Array:
            return np.nan_to_num(windows[:, :1] * 0 / 0, nan=-1)

    assert pl.extract(write_wav(), tmp_path / "x.zarr", Divided(0)).ok


def test_where_a_feature_failed_is_recorded(
    cli: Cli, write_wav: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_wav("a.wav", 2)
    (tmp_path / "failing.py").write_text(
        f"class Own:\n    {ALL.replace('return 0', 'return inner()')}\ndef inner():\n    1 / 0\n"
    )
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    assert cli("extract", "a.wav", "--out", "x.zarr", "--feature", "failing:Own").code == 1
    ((failed,), shown) = (
        json.loads(cli("status", "x.zarr", "--json").out)["failed"],
        cli("status", "x.zarr").out,
    )
    assert failed["reason"] == "ZeroDivisionError: division by zero (failing.py, line 6)"
    lines = re.findall(r"line \d+, in \w+", failed["trace"])
    assert lines == ["line 3, in __call__", "line 6, in inner"]
    assert failed["trace"].endswith("ZeroDivisionError: division by zero\n")
    assert "Traceback" not in shown


def test_the_installed_command_finds_a_module_in_the_working_folder(
    write_wav: Write, tmp_path: Path
) -> None:
    write_wav("a.wav", 2)
    (tmp_path / "here.py").write_text(f"class Own:\n    {ALL}")
    command = [str(COMMAND), *["plan", "a.wav", "--out", "x.zarr", "--feature", "here:Own"]]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (0, "")


class Moments:
    """Mean, mean square and so on, with an axis of its own."""

    shape, version = (3,), 1
    axes = (pl.Axis("coefficient", [1, 2, 3], long_name="power of the sample"),)

    def __call__(self, windows: Array, /) -> Array:
        return np.stack([np.mean(windows**power, axis=1) for power in (1, 2, 3)], axis=1)


class Peak:
    """One value a window."""

    shape, axes, version = (), (), 1

    def __call__(self, windows: Array, /) -> Array:
        peak: Array = np.abs(windows).max(axis=1)
        return peak


class Bands:
    """Two axes, of which neither is of the article's."""

    shape, version = (2, 4), 1
    axes = (pl.Axis("octave", [1, 2]), pl.Axis("quarter", np.arange(4) / 4, "s"))

    def __call__(self, windows: Array, /) -> Array:
        quarters = windows.reshape(len(windows), 1, 4, -1).std(axis=3)
        return np.concatenate([quarters, 2 * quarters], axis=1)


@pytest.mark.parametrize("feature", [Moments(), Peak(), Bands()])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_feature_has_any_axes(
    cli: Cli, write_wav: Write, tmp_path: Path, suffix: str, dtype: str, feature: Any
) -> None:
    source, out = write_wav(seconds=70.5), tmp_path / f"x{suffix}"
    samples = soundfile.read(source, dtype="float32")[0]
    windows = np.pad(samples, (0, 71 * 8000 - len(samples))).reshape(71, 8000)
    expected = feature(windows).astype(dtype)
    assert pl.extract(source, out, feature, dtype=dtype).ok
    np.testing.assert_array_equal(pl.Batches(out, batch_size=71)[0][0], expected)
    (X, _), *_ = pl.stream(source, feature, batch_size=71, dtype=dtype)
    np.testing.assert_array_equal(X, expected)
    names = [axis.name for axis in feature.axes]
    with xarray.open_zarr(out) if suffix == ".zarr" else xarray.open_dataset(out) as store:
        assert store.features.dims == ("window", *names)
        np.testing.assert_array_equal(store.features, expected)
        for axis in feature.axes:
            np.testing.assert_array_equal(store[axis.name], axis.values)
            attrs = {"units": axis.units, "long_name": axis.long_name}
            assert attrs.items() <= store[axis.name].attrs.items()
    told = json.loads(cli("info", out, "--json").out)
    assert (told["shape"], told["dimensions"]) == ([71, *feature.shape], ["window", *names])
    assert told["coordinates"].keys() == set(names)
    planned = json.loads(cli("plan", source, "--out", f"y{suffix}", "--json").out)
    assert planned["windows"] == 71
    assert cli("plot", out, "--window", 2, "--png", "x.png").code == 0
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_axes_of_ones_own_are_verified_and_made_anew(
    cli: Cli, write_wav: Write, tmp_path: Path, suffix: str
) -> None:
    source, out = write_wav(), tmp_path / f"x{suffix}"
    plan = Plan.make(source, out, Moments())
    assert pl.extract(source, out, Moments()).ok
    whole = stored(out)
    found = [path for path in tmp_path.rglob("*") if path.is_file() and out.name in str(path)]
    assert count_files(plan) == len(found)
    harmed = out / "coefficient" / "c.0" if suffix == ".zarr" else out
    harmed.write_bytes(harmed.read_bytes()[:-1])
    assert cli("verify", out).code == 1
    assert cli("verify", out, "--repair").code == 1
    assert pl.extract(source, out, Moments()).ok
    assert stored(out) == whole
    assert cli("verify", out).code == 0


class Quarters(Moments):
    """Values along time, without another axis."""

    shape = (4,)
    axes = (pl.Axis("quarter", np.arange(4) / 4 + 0.125, "s"),)

    def __call__(self, windows: Array, /) -> Array:
        return Bands()(windows)[:, 0]


def test_curves_are_drawn_of_what_is_no_picture(
    write_wav: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures: list[Any] = []
    monkeypatch.setattr(Figure, "savefig", lambda self, *_, **__: figures.append(self))
    for feature, n in ((Quarters(), 4), (Peak(), 1)):
        out = tmp_path / f"{n}.zarr"
        pl.extract(write_wav(), out, feature)
        plot_window(out, 1, tmp_path / "x.png")
        lines = [line for line in figures[-1].axes[-1].lines if line.get_marker() == "."]
        X = pl.Batches(out)[0][0].reshape(-1, n)
        assert [list(line.get_ydata()) for line in lines] == X.tolist()
        for t, line in enumerate(lines):
            np.testing.assert_allclose(line.get_xdata(), t + (np.arange(n) + 0.5) / n)
