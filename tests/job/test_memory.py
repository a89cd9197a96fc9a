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

import pipeline as pl
from pipeline.job.plan import Plan
from pipeline.settings import Settings

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
    verb: str, source: Path, out: Path, *options: str, threads: int
) -> subprocess.CompletedProcess[str]:
    """Run a command on so many threads, whatever the machine has."""
    cluster = source.with_name("cluster.yaml")
    cluster.write_text(f"clusters: {{some: {{threads: {threads}}}}}")
    fixed = [verb, str(source), "--out", str(out), "--cluster", f"{cluster}:some"]
    command = [sys.executable, "-c", COMMAND, *fixed, *options]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stderr  # 1 where windows cannot be read
    return done


def planned(source: Path, out: Path, *options: str, threads: int = 2) -> int:
    plan = run("plan", source, out, "--json", *options, threads=threads)
    return int(json.loads(plan.stdout)["memory_bytes"])


def peak(source: Path, out: Path, *options: str, threads: int = 2) -> int:
    """Largest memory of the process while it ran."""
    return int(run("extract", source, out, "--quiet", *options, threads=threads).stderr.split()[-1])


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
        ["indices", "--window", "60", "--hop-length", "16"],
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
    "options", [["pcen"], ["levels", "--window", "20", "--channel", "mix"]], ids=" ".join
)
def test_one_wide_recording_stays_below_what_plan_projects(
    write_wav: Write, tmp_path: Path, options: list[str]
) -> None:
    """Of 40 s at 500 kHz with two channels, 160 MB as float32, among others at 8 kHz."""
    source = write_wav("audio/a.wav", seconds=600).parent
    rng = np.random.default_rng(0)
    with soundfile.SoundFile(source / "b.wav", "w", 500_000, 2, "PCM_16") as file:
        for _ in range(40):
            file.write(0.1 * rng.standard_normal((500_000, 2)))
    out, options = tmp_path / "x.zarr", ["--samplerate", "8000", "--feature", *options]
    projected = planned(source, out, *options)
    assert peak(source, out, *options) < projected < 500e6


def test_windows_that_share_damaged_samples_stay_below_what_plan_projects(tmp_path: Path) -> None:
    """Read apart, each of a second has twelve of its own."""
    source, out, options = tmp_path / "a.wav", tmp_path / "x.zarr", ["--feature", "pcen"]
    samples = 0.1 * np.random.default_rng(0).standard_normal((600, 16000)).astype(np.float32)
    samples[::3, 0] = np.nan
    soundfile.write(source, samples.reshape(-1), 16000, "FLOAT")
    assert peak(source, out, *options) < planned(source, out, *options)


@pytest.mark.parametrize(("hop", "seconds"), [(0.5, 0.5), (1.0, 1.0), (5.0, 5.0), (100.0, 12.04)])
def test_what_lies_between_windows_that_share_samples_is_counted(
    write_wav: Write, tmp_path: Path, hop: float, seconds: float
) -> None:
    plan = Plan.make(write_wav(), tmp_path / "x.zarr", pl.PCEN(), settings=Settings(hop=hop))
    assert plan.inputs.held_samples == pytest.approx(8000 * seconds, rel=0.1)
