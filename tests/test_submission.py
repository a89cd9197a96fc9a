"""What is handed in to a batch system stores the same bits, and goes on until the job is done."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from commands import Workplace, wait_for, write_recording
from conftest import stored
from slurm import Slurm

from pipeline.record import Record
from pipeline.store import open_store
from pipeline.verify import verify

ROOT = Path(__file__).parents[1]
SCRIPTS = ROOT / "scripts"
WINDOWS, REGIONS = 30_000, 8
OPTIONS = ["--window", "0.004", "--feature", "ramp:Ramp", "--retries", "0"]
SMALL = "--cpus-per-task=1 --mem=400"
CLUSTER = f"""
clusters:
  slurm:
    class: dask_jobqueue.SLURMCluster
    options:
      cores: 1
      processes: 1
      memory: 400MiB
      walltime: "00:10:00"
      interface: lo
      python: {sys.executable}
      log_directory: logs
      death_timeout: 60
    scale: 2
"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What one thread stores."""
    place = make_place(tmp_path_factory.mktemp("whole"))
    assert place.extract("x.zarr").wait().code == 0
    return stored(place.folder / "x.zarr")


def make_place(folder: Path) -> Workplace:
    place = Workplace(folder)
    write_recording(folder / "a.wav", windows=WINDOWS)
    (folder / "cluster.yaml").write_text(CLUSTER)
    return place


@pytest.fixture
def place(tmp_path: Path) -> Workplace:
    return make_place(tmp_path)


class Queue:
    """Hands in scripts from a folder, as its user would."""

    def __init__(self, slurm: Slurm, folder: Path) -> None:
        self._slurm, self._folder = slurm, folder

    def submit(self, script: str, *arguments: object, options: str = SMALL) -> int:
        """Hand in a script; the number of its job."""
        command = ["sbatch", "--parsable", *options.split(), SCRIPTS / script]
        environment = {
            **os.environ,
            **self._slurm.environment,
            "PYTHON": sys.executable,
            "PYTHONPATH": f"{ROOT}:{self._folder}",
        }
        printed = subprocess.run(
            [str(word) for word in (*command, *arguments)],
            cwd=self._folder,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        return int(printed.stdout)

    def running(self) -> list[int]:
        return self._slurm.jobs("RUNNING")

    def await_end(self) -> None:
        """Wait until all that was handed in has ended."""
        wait_for(lambda: not self._slurm.jobs(), 200)

    def code(self, job: int) -> str:
        """How a job ended: its exit code, and the signal that killed it."""
        shown = self._slurm.call("scontrol", "show", "job", job)
        found = re.search(r"ExitCode=(\S+)", shown)
        assert found, shown
        return found[1]

    def signal(self, job: int, *options: str) -> None:
        self._slurm.call("scancel", *options, job)

    def logs(self) -> dict[int, str]:
        """What each job has printed, but for those of an array."""
        logs = self._folder.glob("features-*.log")
        return {int(log.stem.split("-")[1]): log.read_text() for log in logs}


@pytest.fixture
def queue(slurm: Slurm, tmp_path: Path) -> Queue:
    return Queue(slurm, tmp_path)


def is_whole(out: Path, whole: dict[str, str]) -> None:
    assert Record(open_store(out).record_folder).finished()
    assert (stored(out), verify(out)) == (whole, [])
    assert [path.name for path in out.parent.glob(f".{out.name}*")] == []


def test_tasks_of_an_array_share_a_job_and_one_is_killed(
    queue: Queue, place: Workplace, whole: dict[str, str]
) -> None:
    out, job = place.folder / "x.zarr", ["a.wav", "--out", "x.zarr", *OPTIONS]
    (place.folder / "hold").touch()
    array = queue.submit("slurm-array.sbatch", *job, options=f"--array=0-3 {SMALL}")
    finish = f"--dependency=afterany:{array}"
    last = queue.submit("slurm.sbatch", *job, options=f"{finish} {SMALL}")
    wait_for((place.folder / "held").exists, 120)
    queue.signal(max(queue.running()), "--signal=KILL", "--full")
    place.release()
    queue.await_end()
    assert queue.code(last) == "0:0"
    is_whole(out, whole)
    hosts = {log.name.split("-")[2] for log in (out / ".record" / "log").iterdir()}
    assert len(hosts) > 2


def test_a_client_hands_itself_in_again_until_the_job_is_done(
    queue: Queue, place: Workplace, whole: dict[str, str]
) -> None:
    pytest.importorskip("dask_jobqueue", reason="dask-jobqueue is not installed")
    job = ["a.wav", "--out", "x.zarr", *OPTIONS, "--cluster", "cluster.yaml:slurm"]
    (place.folder / "hold").touch()
    first = queue.submit("slurm.sbatch", *job)
    wait_for((place.folder / "held").exists, 120)
    queue.signal(first, "--signal=USR1", "--batch")  # as Slurm does when its time is nearly over
    wait_for(lambda: "Submitted" in queue.logs()[first], 60)
    place.release()
    queue.await_end()
    first_log, second_log = (log for _, log in sorted(queue.logs().items()))
    assert "interrupted; the same command goes on where it was" in first_log
    assert "computed now" in second_log
    assert queue.code(first) == "130:0"
    is_whole(place.folder / "x.zarr", whole)


def test_a_client_that_fails_or_is_cancelled_does_not_hand_itself_in_again(
    queue: Queue, place: Workplace
) -> None:
    wrong = queue.submit("slurm.sbatch", "none.wav", "--out", "y.zarr")
    (place.folder / "hold").touch()
    cancelled = queue.submit("slurm.sbatch", "a.wav", "--out", "x.zarr", *OPTIONS)
    wait_for((place.folder / "held").exists, 120)
    queue.signal(cancelled)
    place.release()
    queue.await_end()
    assert queue.code(wrong) == "2:0"
    assert sorted(queue.logs()) == [wrong, cancelled]


def test_one_allocation_holds_scheduler_client_and_workers(
    queue: Queue, place: Workplace, whole: dict[str, str]
) -> None:
    pytest.importorskip("dask_jobqueue", reason="dask-jobqueue is not installed")
    options = "--ntasks=4 --mem-per-cpu=400"
    job = queue.submit(
        "slurm-mpi-like.sbatch", "a.wav", "--out", "x.zarr", *OPTIONS, options=options
    )
    queue.await_end()
    assert queue.code(job) == "0:0", queue.logs()[job]
    is_whole(place.folder / "x.zarr", whole)
    assert list(place.folder.glob(".features-*")) == []
    done = Record(open_store(place.folder / "x.zarr").record_folder).entries()
    workers = {entry.worker for entry in done if getattr(entry, "worker", None)}
    assert len(workers) == 2
