"""What is handed in to a batch system stores the same bits, and goes on until the job is done."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from commands import Workplace, wait_for, write_recording
from conftest import ROOT, stored
from slurm import Slurm

from pipeline.job.verification import verify
from pipeline.record.record import Done, Record
from pipeline.store.store import open_store

SCRIPTS = ROOT / "scripts" / "submit"
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


# Not by importing it: it then takes Ctrl-C for itself.
JOBQUEUE = pytest.mark.skipif(
    find_spec("dask_jobqueue") is None, reason="dask-jobqueue is not installed"
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What one thread stores."""
    return make_place(tmp_path_factory.mktemp("whole")).undisturbed("x.zarr")


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
def queue(slurm: Slurm, tmp_path: Path) -> Iterator[Queue]:
    yield Queue(slurm, tmp_path)
    if left := slurm.jobs():  # of a test that failed
        slurm.cancel(*left)


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


@JOBQUEUE
def test_a_client_hands_itself_in_again_until_the_job_is_done(
    queue: Queue, place: Workplace, whole: dict[str, str]
) -> None:
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


@JOBQUEUE
def test_one_allocation_holds_scheduler_client_and_workers(
    queue: Queue, place: Workplace, whole: dict[str, str]
) -> None:
    options = "--ntasks=4 --mem-per-cpu=400"
    job = queue.submit(
        "slurm-mpi-like.sbatch", "a.wav", "--out", "x.zarr", *OPTIONS, options=options
    )
    queue.await_end()
    assert queue.code(job) == "0:0", queue.logs()[job]
    is_whole(place.folder / "x.zarr", whole)
    assert list(place.folder.glob(".features-*")) == []
    entries = Record(open_store(place.folder / "x.zarr").record_folder).entries()
    assert len({entry.worker for entry in entries if isinstance(entry, Done)}) == 2


TIME = r"(\d+:)?\d+"
# By option, what may follow it: OpenPBS's qsub(1B), IBM's bsub reference, Grid Engine's qsub(1).
DOCUMENTED = {
    "pbs": {
        "-N": r"[A-Za-z]\w*",
        "-J": r"0-\d+",
        "-l": r"(select=1:ncpus=\d+:mem=\d+gb|walltime=\d+:\d\d:\d\d)",
        "-j": "oe",
        "-r": "y",
    },
    "lsf": {
        "-J": r'"\w+\[1-\d+\]"',
        "-n": r"\d+",
        "-R": r'"span\[hosts=1\]"',
        "-M": r"\d+(KB|MB|GB)",
        "-W": TIME,
        "-wt": TIME,
        "-wa": r"'[A-Z]+'",
        "-o": r"\S+%J-%I\S+",
        "-r": "",
    },
    "sge": {
        "-N": r"[A-Za-z]\w*",
        "-S": "/bin/bash",
        "-t": r"1-\d+",
        "-pe": r"\w+ \d+",
        "-l": r"h_rt=\d+:\d\d:\d\d,h_vmem=\d+G",
        "-cwd": "",
        "-j": "y",
        "-r": "y",
    },
}
PREFIX = {"pbs": "#PBS", "lsf": "#BSUB", "sge": "#$"}
# What each system tells a task, counted from 0.
TOLD: dict[str, Callable[[int], dict[str, Any]]] = {
    "pbs": lambda i: {"PBS_ARRAY_INDEX": i, "PBS_O_WORKDIR": ".", "NCPUS": 1},
    "lsf": lambda i: {"LSB_JOBINDEX": i + 1, "LSB_DJOB_NUMPROC": 1},
    "sge": lambda i: {"SGE_TASK_ID": i + 1, "NSLOTS": 1},
}


@pytest.mark.parametrize("system", DOCUMENTED)
def test_a_script_of_another_system_asks_for_what_is_documented(system: str) -> None:
    text = (SCRIPTS / f"{system}.sh").read_text()
    directives = re.findall(rf"^{re.escape(PREFIX[system])} (-\w+) ?(.*)$", text, re.MULTILINE)
    assert {option for option, _ in directives} == DOCUMENTED[system].keys()
    for option, value in directives:
        assert re.fullmatch(DOCUMENTED[system][option], value), (option, value)
    shares = re.search(r"^shares=(\d+)", text, re.MULTILINE)
    assert shares
    first, last = re.findall(r"^#\S+ -[Jt] .*?(\d+)-(\d+)", text, re.MULTILINE)[0]
    assert int(last) - int(first) + 1 == int(shares[1])


@pytest.mark.parametrize("system", DOCUMENTED)
def test_tasks_of_another_system_s_array_share_a_job(
    place: Workplace, whole: dict[str, str], system: str
) -> None:
    text = (SCRIPTS / f"{system}.sh").read_text()
    job = " ".join(["a.wav", "--out", "x.zarr", *OPTIONS])
    for old, new in {"shares=16": "shares=2", "recordings/ --out features.zarr": job}.items():
        assert old in text
        text = text.replace(old, new)
    (place.folder / "job.sh").write_text(text)
    environment = os.environ | {"PYTHON": sys.executable, "PYTHONPATH": f"{ROOT}:{place.folder}"}
    tasks = [
        subprocess.Popen(
            ["bash", "job.sh"],
            cwd=place.folder,
            env=environment | {name: str(value) for name, value in TOLD[system](i).items()},
            stderr=subprocess.PIPE,
            text=True,
        )
        for i in range(2)
    ]
    printed = [task.communicate()[1] for task in tasks]
    assert [task.returncode for task in tasks] == [0, 0], printed
    is_whole(place.folder / "x.zarr", whole)
    assert ["share 0/2: " in printed[0], "share 1/2: " in printed[1]] == [True, True]


def test_all_that_is_handed_in_is_read_by_the_shell() -> None:
    for script in [*SCRIPTS.glob("*.sbatch"), *SCRIPTS.glob("*.sh")]:
        done = subprocess.run(["bash", "-n", script], capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
        assert os.access(script, os.X_OK)
