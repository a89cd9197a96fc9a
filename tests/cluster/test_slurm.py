"""The same job on a real Slurm: workers come through sbatch, are cancelled, and leave."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from commands import wait_for
from conftest import ROOT, SLOW, Write, done_regions, record_lines, stored
from slurm import Slurm

import pipeline as pl
from pipeline.cluster.engine import Engine, started
from pipeline.cluster.entry import Cluster

OPTIONS = {"cores": 1, "processes": 1, "memory": "500MiB", "walltime": "00:10:00"}
OPTIONS |= {"interface": "lo", "death_timeout": 60, "job_name": "features"}


class Extract:
    """A job of a dozen regions, in a process of its own."""

    def __init__(self, folder: Path, source: Path, options: dict[str, Any], scale: int) -> None:
        self.folder, self.source, self.out = folder, source, folder / "x.zarr"
        entry = {"class": "dask_jobqueue.SLURMCluster", "options": OPTIONS | options}
        file = {"clusters": {"slurm": entry | {"scale": scale}}}
        (folder / "cluster.yaml").write_text(yaml.safe_dump(file))
        (folder / "slow.py").write_text(SLOW)

    def start(self, *more: str, **environment: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "pipeline", "extract", str(self.source)]
        command += ["--out", str(self.out), "--feature", "slow:Slow", "--window", "0.05"]
        command += ["--cluster", "cluster.yaml:slurm", *more]
        path = f"{ROOT}:{self.folder}"
        return subprocess.Popen(
            command,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.folder,
            env=os.environ | {"PYTHONPATH": path} | environment,
        )

    def clean(self, monkeypatch: pytest.MonkeyPatch) -> Path:
        """The store of one thread."""
        monkeypatch.syspath_prepend(self.folder)
        out = self.folder / "clean" / "x.zarr"
        file = self.folder / "one.yaml"
        file.write_text("clusters: {threads: {threads: 1}}")
        import slow  # type: ignore[import-not-found]

        assert pl.extract(self.source, out, slow.Slow(), cluster=file, window=0.05).ok
        return out

    def workers(self) -> list[str]:
        """Who has done regions, in order."""
        return [line["worker"] for line in record_lines(self.out) if line["kind"] == "done"]


def test_workers_that_are_cancelled_or_leave_are_replaced_and_the_bits_are_the_same(
    slurm: Slurm,
    tmp_path: Path,
    write_wav: Write,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    source = write_wav(seconds=2400.3, samplerate=1000)
    options = {"worker_extra_args": ["--lifetime", "8s", "--lifetime-stagger", "1s"]}
    job = Extract(tmp_path, source, options, scale=2)
    running = job.start(SLOW="0.5")  # so that the job takes longer than a worker lives
    request.addfinalizer(running.kill)
    wait_for(lambda: done_regions(job.out) >= 2 or running.poll() is not None)
    assert running.poll() is None, running.communicate()
    first = slurm.jobs("RUNNING", name="features")
    assert len(first) == 2
    status = subprocess.run(
        [sys.executable, "-m", "pipeline", "status", str(job.out), "--json"],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert 2 <= json.loads(status.stdout)["done"] < 12
    slurm.cancel(first[0])
    _, err = running.communicate(timeout=120)
    assert running.returncode == 0, err
    assert stored(job.out) == stored(job.clean(monkeypatch))
    assert len(set(job.workers())) >= 3  # the first two, and others in their places
    ended = {line.split()[0]: line for line in slurm.log().splitlines()}
    assert "JobState=CANCELLED" in ended[f"JobId={first[0]}"]
    assert "JobState=COMPLETED" in slurm.log()  # one that left by itself
    assert list(tmp_path.glob(".*")) == []  # neither locks nor certificates


def test_a_job_of_several_workers_is_replaced_as_a_whole(
    slurm: Slurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # where Slurm puts what a job says
    options = OPTIONS | {"cores": 2, "processes": 2, "memory": "1GiB", "job_name": "pair"}
    entry = Cluster("a", None, "dask_jobqueue.SLURMCluster", options, scale=1)
    with started(entry) as engine:
        wait_for(lambda: len(workers(engine)) == 2)
        first = workers(engine)
        slurm.cancel(*slurm.jobs("RUNNING", name="pair"))
        wait_for(lambda: len(workers(engine) - first) == 2)
        assert len(slurm.jobs("RUNNING", name="pair")) == 1


def workers(engine: Engine) -> set[str]:
    """Addresses of the workers there are; waits for one."""
    assert engine.everywhere is not None
    return set(engine.everywhere(os.getpid))
