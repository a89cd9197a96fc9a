"""Kill a job anywhere, give the same command again: it goes on, and loses nothing."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from commands import REGIONS, Workplace, start, wait_for
from conftest import (
    COMMAND,
    ROOT,
    SHIPPED,
    SLOW,
    Write,
    done_regions,
    record_folder,
    stored,
    wait_until,
)

import pipeline as pl
from pipeline.job.verification import verify

# Interrupts the process that imports it when that comes to what takes time to import.
EARLY = """
import os, signal, sys

class Finder:
    def find_spec(self, name, *more):
        if name == os.environ["EARLY"]:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Finder())
"""
# Interrupts the process when its first thread has taken a lock of the executor, to hand it the
# second region; the thread of the executor wants the lock when it has done that region.
HOLDING = """
import os, signal, threading
from concurrent.futures.thread import ThreadPoolExecutor

class Interrupting(threading.Condition):
    entered = 0

    def __enter__(self):
        self._lock.__enter__()
        if threading.current_thread() is threading.main_thread():
            self.entered += 1
            if self.entered == 2:
                os.kill(os.getpid(), signal.SIGINT)

make = ThreadPoolExecutor.__init__

def made(self, *arguments, **more):
    make(self, *arguments, **more)
    self._idle_semaphore._cond = Interrupting(threading.Lock())

