"""A model gives what it gives by itself, in any block and batch, and is known by its files."""

from __future__ import annotations

import os
import pickle
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest
import soundfile
import xarray
from conftest import SUFFIXES, Cli, Write
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper
from onnx_models import convolutional, dense, logarithm, means, mixing, random, save, two_outputs

import pipeline as pl
from pipeline.features import Code, bind, compute_features, identify, other_code
from pipeline.job.plan import Plan
from pipeline.job.projection import memory_bytes
from pipeline.models import ModelFiles
from pipeline.models.session import _session

Array = npt.NDArray[Any]


def noise(n_windows: int, n_samples: int = 8000) -> npt.NDArray[np.float32]:
    return np.random.default_rng(0).standard_normal((n_windows, n_samples), np.float32)


def by_itself(model: Path, values: Array, output: str | None = None) -> Array:
    """What onnxruntime gives for each window."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    name, wanted = session.get_inputs()[0].name, [output or session.get_outputs()[0].name]
    return np.concatenate([session.run(wanted, {name: value[None]})[0] for value in values])


def bound(model: Path, window: float = 1.0, **parameters: Any) -> pl.Onnx:
    return pl.Onnx(str(model), samplerate=8000, window=window, **parameters)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    ("shape", "names"), [([], []), ([6], ["embedding"]), ([3, 2], ["frame", "embedding"])]
)
def test_what_the_model_gives_is_stored(
    write_wav: Write, tmp_path: Path, suffix: str, shape: list[int], names: list[str]
) -> None:
    source, out = write_wav(seconds=5.5), tmp_path / f"x{suffix}"
    model = dense(tmp_path / "m.onnx", shape=shape)
    samples = np.zeros(6 * 8000, np.float32)
    samples[: 5 * 8000 + 4000] = soundfile.read(source, dtype="float32")[0]
    expected = (samples.reshape(6, 8000) @ random(8000, int(np.prod(shape)))).reshape(6, *shape)
    assert pl.extract(source, out, pl.Onnx(str(model))).ok
    X, _ = pl.Batches(out, batch_size=6)[0]
    assert X.dtype == np.float32
    np.testing.assert_allclose(X, expected, rtol=1e-4, atol=1e-5)
    (streamed, _), *_ = pl.stream(source, pl.Onnx(str(model)), batch_size=6)
    np.testing.assert_array_equal(streamed, X)
    with xarray.open_zarr(out) if suffix == ".zarr" else xarray.open_dataset(out) as store:
        assert store.features.dims == ("window", *names)
        assert store.features.attrs["long_name"] == "y of m.onnx"
        for name, n in zip(names, shape, strict=True):
            np.testing.assert_array_equal(store[name], np.arange(n))


@pytest.mark.parametrize("channel", [[], [1], ["channel"]])
def test_a_model_may_be_over_another_feature(
    cli: Cli, write_wav: Write, tmp_path: Path, channel: list[Any]
) -> None:
    source, model = write_wav(seconds=4.2), tmp_path / "m.onnx"
    means(model, ["batch", *channel, "frequency", None], 1 if channel else -1)
    (tmp_path / "run.yaml").write_text(
        f"feature: {{name: onnx, model: {model}, frontend: {{name: spectrogram, n_fft: 64}}}}"
    )
    frontend = pl.Spectrogram(n_fft=64)
    assert cli("extract", source, "--out", "x.zarr", "--config", "run.yaml").code == 0
    assert pl.extract(source, tmp_path / "y.zarr", frontend).ok
    X, spectra = (pl.Batches(tmp_path / name, 5)[0][0] for name in ("x.zarr", "y.zarr"))
    np.testing.assert_allclose(X, spectra if channel else spectra.mean(axis=2), rtol=1e-5)
    text = "{name: spectrogram, n_fft: 64}"
    command = ("extract", source, "--feature", "onnx", "--model", "m.onnx", "--frontend", text)
    assert cli(*command, "--out", "z.zarr").code == 0
    np.testing.assert_array_equal(pl.Batches(tmp_path / "z.zarr", 5)[0][0], X)
    assert pl.extract(source, tmp_path / "z.zarr", pl.Onnx(str(model), frontend=frontend)).ok
    assert "frontend: name: spectrogram, parameters: n_fft: 64" in cli("info", "x.zarr").out


@pytest.mark.parametrize("name", ["MelSpectrogram", "PCEN"])
def test_a_frontend_sees_the_recording_around_a_window(
    write_wav: Write, tmp_path: Path, name: str
) -> None:
    frontend = getattr(pl, name)(n_mels=8, n_fft=256, hop_length=80)
    model = convolutional(tmp_path / "m.onnx", ["batch", 1, 8, "time"])
    source = write_wav(seconds=3.5)
    (spectra, _), *_ = pl.stream(source, frontend, batch_size=4)
    (X, _), *_ = pl.stream(source, pl.Onnx(str(model), frontend=frontend), batch_size=4)
    np.testing.assert_allclose(X, by_itself(model, spectra[:, None]), rtol=1e-4, atol=1e-5)


def test_a_model_may_be_over_a_model(tmp_path: Path) -> None:
    first = pl.Onnx(str(dense(tmp_path / "a.onnx")))
    second = bound(means(tmp_path / "b.onnx", ["batch", "embedding"]), frontend=first)
    windows = noise(3)
    expected = (windows @ random(8000, 6)).mean(axis=1)
    np.testing.assert_allclose(second(windows), expected, rtol=1e-4, atol=1e-5)
    assert second.memory_bytes(1) > bound(tmp_path / "a.onnx").memory_bytes(1)


def test_of_several_outputs_one_is_chosen(tmp_path: Path) -> None:
    model, windows = two_outputs(tmp_path / "m.onnx"), noise(3)
    with pytest.raises(ValueError, match="has the outputs highest, lowest; pass one of them"):
        bound(model)
    with pytest.raises(ValueError, match=r"'lowst' is not a known output.*mean 'lowest'\?"):
        bound(model, output="lowst")
    np.testing.assert_array_equal(bound(model, output="lowest")(windows), windows.min(axis=1))
    np.testing.assert_array_equal(bound(model, output="highest")(windows), windows.max(axis=1))


def test_a_batch_of_fixed_size_is_filled(tmp_path: Path) -> None:
    fixed, any_size = (dense(tmp_path / f"{batch}.onnx", batch=batch) for batch in (4, "batch"))
    windows = noise(7)
    found = bound(fixed)(windows)
    np.testing.assert_array_equal(found, bound(any_size, batch=4)(windows))
    np.testing.assert_allclose(found, by_itself(any_size, windows), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(bound(fixed, batch=4)(windows), found)
    said = f"batch is 3, but the model {fixed} takes 4 windows at a time; leave batch out"
    with pytest.raises(ValueError, match=re.escape(said)):
        bound(fixed, batch=3)


FEATURES: dict[tuple[str, int], Any] = {}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models")
    dense(path / "dense.onnx", shape=[40])
    convolutional(path / "convolutional.onnx", ["batch", 1, "sample"])
    means(path / "spectral.onnx", ["batch", "frequency", "time"])
    return path


@pytest.mark.parametrize("name", ["dense", "convolutional", "spectral"])
@pytest.mark.parametrize("batch", [None, 2, 5, 16])
@given(ends=st.lists(st.integers(0, 21), max_size=4), unread=st.sets(st.integers(0, 20)))
def test_the_bits_do_not_depend_on_the_block(
    folder: Path, name: str, batch: int | None, ends: list[int], unread: set[int]
) -> None:
    frontend = pl.Spectrogram(n_fft=64) if name == "spectral" else None
    feature = bound(folder / f"{name}.onnx", batch=batch, frontend=frontend)
    windows, n_samples = noise(21), np.full(21, 8000)
    whole = compute_features(feature, windows, n_samples)
    windows[sorted(unread)] = np.nan
    whole[sorted(unread)] = 0
    edges = [0, *sorted(ends), 21]
    parts = [
        compute_features(feature, windows[a:b], n_samples[a:b], first=a) for a, b in pairwise(edges)
    ]
    assert np.concatenate(parts).tobytes() == whole.tobytes()


def test_windows_of_a_batch_that_hang_on_each_other_are_refused(tmp_path: Path) -> None:
    model = mixing(tmp_path / "m.onnx")
    with pytest.raises(ValueError, match=r"another place of a batch of 4; pass batch 1"):
        bound(model, batch=4)
    assert (bound(model)(noise(3)) == 0).all()


def test_threads_share_one_model(tmp_path: Path) -> None:
    model = convolutional(tmp_path / "m.onnx", ["batch", 1, "sample"])
    windows, before = noise(16), _session.cache_info().misses
    expected = by_itself(model, windows[:, None])
    with ThreadPoolExecutor(4) as pool:
        made = pool.map(lambda _: bound(model, batch=2)(windows), range(12))
        found = list(pool.map(lambda _: bound(model)(windows), range(12)))
    for values in made:
        np.testing.assert_allclose(values, expected, rtol=1e-4, atol=1e-6)
    assert len({values.tobytes() for values in found}) == 1
    assert _session.cache_info().misses == before + 1


REFUSED: dict[str, tuple[Any, str]] = {
    "another length": (
        lambda path: dense(path, n_samples=9000),
        r"takes \(batch, 9000\), but is called with \(batch, 8000\); pass another window or",
    ),
    "no batch": (
        lambda path: means(path, [8000]),
        r"takes \(8000\), but is called with \(batch, 8000\)",
    ),
    "two channels": (
        lambda path: means(path, ["batch", 2, "sample"]),
        r"takes \(batch, 2, sample\), but is called with \(batch, 8000\)",
    ),
    "two inputs": (
        lambda path: save(
            path,
            [helper.make_node("Add", ["a", "b"], ["y"])],
            {"a": ["n", 8000], "b": ["n", 8000]},
            {"y": ["n", 8000]},
            {},
        ),
        r"has the inputs a of tensor\(float\), b of tensor\(float\); it must have one, of",
    ),
    "another dtype": (
        lambda path: save(
            path,
            [helper.make_node("Abs", ["x"], ["y"])],
            {"x": ["n", 8000]},
            {"y": ["n", 8000]},
            {},
            kind=TensorProto.INT16,
            output_kind=TensorProto.INT16,
        ),
        r"has the inputs x of tensor\(int16\); it must have one, of tensor\(float\)",
    ),
    "an output without a batch": (
        lambda path: means(path, ["n", None], 0),
        r"gives 'mean' of shape \(8000,\) and dtype float32 for a batch of 1; it must be of real",
    ),
    "an output of text": (
        lambda path: save(
            path,
            [helper.make_node("Cast", ["x"], ["y"], to=TensorProto.STRING)],
            {"x": ["n", 8000]},
            {"y": ["n", 8000]},
            {},
            output_kind=TensorProto.STRING,
        ),
        r"and dtype object for a batch of 1; it must be of real numbers",
    ),
    "three axes": (
        lambda path: dense(path, shape=[1, 2, 3]),
        r"Onnx has the shape \(1, 2, 3\); it must be at most 2 whole numbers",
    ),
    "another length inside": (
        lambda path: dense(path, n_samples=None, shape=[1]) and shortened(path),
        r"m.onnx fails with an input of shape \(1, 8000\) \(.*\); pass another window",
    ),
    "text": (lambda path: path.write_text("this is text"), "m.onnx is no ONNX model"),
    "nothing": (lambda path: path.touch(), "m.onnx is no ONNX model; pass the path of one"),
    "half of it": (
        lambda path: dense(path) and path.write_bytes(path.read_bytes()[:9999]),
        "m.onnx is no ONNX model; pass the path of one",
    ),
    "no graph": (
        lambda path: path.write_bytes(b"\x08\x09"),
        r"m.onnx is no ONNX model that onnxruntime can load \(.+\); pass the path of one",
    ),
    "no such file": (lambda path: None, "m.onnx', which is no file; pass the path of an ONNX"),
}


def shortened(path: Path) -> None:
    """A model that takes any length, and then only half of this one."""
    nodes = [helper.make_node("MatMul", ["x", "W"], ["y"])]
    save(path, nodes, {"x": ["n", None]}, {"y": ["n", 1]}, {"W": random(4000, 1)})


@pytest.mark.parametrize("what", REFUSED)
def test_what_will_not_do_is_refused_when_planning(
    cli: Cli, write_wav: Write, tmp_path: Path, what: str
) -> None:
    write_wav("a.wav")
    make, said = REFUSED[what]
    make(tmp_path / "m.onnx")
    ended = cli("plan", "a.wav", "--out", "x.zarr", "--feature", "onnx", "--model", "m.onnx")
    assert (ended.code, ended.out) == (2, "")
    assert re.search(said, ended.err), ended.err
    assert ended.err.count("\n") == 1


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"model": 3}, "model is 3; it must be the path of an ONNX model"),
        ({"model": ""}, "model is ''; it must be the path"),
        ({"output": 1}, "output is 1; it must be the name of an output"),
        ({"batch": 0}, "batch is 0; it must be a whole number of windows above 0, or None"),
        ({"frontend": "mfcc"}, "^frontend is 'mfcc', which lacks shape"),
        ({"frontend": pl.Spectrogram(samplerate=16000)}, "was made for samplerate=16000, but"),
        ({"frontend": pl.Waveform()}, None),
    ],
)
def test_parameters_are_checked_when_made(
    tmp_path: Path, parameters: dict[str, Any], said: str | None
) -> None:
    values = {"model": dense(tmp_path / "m.onnx"), "samplerate": 8000, "window": 1.0, **parameters}
    if said is None:
        assert pl.Onnx(**values).shape == (6,)
        return
    with pytest.raises(ValueError, match=said):
        pl.Onnx(**values)


def test_before_the_recordings_are_known_the_shape_is_not(tmp_path: Path) -> None:
    feature = pl.Onnx(str(dense(tmp_path / "m.onnx")))
    with pytest.raises(ValueError, match="pass samplerate and window"):
        _ = feature.shape
    with pytest.raises(ValueError, match=r"shape \(2, 90\); the model is called for \(batch, 800"):
        replace(feature, samplerate=8000, window=1.0)(np.zeros((2, 90), np.float32))


def test_onnxruntime_is_an_extra(
    cli: Cli, write_wav: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_wav("a.wav")
    dense(tmp_path / "m.onnx")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    ended = cli("plan", "a.wav", "--out", "x.zarr", "--feature", "onnx", "--model", "m.onnx")
    assert ended.code == 2
    assert ended.err.endswith("which is not installed; install dask-audio-pipeline[onnx]\n")


def test_values_that_are_not_finite_name_the_model(write_wav: Write, tmp_path: Path) -> None:
    model = logarithm(tmp_path / "m.onnx")
    report = pl.extract(write_wav(), tmp_path / "x.zarr", pl.Onnx(str(model)))
    ((_, reason),) = report.failed
    assert f"the model {model} gave values that are not finite" in reason
    assert "in windows 0 to 2; stored features must be finite" in reason


@pytest.mark.parametrize("kind", [TensorProto.INT64, TensorProto.DOUBLE, TensorProto.BOOL])
def test_outputs_of_any_real_dtype_are_stored(tmp_path: Path, kind: int) -> None:
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["top"], axes=[1], keepdims=0),
        helper.make_node("Cast", ["top"], ["y"], to=kind),
    ]
    model = save(tmp_path / "m.onnx", nodes, {"x": ["n", None]}, {"y": ["n"]}, {}, output_kind=kind)
    windows = noise(3)
    expected = windows.max(axis=1).astype(helper.tensor_dtype_to_np_dtype(kind))
    np.testing.assert_array_equal(bound(model)(windows), expected.astype(np.float32))


def test_a_changed_model_is_another_job_and_a_moved_one_is_not(
    cli: Cli, write_wav: Write, tmp_path: Path
) -> None:
    write_wav("a.wav")
    dense(tmp_path / "m.onnx")
    command = ("extract", "a.wav", "--out", "x.zarr", "--quiet", "--feature", "onnx")
    assert cli(*command, "--model", "m.onnx").code == 0
    (tmp_path / "m.onnx").rename(tmp_path / "n.onnx")
    assert cli(*command, "--model", "n.onnx") == (0, "", "")
    ended = cli(*command, "--model", "n.onnx", "--batch", 2)
    assert "batch was None, and is now 2" in ended.err
    dense(tmp_path / "n.onnx", seed=1)
    ended = cli(*command, "--model", "n.onnx")
    said = r"the code of the feature onnx was changed \(its model was \w{8} by onnxruntime \S+, and"
    assert re.search(said, ended.err), ended.err
    assert ended.err.count("\n") == 1


def test_a_changed_frontend_is_another_job(write_wav: Write, tmp_path: Path) -> None:
    model = str(means(tmp_path / "m.onnx", ["batch", "frequency", "time"]))
    source, out = write_wav(), tmp_path / "x.zarr"
    pl.extract(source, out, pl.Onnx(model, frontend=pl.Spectrogram()))
    with pytest.raises(ValueError, match="n_fft was 512, and is now 64"):
        pl.extract(source, out, pl.Onnx(model, frontend=pl.Spectrogram(n_fft=64)))
    with pytest.raises(ValueError, match="feature spectrogram, not melspectrogram"):
        pl.extract(source, out, pl.Onnx(model, frontend=pl.MelSpectrogram(hop_length=500)))
    identity = identify(bound(Path(model), frontend=pl.Spectrogram()))
    assert identity.as_dict()["parameters"]["frontend"]["parameters"].keys() == {
        *("samplerate", "window")
    }


def test_weights_beside_the_model_belong_to_it(
    write_wav: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    model = dense(folder / "m.onnx", beside="m.onnx.data")
    files = ModelFiles.find(str(model))
    assert [os.path.basename(path) for path, *_ in files.stamps] == ["m.onnx", "m.onnx.data"]
    assert files.n_bytes > 4 * 8000 * 6
    np.testing.assert_allclose(
        bound(model)(noise(2)), noise(2) @ random(8000, 6), rtol=1e-4, atol=1e-5
    )
    source, out = write_wav(), tmp_path / "x.zarr"
    assert pl.extract(source, out, pl.Onnx(str(model))).ok
    data = folder / "m.onnx.data"
    changed = bytearray(data.read_bytes())
    changed[-1] ^= 64
    data.write_bytes(changed)
    with pytest.raises(ValueError, match="the code of the feature onnx was changed"):
        pl.extract(source, out, pl.Onnx(str(model)))
    data.unlink()
    with pytest.raises(FileNotFoundError, match="data, a file of the model, cannot be read"):
        bound(model)


def test_weights_are_found_wherever_a_model_has_them(tmp_path: Path) -> None:
    def elsewhere(name: str) -> Any:
        (tmp_path / name).write_bytes(bytes(4))
        tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[1])
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in {"offset": "0", "location": name}.items():
            tensor.external_data.add(key=key, value=value)
        return tensor

    constant = helper.make_node("Constant", [], ["c"], value=elsewhere("in a node"))
    branch = helper.make_graph([constant], "branch", [], [], [elsewhere("in a branch")])
    choice = helper.make_node("If", ["x"], ["y"], then_branch=branch, else_branch=branch)
    graph = helper.make_graph([choice], "graph", [], [], [elsewhere("in the graph")])
    function = helper.make_function("own", "f", [], ["c"], [constant], [])
    model = helper.make_model(graph, functions=[function])
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    found = {os.path.basename(path) for path, *_ in ModelFiles.find(f"{tmp_path}/m.onnx").stamps}
    assert found == {"m.onnx", "in a node", "in a branch", "in the graph"}


@dataclass(frozen=True)
class Own:
    """A frontend of a user's own."""

    shape, axes = (1,), (pl.Axis("place", [0.0]),)

    def __call__(self, windows: Array, /) -> Array:
        return windows[:, :1]


