"""The memory that plan projects is what extract takes, however long the audio is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import Write
from onnx_models import dense

# A command that says at its end how much memory of its own the system has ever seen it have.
COMMAND = """
import atexit, re, sys
from pathlib import Path
from pipeline.cli import main

def tell():
    kilobytes = re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]
    print(1024 * int(kilobytes), file=sys.stderr)

atexit.register(tell)
main()
"""


def run(
    verb: str, source: Path, out: Path, *options: str, threads: int, code: int = 0
) -> subprocess.CompletedProcess[str]:
    """Run a command on so many threads, whatever the machine has."""
    cluster = source.with_name("cluster.yaml")
    cluster.write_text(f"clusters: {{some: {{threads: {threads}}}}}")
    fixed = [verb, str(source), "--out", str(out), "--cluster", f"{cluster}:some"]
    command = [sys.executable, "-c", COMMAND, *fixed, *options]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    return done


def planned(source: Path, out: Path, *options: str, threads: int = 2) -> int:
    plan = run("plan", source, out, "--json", *options, threads=threads)
    return int(json.loads(plan.stdout)["memory_bytes"])


def peak(source: Path, out: Path, *options: str, threads: int = 2, code: int = 0) -> int:
    """Largest memory of the process while it ran."""
    done = run("extract", source, out, "--quiet", *options, threads=threads, code=code)
    return int(done.stderr.splitlines()[-1])


@pytest.mark.parametrize(
    "options", [["--n-fft", "60000"], ["--n-fft", "30000", "--window", "3"]], ids=" ".join
)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_large_windows_stay_below_what_plan_projects(
    write_wav: Write, tmp_path: Path, options: list[str], dtype: str
) -> None:
    source, out, more = write_wav(seconds=6), tmp_path / "x.zarr", ["--dtype", dtype, *options]
    projected = planned(source, out, *more, threads=1)
    assert peak(source, out, *more, threads=1) <= projected


@pytest.mark.parametrize("ending", ["zarr", "h5"])
def test_extract_stays_below_what_plan_projects(
    write_wav: Write, tmp_path: Path, ending: str
) -> None:
    source = write_wav(seconds=1500)
    projected = planned(source, tmp_path / f"x.{ending}")
    # The features are 617 MB: a job that held them all would be far above.
    assert 0.5 * projected < peak(source, tmp_path / f"x.{ending}") < 1.1 * projected < 500e6


@pytest.mark.parametrize(
    "options",
    [
        ["melspectrogram"],
        ["mfcc", "--deltas", "2"],
        ["pcen"],
        ["pcen", "--hop", "0.5"],
        ["waveform", "--dtype", "int16"],
        ["levels", "--window", "60"],
        ["indices"],
        ["onnx", "--model", "m.onnx"],
    ],
    ids=" ".join,
)
def test_every_feature_stays_below_what_plan_projects(
    write_wav: Write, tmp_path: Path, options: list[str]
) -> None:
    source, out = write_wav(seconds=1500), tmp_path / "x.zarr"
    options = ["--feature", *options]
    if "m.onnx" in options:
        options[-1] = str(dense(tmp_path / "m.onnx", shape=[1000]))
    projected = planned(source, out, *options)
    assert 0.5 * projected < peak(source, out, *options) < projected


@pytest.mark.parametrize(
    "options",
    [
        ["pcen", "--hop", "5"],
        ["pcen", "--pad-mode", "reflect"],
        ["indices", "--window", "60", "--hop-length", "4"],
    ],
    ids=" ".join,
)
def test_what_lies_between_windows_or_overlaps_in_them_is_in_what_plan_projects(
    write_wav: Write, tmp_path: Path, options: list[str]
) -> None:
    source = write_wav(seconds=60 if options[0] == "indices" else 2400)
    out, options = tmp_path / "x.zarr", ["--feature", *options]
    projected = planned(source, out, *options, threads=1)
    assert 0.5 * projected < peak(source, out, *options, threads=1) < projected


def test_windows_of_a_damaged_recording_stay_below_what_plan_projects(tmp_path: Path) -> None:
    samples = 0.1 * np.random.default_rng(0).standard_normal(8000 * 1500).astype(np.float32)
    samples[:: 8000 * 200] = np.nan
    source, out = tmp_path / "a.wav", tmp_path / "x.zarr"
    soundfile.write(source, samples, 8000, "FLOAT")
    options = ["--feature", "pcen"]
    projected = planned(source, out, *options, threads=1)
    assert 0.5 * projected < peak(source, out, *options, threads=1, code=1) < projected
