"""A real Slurm on this machine, started once for all tests that want one."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from servers import free_ports, run_script, skip_unless_startable

__all__ = ["Slurm", "slurm"]

SHARED_SLURM = Path(__file__).parents[2] / "shared" / "slurm"
PROGRAMS = ("slurmctld", "slurmd", "sbatch", "munged")
FIRST_PORT, NODES = 17817, 2


@dataclass(frozen=True)
class Slurm:
    """Two nodes of two CPUs; its commands find it by the environment.

    Attributes
    ----------
    environment : dict
        What a process needs in its environment to find it.
    folder : path
        Configuration, state, logs.
    """

    environment: dict[str, str]
    folder: Path

    def call(self, *command: object) -> str:
        """Run a command of Slurm; what it prints."""
        words = [str(word) for word in command]
        environment = {**os.environ, **self.environment}
        done = subprocess.run(words, capture_output=True, text=True, env=environment, timeout=60)
        assert done.returncode == 0, f"{words}: {done.stderr}"
        return done.stdout

    def jobs(self, *states: str, name: str | None = None) -> list[int]:
        """Jobs that are queued or run, or those in such a state (``RUNNING``), oldest first."""
        options = [f"--states={','.join(states)}"] if states else []
        options += [f"--name={name}"] if name else []
        return sorted(map(int, self.call("squeue", "-h", "-r", "-o", "%A", *options).split()))

    def cancel(self, *jobs: int) -> None:
        """Cancel jobs, as `scancel` does: SIGTERM, and SIGKILL three seconds later."""
        self.call("scancel", *jobs)

    def log(self) -> str:
        """One line for each job that has ended."""
        path = self.folder / "log" / "jobcomp.log"
        return path.read_text() if path.exists() else ""


@pytest.fixture(scope="session")
def slurm() -> Iterator[Slurm]:
    """A Slurm of this session alone; the commands of this process find it, too."""
    skip_unless_startable(SHARED_SLURM, "Slurm", PROGRAMS)
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))  # munge wants everyone to get there
    settings = {
        "SLURM_TEST_DIR": str(folder),
        "SLURM_TEST_PORT": str(free_ports(FIRST_PORT, NODES + 1)),
        "SLURM_TEST_NODES": str(NODES),
        "SLURM_TEST_CPUS": "2",
    }
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        stack.callback(run_script, SHARED_SLURM / "stop-slurm", settings, folder)
        run_script(SHARED_SLURM / "start-slurm", settings, folder)
        stack.enter_context(pytest.MonkeyPatch.context()).setenv(
            "SLURM_CONF", str(folder / "slurm.conf")
        )
        yield Slurm({"SLURM_CONF": str(folder / "slurm.conf")}, folder)