def test_a_worker_with_another_model_is_told(tmp_path: Path) -> None:
    model = means(tmp_path / "m.onnx", ["batch", None])
    feature = pickle.loads(pickle.dumps(bound(model, frontend=Own())))
    code = identify(feature).code
    assert (code.by, other_code(feature, code)) == ("model", None)
    assert code.frontend == Code("source", code.frontend.value if code.frontend else "")
    other = replace(code, frontend=Code("source", "0" * 64))
    found = other_code(feature, other)
    assert found is not None
    assert re.search(r"other code of the feature \S+:Own: source \w{8} where the client", found)
    two_outputs(model)
    found = other_code(feature, code)
    assert found is not None
    assert re.search(r"features:Onnx: model \w{8} by onnxruntime \S+ where the client has", found)
    model.unlink()
    assert (other_code(feature, code) or "").startswith("no model that can be used (")


def test_a_feature_is_pickled_by_its_path(tmp_path: Path) -> None:
    feature = bound(dense(tmp_path / "m.onnx", shape=[500]))
    windows = noise(2)
    expected, pickled = feature(windows), pickle.dumps(feature)
    assert len(pickled) < 500
    again = pickle.loads(pickled)
    assert again == feature
    np.testing.assert_array_equal(again(windows), expected)


def test_a_plan_counts_the_model(write_wav: Write, tmp_path: Path) -> None:
    source, out = write_wav(), tmp_path / "x.zarr"
    model = dense(tmp_path / "m.onnx", shape=[1000])
    plan, other = (
        Plan.make(source, out, feature) for feature in (pl.Onnx(str(model)), pl.Spectrogram())
    )
    more = memory_bytes(plan, 1) - memory_bytes(other, 1)
    assert more > model.stat().st_size > 30e6
    feature = plan.inputs.feature
    assert isinstance(feature, pl.Onnx)
    assert feature.memory_bytes(4) - feature.memory_bytes(1) < 30e6  # it is there once a process


def test_a_call_needs_the_memory_that_a_call_has_taken(tmp_path: Path) -> None:
    model = convolutional(tmp_path / "m.onnx", ["batch", 1, "sample"], channels=64)
    # 20 times a second of 48 kHz in 64 and 128 channels of half of the samples.
    feature = replace(pl.Onnx(str(model)), samplerate=48000, window=20.0)
    a_call = feature.memory_bytes(2) - feature.memory_bytes(1)
    assert a_call > 4 * 64 * 480_000


def test_a_model_over_windows_of_any_rate(write_wav: Write, tmp_path: Path) -> None:
    model = two_outputs(tmp_path / "m.onnx")
    feature = bind(pl.Onnx(str(model), output="highest"), 16000, 0.25)
    windows = noise(4, 4000)
    np.testing.assert_array_equal(feature(windows), windows.max(axis=1))
