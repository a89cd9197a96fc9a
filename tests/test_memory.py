"""The memory that plan projects is what extract takes, however long the audio is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from conftest import Write


def job(verb: str, source: Path, out: Path) -> list[str]:
    """A command on two threads, whatever the machine has."""
    cluster = source.with_name("cluster.yaml")
    cluster.write_text("clusters: {two: {threads: 2}}")
    options = [str(source), "--out", str(out), "--cluster", f"{cluster}:two"]
    return [sys.executable, "-m", "pipeline", verb, *options]


def planned(source: Path, out: Path) -> int:
    command = [*job("plan", source, out), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(json.loads(done.stdout)["memory_bytes"])


def peak(source: Path, out: Path) -> int:
    """Largest memory of the process while it runs, its share of what is shared (PSS)."""
    found = 0
    with psutil.Popen(job("extract", source, out), stderr=subprocess.DEVNULL) as process:
        while process.poll() is None:
            try:
                found = max(found, process.memory_full_info().pss)
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                break
            time.sleep(0.02)
        assert process.wait() == 0
    return found


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
