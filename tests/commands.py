"""Commands in processes of their own, forked from one that has imported everything.

They begin in a tenth of the time that a new interpreter takes, and end as any
process does.
"""

from __future__ import annotations

import atexit
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soundfile
from conftest import done_regions, stored

__all__ = [
    "ELSEWHERE",
    "LEASE",
    "REGIONS",
    "WINDOWS",
    "Command",
    "Ended",
    "Workplace",
    "start",
    "wait_for",
    "write_recording",
]

SERVER = """
import gc, json, os, sys
import click, h5py, zarr
import pipeline.training.batches, pipeline.job.extraction, pipeline.job.plan
import pipeline.job.status, pipeline.job.verification
import pipeline.cli, pipeline.locks.lock
from filelock import SoftFileLease

gc.freeze()  # what was imported is not looked through again when a process ends
for line in sys.stdin:
    request = json.loads(line)
    if isinstance(request, int):
        pid, status = os.waitpid(request, os.WNOHANG)
        print(json.dumps(os.waitstatus_to_exitcode(status) if pid else None), flush=True)
    elif (pid := os.fork()) == 0:
        break
    else:
        print(pid, flush=True)
else:
    sys.exit()
os.chdir(request["cwd"])
for number, name in enumerate([os.devnull, request["out"], request["err"]]):
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND
    os.dup2(os.open(name, flags), number)
sys.argv = ["audio-pipeline", *request["arguments"]]
sys.path.insert(0, request["cwd"])
exec(request["before"])
pipeline.cli.main()
"""

FEATURE = """
import dataclasses, os, time
import numpy as np

calls = 0

@dataclasses.dataclass(frozen=True)
class Ramp:
    shape, frequencies, times = (64,), None, np.arange(64.0)

    def __call__(self, windows):
        global calls
        calls += 1
        if calls > 6 and os.path.exists("hold"):
            open("held", "w").close()
            until = time.monotonic() + 100
            while os.path.exists("hold") and time.monotonic() < until:
                time.sleep(0.005)
        return windows[:, :1] * np.linspace(1, 2, 64) ** windows[:, 1:2] ** 2
"""
WINDOWS = 9000
REGIONS = 3
# To be run before a command: two jobs on one store must agree on it.
LEASE = "pipeline.locks.lock.LEASE_SECONDS = 1.5\n"
ELSEWHERE = LEASE + "import socket; socket.gethostname = lambda: 'elsewhere'\n"


class Workplace:
    """A folder with a recording, and a job on it of three regions, done by one thread."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._hold = folder / "hold"
        folder.mkdir(exist_ok=True)
        (folder / "ramp.py").write_text(FEATURE)
        (folder / "one.yaml").write_text("clusters: {threads: {threads: 1}}")
        write_recording(folder / "a.wav")

    def extract(
        self, out: object, *options: object, before: str = "", wav: str = "a.wav"
    ) -> Command:
        """Start the job."""
        fixed = "--window 0.004 --feature ramp:Ramp --cluster one.yaml --retries 0 --out"
        arguments = ("extract", wav, *fixed.split(), out, *options)
        return start(*arguments, cwd=self.folder, before=before)

    def undisturbed(self, out: str) -> dict[str, str]:
        """What the job stores when nothing disturbs it."""
        assert self.extract(out).wait().code == 0
        return stored(self.folder / out)

    def run(self, *arguments: object) -> Ended:
        """Run another verb."""
        return start(*arguments, cwd=self.folder).wait()

    def held(self, out: object, *options: object, before: str = "", wav: str = "a.wav") -> Command:
        """Start the job; it has done the first region, and waits within the second."""
        self._hold.touch()
        (self.folder / "held").unlink(missing_ok=True)
        running = self.extract(out, *options, before=before, wav=wav)
        path = self.folder / str(out)
        wait_for(lambda: ((self.folder / "held").exists() and done_regions(path)) or running.poll())
        assert running.poll() is None, running.wait()
        return running

    def release(self) -> None:
        """Let the job that was held go on."""
        self._hold.unlink()


def write_recording(path: Path, seed: int = 0, windows: int = WINDOWS) -> None:
    samples = 0.1 * np.random.default_rng(seed).standard_normal(8 * windows)
    soundfile.write(path, samples, 2000)


class Ended(NamedTuple):
    """How a command ended, and what it wrote."""

    code: int
    out: str
    err: str


class Command:
    """A command that runs, or has ended."""

    def __init__(self, pid: int, output: Path) -> None:
        self.pid = pid
        self._output = output
        self._code: int | None = None

    def poll(self) -> int | None:
        """The exit code, negative if a signal ended it; None while it runs."""
        if self._code is None:
            self._code = _ask(self.pid)
        return self._code

    def said(self) -> str:
        """What it has written to standard error so far."""
        return (self._output / "err").read_text()

    def printed(self) -> str:
        """What it has written to standard output so far."""
        out = self._output / "out"
        return out.read_text() if out.exists() else ""

    def wait(self) -> Ended:
        """Wait for its end."""
        wait_for(lambda: self.poll() is not None)
        code = self.poll()
        assert code is not None
        out, err = ((self._output / name).read_text() for name in ("out", "err"))
        return Ended(code, out, err)


def start(*arguments: object, cwd: Path, before: str = "") -> Command:
    """Start a command, after running code in its process."""
    output = Path(tempfile.mkdtemp(dir=_server()[1]))
    request = {
        "arguments": [*map(str, arguments)],
        "cwd": str(cwd),
        "before": before,
        **{name: str(output / name) for name in ("out", "err")},
    }
    return Command(_ask(request), output)


def wait_for(condition: Callable[[], object], seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "what was waited for did not come"
        time.sleep(0.005)


def _ask(request: Any) -> Any:
    server, _ = _server()
    assert server.stdin is not None
    assert server.stdout is not None
    server.stdin.write(json.dumps(request) + "\n")
    server.stdin.flush()
    return json.loads(server.stdout.readline())


@cache
def _server() -> tuple[subprocess.Popen[str], Path]:
    folder = tempfile.TemporaryDirectory(prefix="commands-")
    server = subprocess.Popen(
        [sys.executable, "-W", "ignore:This process:DeprecationWarning", "-c", SERVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def end() -> None:
        server.communicate(timeout=10)
        folder.cleanup()

    atexit.register(end)
    return server, Path(folder.name)
