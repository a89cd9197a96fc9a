"""A process forked at any moment reads audio as it is, and so does the one it was forked from."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pipeline import WindowGrid, scan
from pipeline.recordings import read_windows

Run = Callable[[str, str], str]

BEGIN = """if True:
    import os, sys, threading, warnings
    import numpy as np
    from pipeline import WindowGrid, scan
    from pipeline.recordings import read_windows

    warnings.simplefilter("ignore")  # of threads and forks, in Python 3.12
    recordings = scan(sys.argv[1])
    grid = WindowGrid(recordings)
    whole = np.load("whole.npy")

    def check(t, n=7):
        read = read_windows(recordings, grid[t : t + n])
        assert np.array_equal(read, whole[t : t + n], equal_nan=True), t

    def fork(work):
        pid = os.fork()
        if pid:
            return pid
        try:
            work()
            os._exit(41)
        finally:
            os._exit(1)

    def ended(pid):
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
"""
IN_TURN = """
    for t in range(0, 14, 7):
        check(t)
    there, here = os.pipe(), os.pipe()

    def child():
        for t in range(14, len(grid), 7):
            check(t)
            os.write(here[1], b".")
            os.read(there[0], 1)

    pid = fork(child)
    os.close(here[1])
    for t in range(14, len(grid), 7):
        os.read(here[0], 1)
        check(t)
        os.write(there[1], b".")
    check(0)
    print(ended(pid))
"""
WHILE_READING = """
    def read_on():
        while not stop.is_set():
            for t in range(0, len(grid), 7):
                check(t)

    def child():
        for t in range(0, len(grid), 7):
            check(t)
        os.write(done[1], b".")
        os.read(quiet[0], 1)  # alive, with all that it was forked with

    stop, quiet, done = threading.Event(), os.pipe(), os.pipe()
    threads = [threading.Thread(target=read_on) for _ in range(2)]
    for thread in threads:
        thread.start()
    pids = []
    for _ in range(6):
        pids.append(fork(child))
        os.read(done[0], 1)
    stop.set()
    for thread in threads:
        thread.join()
    for t in range(0, len(grid), 7):
        check(t)
    os.write(quiet[1], b"." * len(pids))
    print(set(map(ended, pids)))
"""


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs a script over a file; what it prints."""

    def run(script: str, name: str) -> str:
        kind = {"x.wav": "GSM610"}.get(name)
        samples = np.random.default_rng(0).uniform(-0.5, 0.5, 30 * 16000)
        soundfile.write(tmp_path / name, samples, 16000, kind)
        if name == "cut.mp3":
            data = (tmp_path / name).read_bytes()
            (tmp_path / name).write_bytes(data[: 2 * len(data) // 3])
        recordings = scan(tmp_path / name)
        np.save(tmp_path / "whole", read_windows(recordings, WindowGrid(recordings)))
        command = [sys.executable, "-c", BEGIN + script, name]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return run


@pytest.mark.parametrize("name", ["x.mp3", "x.wav", "cut.mp3"])
def test_both_processes_read_on_where_they_were_before_the_fork(run: Run, name: str) -> None:
    assert run(IN_TURN, name) == "41"


@pytest.mark.parametrize("name", ["x.mp3", "x.wav", "cut.mp3"])
def test_processes_forked_while_threads_read_read_as_well_and_keep_nobody_waiting(
    run: Run, name: str
) -> None:
    assert run(WHILE_READING, name) == "{41}"
