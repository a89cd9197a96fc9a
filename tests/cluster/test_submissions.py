"""A batch system that takes no job ends ours, which else would wait for ever."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from conftest import Cli, Write

# Its first jobs run on this machine, each in a session of its own; it takes no more.
SBATCH = """#!/bin/sh
jobs=$(ls -d "$0".job-* 2>/dev/null | wc -l)
if [ "$jobs" -ge {jobs} ]; then
    echo "sbatch: error: Unable to contact slurm controller" >&2
    exit 1
fi
cp "$1" "$0.job-$jobs"
setsid sh "$0.job-$jobs" >/dev/null 2>&1 &
echo "Submitted batch job $!"
"""
SCANCEL = """#!/bin/sh
kill -- "-$1"
"""
OPTIONS = "{cores: 1, memory: 2GB, walltime: '01:00:00'}"


@pytest.fixture
def job(cli: Cli, write_wav: Write) -> tuple[str, ...]:
    write_wav("a.wav")
    for name in ("SLURM", "HTCondor"):
        options = OPTIONS if name == "SLURM" else "{cores: 1, memory: 2GB, disk: 1GB}"
        entry = f"{{class: dask_jobqueue.{name}Cluster, options: {options}, scale: 2}}"
        Path(f"{name}.yaml").write_text(f"{{default: a, clusters: {{a: {entry}}}}}")
    return ("extract", "a.wav", "--out", "x.zarr", "--cluster")


def slurm_of(folder: Path, jobs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Slurm that takes so many jobs."""
    folder.mkdir()
    for name, text in (("sbatch", SBATCH.format(jobs=jobs)), ("scancel", SCANCEL)):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def test_a_batch_system_that_is_not_there_is_named(
    cli: Cli, job: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    shown = cli(*job, "HTCondor.yaml")
    assert shown.code == 2
    assert "cluster 'a': its jobs are submitted by condor_submit, which is not on" in shown.err
    assert shown.err.count("\n") == 1
    assert not Path("x.zarr").exists()
    assert cli("cluster", "HTCondor.yaml").code == 0


def test_a_batch_system_that_takes_no_job_ends_ours(
    cli: Cli, job: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slurm_of(tmp_path / "bin", 0, monkeypatch)
    shown = cli(*job, "SLURM.yaml")
    assert shown.code == 1
    assert "stopped: cluster 'a': no job could be submitted: 'sbatch " in shown.err
    assert "ended with exit code 1 (sbatch: error: Unable to contact slurm contr" in shown.err
    assert "Traceback" not in shown.err
    assert not Path("x.zarr").exists()


def test_a_job_goes_on_with_the_workers_that_could_be_submitted(
    cli: Cli, job: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slurm_of(tmp_path / "bin", 1, monkeypatch)
    shown = cli(*job, "SLURM.yaml")
    assert shown.code == 0
    assert "3 windows in 1 regions, 1 computed now" in shown.err
    assert "Traceback" not in shown.err
