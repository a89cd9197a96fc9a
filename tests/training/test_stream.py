"""Streaming: what is told of damage, what it takes of the process, where it runs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
from other_systems import BARE

import pipeline as pl
from pipeline.process.resources import cores

Array = npt.NDArray[Any]


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """Five recordings of 20 windows, of which three have damaged ones."""
    folder = tmp_path / "sources"
    folder.mkdir()
    for number in range(5):
        samples = np.random.default_rng(number).random(20_000).astype(np.float32) / 2
        if number % 2 == 0:
            samples[[100, 1100, 18_100]] = np.nan
        soundfile.write(folder / f"{number}.wav", samples, 1000, "FLOAT")
    return folder


@pytest.mark.parametrize("batch_size", [1, 7, 100, None])
@pytest.mark.parametrize("threads", [1, 3])
def test_each_damaged_recording_is_told_of_once(
    sources: Path, batch_size: int | None, threads: int
) -> None:
    feature = pl.Spectrogram(n_fft=32, frame_length=20)
    with pytest.warns(RuntimeWarning) as told:
        list(pl.stream(sources, feature, batch_size=batch_size, threads=threads))
    files = [str(warning.message).partition(": ")[0] for warning in told]
    assert files == [str(sources / f"{number}.wav") for number in (0, 2, 4)]
    assert all("sample 100 " in str(warning.message) for warning in told)
    assert {warning.filename for warning in told} == {__file__}


# In a process of its own, for a thread that lives on may keep the limits of BLAS to itself.
LIMITED = """if True:
    import time
    import numpy as np, pipeline as pl
    from threadpoolctl import threadpool_info

    def blas_threads():
        return {found["num_threads"] for found in threadpool_info() if found["user_api"] == "blas"}

    class Asking:
        shape, frequencies, times = (1,), None, np.zeros(1)

        def __call__(self, windows):
            return np.full((len(windows), 1), max(blas_threads()))

    def begin():
        return pl.stream("x.wav", Asking(), batch_size=16, threads=3)

    batches = begin()
    assert blas_threads() == {2}
    X, _ = next(batches)
    assert (X == 1).all()
    until = time.monotonic() + 30
    while blas_threads() != {2}:  # what is computed ahead ends as the caller waits
        assert time.monotonic() < until
        time.sleep(0.01)
    assert all((X == 1).all() for X, _ in batches)
    assert blas_threads() == {2}
    batches = begin()
    next(batches)
    del batches
    assert blas_threads() == {2}
"""


def test_blas_has_one_thread_while_features_are_computed_and_no_longer(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.wav", np.random.default_rng(0).random(400_000) / 2, 1000)
    command = [sys.executable, "-c", LIMITED]
    env = os.environ | {"OPENBLAS_NUM_THREADS": "2"}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    if cores() < 2:
        pytest.skip("OpenBLAS has no more threads than there are cores")
    assert (done.returncode, done.stderr) == (0, "")


STREAM = """
    feature = pl.Spectrogram(n_fft=32, frame_length=20)
    X = np.concatenate([X for X, _ in pl.stream("x.wav", feature, batch_size=3)])
    for out in ("x.zarr", "x.h5"):
        for options in ({}, {"shuffle": True}, {"shuffle": True, "mix": 2}):
            for x, y in pl.Batches(out, 3, **options):
                assert np.array_equal(x, X[y])
    print(X.shape)
"""


def test_a_system_that_lacks_what_linux_has_reads_and_streams(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.wav", np.random.default_rng(0).random(20_000) / 2, 1000)
    feature = pl.Spectrogram(n_fft=32, frame_length=20)
    for out in ("x.zarr", "x.h5"):
        assert pl.extract(tmp_path / "x.wav", tmp_path / out, feature, np.arange(20)).ok
    command = [sys.executable, "-c", BARE + STREAM]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("(20, 17, 50)\n", 0), done.stderr


@pytest.mark.parametrize("batch_size", [0, -1, 2.5, True, "8"])
def test_stream_refuses_a_batch_size_that_is_none(sources: Path, batch_size: Any) -> None:
    with pytest.raises(ValueError, match=r"must be a whole number of windows above 0, or None$"):
        pl.stream(sources, batch_size=batch_size)


@pytest.mark.parametrize("threads", [0, -1, 2.5, True])
def test_stream_refuses_a_number_of_threads_that_is_none(sources: Path, threads: Any) -> None:
    with pytest.raises(ValueError, match=r"must be a whole number above 0, or None$"):
        pl.stream(sources, threads=threads)


def test_whole_numbers_of_numpy_are_taken(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.wav", np.random.default_rng(0).random(4000) / 2, 1000)
    feature = pl.Spectrogram(n_fft=32, frame_length=20)

    def sizes(batches: Iterator[Any]) -> list[int]:
        return [len(X) for X, _ in batches]

    streamed = pl.stream(tmp_path / "x.wav", feature, batch_size=np.int64(3), threads=np.int8(1))  # type: ignore[arg-type]
    assert sizes(streamed) == [3, 1]


# As a program does in which something keeps modules, such as a framework, until the last moment.
LEFT_OPEN = """if True:
    import sys
    import kept
    import concurrent.futures.thread
    import pipeline as pl

    batches = pl.stream("sources", batch_size=4)
    kept.loops = iter(batches), iter(pl.Batches("x.zarr", 4))
    for loop in kept.loops:
        next(loop)
    sys.kept = kept, concurrent.futures.thread
"""


def test_loops_that_are_left_open_end_with_the_program(sources: Path) -> None:
    home = sources.parent
    for path in (sources / "0.wav", sources / "2.wav", sources / "4.wav"):
        path.unlink()
    assert pl.extract(sources, home / "x.zarr").ok
    (home / "kept.py").touch()
    command = [sys.executable, "-c", LEFT_OPEN]
    done = subprocess.run(command, cwd=home, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