ThreadPoolExecutor.__init__ = made
"""
KILLS = {"threads": 12, "local": 8}
INTERRUPTED = "interrupted; the same command goes on where it was"
WAITING = "interrupted: what is under way is brought to an end first; Ctrl-C again ends at once"


@pytest.fixture(scope="module")
def killing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, subprocess.Popen[str]]]:
    """The script at work for each engine, while other tests wait for what they do."""
    processes = {}
    for engine, kills in KILLS.items():
        command = [sys.executable, f"{ROOT}/scripts/measure/kill", "--kills", str(kills)]
        command += ["--engine", engine, "--folder", str(tmp_path_factory.mktemp(engine))]
        command += ["--minutes", "20"]
        processes[engine] = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment()
        )
    yield processes
    for process in processes.values():
        with process, suppress(psutil.NoSuchProcess):
            own = psutil.Process(process.pid)
            for one in [*own.children(recursive=True), own]:
                with suppress(psutil.NoSuchProcess):
                    one.kill()


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), **more}


def session(leader: int) -> list[list[str]]:
    """Commands of the living processes that a process started."""
    found = []
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == leader and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.cmdline())
        except (ProcessLookupError, psutil.Error):
            continue
    return found


def begun(out: Path) -> int:
    """How many regions are recorded, the last line not being whole perhaps."""
    logs = record_folder(out).glob("log/*.jsonl")
    return sum(log.read_bytes().count(b'"kind":"done"') for log in logs)


@pytest.mark.usefixtures("killing")
@pytest.mark.parametrize(
    ("engine", "ending", "number"),
    [
        ("threads", "zarr", signal.SIGTERM),
        ("threads", "h5", signal.SIGINT),
        ("local", "zarr", signal.SIGINT),
        ("local", "h5", signal.SIGTERM),
    ],
)
def test_a_job_that_is_interrupted_says_so_and_goes_on(
    write_wav: Write,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    engine: str,
    ending: str,
    number: signal.Signals,
) -> None:
    (tmp_path / "slow.py").write_text(SLOW)
    monkeypatch.syspath_prepend(tmp_path)
    slow = importlib.import_module("slow").Slow()
    source, out = write_wav(seconds=2000.3, samplerate=1000), tmp_path / f"x.{ending}"
    command = [sys.executable, "-m", "pipeline", "extract", str(source), "--out", str(out)]
    command += ["--feature", "slow:Slow", "--window", "0.05"]
    command += ["--cluster", f"{SHIPPED}:{engine}"]
    # Not where others leave what their killed workers had, which each would remove, and tell of.
    own = {"DASK_TEMPORARY_DIRECTORY": str(tmp_path)}
    environ = environment(SLOW="0.2", PYTHONPATH=f"{ROOT}:{tmp_path}", **own)
    running = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env=environ, start_new_session=True
    )
    while running.poll() is None and not begun(out):
        time.sleep(0.01)
    if number == signal.SIGINT:  # as a terminal does at Ctrl-C
        os.killpg(running.pid, number)
    else:
        running.send_signal(number)
    _, err = running.communicate()
    said = [line for line in err.split("\n") if line and "dashboard: " not in line]
    assert said in ([INTERRUPTED], [WAITING, INTERRUPTED])
    assert running.returncode == 130
    assert wait_until(lambda: not session(running.pid))
    assert list(tmp_path.glob(".*")) == []
    before = begun(out)
    report = pl.extract(source, out, slow, window=0.05)
    assert report.ok
    assert report.computed == report.regions - before
    whole = tmp_path / "whole" / out.name
    assert pl.extract(source, whole, slow, window=0.05).ok
    assert stored(out) == stored(whole)
    assert verify(out) == []


def test_a_second_ctrl_c_ends_at_once(tmp_path: Path) -> None:
    place = Workplace(tmp_path)
    running = place.held("x.zarr")  # within a call of the feature, which does not end
    os.kill(running.pid, signal.SIGINT)
    wait_for(lambda: WAITING in running.said())
    os.kill(running.pid, signal.SIGINT)
    assert running.wait().code == 130
    place.release()
    ended = place.extract("x.zarr").wait()
    assert ended.code == 0
    assert f"{REGIONS - 1} computed now" in ended.err
    assert verify(tmp_path / "x.zarr") == []
    assert list(tmp_path.glob(".*")) == []


def test_ctrl_c_while_the_first_thread_holds_a_lock_ends_the_job(tmp_path: Path) -> None:
    ended = Workplace(tmp_path).extract("x.zarr", before=HOLDING).wait()
    assert (ended.code, ended.err.strip()) == (130, INTERRUPTED)


@pytest.mark.parametrize("verb", ["plan", "batches"])
def test_a_command_that_cannot_go_on_does_not_say_so(tmp_path: Path, verb: str) -> None:
    place = Workplace(tmp_path)
    interrupt = "import os, signal, pipeline.job.plan, pipeline.training.batches\n"
    interrupt += "def stop(*arguments, **more): os.kill(os.getpid(), signal.SIGINT)\n"
    interrupt += "pipeline.job.plan.Plan.make = pipeline.training.batches.Batches = stop"
    options = ["a.wav", "--out", "x.zarr"] if verb == "plan" else ["x.zarr", "--batch-size", "1"]
    ended = start(verb, *options, cwd=place.folder, before=interrupt).wait()
    assert (ended.code, ended.out, ended.err.strip()) == (130, "", "interrupted")


@pytest.mark.parametrize("module", ["lazy_loader", "click"])
@pytest.mark.parametrize("command", [["-m", "pipeline"], [str(COMMAND)]])
def test_ctrl_c_before_a_command_has_begun_ends_it_without_a_word(
    tmp_path: Path, command: list[str], module: str
) -> None:
    (tmp_path / "sitecustomize.py").write_text(EARLY)
    environ = environment(EARLY=module, PYTHONPATH=f"{tmp_path}:{ROOT}")
    done = subprocess.run(
        [sys.executable, *command, "--version"], env=environ, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


@pytest.mark.parametrize(("ending", "number"), [("zarr", signal.SIGKILL), ("h5", signal.SIGTERM)])
def test_a_job_that_overwrites_goes_on_with_what_is_its_own(
    tmp_path: Path, ending: str, number: signal.Signals
) -> None:
    """So a script with --overwrite that is handed in again and again comes to an end."""
    place, out = Workplace(tmp_path), tmp_path / f"x.{ending}"
    other = place.extract(out, "--hop", "0.008").wait()
    assert (other.code, "4500 windows in " in other.err) == (0, True)
    running = place.held(out, "--overwrite")
    os.kill(running.pid, number)
    place.release()
    assert running.wait().code == (-number if number == signal.SIGKILL else 130)
    done = done_regions(out)
    for left in (REGIONS - done, 0):
        ended = place.extract(out, "--overwrite").wait()
        assert ended.code == 0
        assert f"{REGIONS} regions, {left} computed now" in ended.err
        assert f"{out} is of this very job, so nothing is removed, and it goes on" in ended.err
    whole = tmp_path / f"whole.{ending}"
    assert place.extract(whole).wait().code == 0
    assert stored(out) == stored(whole)
    assert verify(out) == []


@pytest.mark.parametrize("engine", KILLS)
def test_a_job_that_is_killed_goes_on_and_loses_nothing(
    killing: dict[str, subprocess.Popen[str]], engine: str
) -> None:
    printed, _ = killing[engine].communicate()
    assert killing[engine].returncode == 0, printed
    targets = {"client"} if engine == "threads" else {"client", "worker", "workers"}
    rows = [line.split() for line in printed.splitlines()]
    assert {row[2] for row in rows if row and row[0] == engine and row[2].isalpha()} == targets
    assert next(int(row[-1]) for row in rows if row and row[0] == "all") >= KILLS[engine]
