"""The kernels, and the paths of writing and reading, timed so that a change can be compared.

In an ordinary run each is called once. To compare with the change before::

    pytest tests/benchmarks --benchmark-enable --benchmark-autosave
    pytest tests/benchmarks --benchmark-enable --benchmark-compare
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from pytest_benchmark.fixture import BenchmarkFixture

import pipeline as pl
from pipeline.process.resources import one_blas_thread

RATE, N = 8000, 256

FEATURES = {
    "the article's": {},
    "FFT of 1024": {"n_fft": 1024, "frame_length": 1024, "hop_length": 256},
    "FFT of 256": {"n_fft": 256, "frame_length": 256, "hop_length": 128},
    "without log": {"log_offset": None},
}


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("name", FEATURES)
def test_kernel(benchmark: BenchmarkFixture, name: str, dtype: str) -> None:
    parameters: dict[str, Any] = FEATURES[name]
    feature = pl.Spectrogram(samplerate=RATE, window=1.0, **parameters)
    windows = np.random.default_rng(0).standard_normal((32, RATE)).astype(np.float32)
    out = np.empty((32, *feature.shape), dtype)
    with one_blas_thread():
        benchmark(feature, windows, out=out)
    assert np.isfinite(out).all()


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("speed") / "noise.wav"
    soundfile.write(path, np.random.default_rng(0).standard_normal(N * RATE) / 9, RATE)
    return path


@pytest.fixture(scope="module", params=["x.zarr", "x.h5"])
def store(request: pytest.FixtureRequest, source: Path) -> Path:
    out = source.with_name(str(request.param))
    assert pl.extract(source, out, overwrite=True).ok
    return out


@pytest.mark.parametrize("ending", ["zarr", "h5"])
def test_extract(benchmark: BenchmarkFixture, source: Path, ending: str) -> None:
    out = source.with_name(f"again.{ending}")
    report = benchmark(pl.extract, source, out, overwrite=True)
    assert report.computed == report.regions


def test_stream(benchmark: BenchmarkFixture, source: Path) -> None:
    assert benchmark(lambda: sum(len(X) for X, _ in pl.stream(source))) == N


@pytest.mark.parametrize(
    "options", [{}, {"shuffle": True}, {"shuffle": True, "mix": 4}], ids=["in order", "all", "mix"]
)
def test_batches(benchmark: BenchmarkFixture, store: Path, options: dict[str, Any]) -> None:
    batches = pl.Batches(store, 64, **options)
    assert benchmark(lambda: sum(len(X) for X, _ in batches)) == N
