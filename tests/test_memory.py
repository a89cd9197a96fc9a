"""The memory that plan projects is what extract takes, however long the audio is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Write

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


def run(verb: str, source: Path, out: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run a command on two threads, whatever the machine has."""
    cluster = source.with_name("cluster.yaml")
    cluster.write_text("clusters: {two: {threads: 2}}")
    fixed = [verb, str(source), "--out", str(out), "--cluster", f"{cluster}:two"]
    command = [sys.executable, "-c", COMMAND, *fixed, *options]
    return subprocess.run(command, capture_output=True, text=True, check=True)


def planned(source: Path, out: Path) -> int:
    return int(json.loads(run("plan", source, out, "--json").stdout)["memory_bytes"])


def peak(source: Path, out: Path) -> int:
    """Largest memory of the process while it ran."""
    return int(run("extract", source, out, "--quiet").stderr)


@pytest.mark.parametrize(
    "options", [["--n-fft", "60000"], ["--n-fft", "30000", "--window", "3"]], ids=" ".join
)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_large_windows_stay_below_what_plan_projects(
    write_wav: Write, tmp_path: Path, options: list[str], dtype: str
) -> None:
    cluster = tmp_path / "one.yaml"
    cluster.write_text("clusters: {threads: {threads: 1}}")
    job = [str(write_wav(seconds=6)), "--out", str(tmp_path / "x.zarr"), "--dtype", dtype]
    job += [*options, "--cluster", str(cluster)]
    command = [sys.executable, "-m", "pipeline"]
    plan = subprocess.run([*command, "plan", *job, "--json"], capture_output=True, check=True)
    with subprocess.Popen([*command, "extract", *job], stderr=subprocess.DEVNULL) as process:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    assert 1024 * used.ru_maxrss <= json.loads(plan.stdout)["memory_bytes"]


@pytest.mark.parametrize("ending", ["zarr", "h5"])
def test_extract_stays_below_what_plan_projects(
    write_wav: Write, tmp_path: Path, ending: str
) -> None:
    source = write_wav(seconds=1500)
    projected = planned(source, tmp_path / f"x.{ending}")
    # The features are 617 MB: a job that held them all would be far above.
    assert 0.5 * projected < peak(source, tmp_path / f"x.{ending}") < 1.1 * projected < 500e6
