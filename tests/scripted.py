"""A feature that fails as a script says, in a module that workers can import quickly."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import signal
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["REGION", "Scripted", "attempts", "times"]

Array = npt.NDArray[Any]
REGION = 2  # windows


class UnpicklableError(Exception):
    """Holds what cannot be sent to another process."""

    def __init__(self) -> None:
        super().__init__("it holds a lock")
        self.lock = threading.Lock()


class MuteError(Exception):
    """Cannot say what it is."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


def act(action: str) -> None:
    """What happens to an attempt."""
    if action == "eio":
        raise OSError(errno.EIO, os.strerror(errno.EIO))
    if action == "timeout":
        raise TimeoutError("it took too long")
    if action == "bug":
        raise RuntimeError("no luck")
    if action == "memory":
        raise MemoryError("too large")
    if action == "exit":
        raise SystemExit(3)
    if action == "unpicklable":
        raise UnpicklableError
    if action == "mute":
        raise MuteError
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if action == "abort":
        os.abort()
    if action == "null":
        ctypes.string_at(0)
    if action == "slow":
        time.sleep(0.2)


@dataclass(frozen=True)
class Scripted:
    """The first sample of each window, which is its number.

    In its folder is what happens at each attempt of a region, the last for
    ever, and a log of the attempts.
    """

    folder: str

    shape = (1,)
    frequencies = np.zeros(1)
    times = None

    def __call__(self, windows: Array) -> Array:
        region = int(windows[0, 0]) // REGION
        script = json.loads(Path(self.folder, "script.json").read_text())
        actions = script.get(str(region), ["ok"])
        tried = attempts(self.folder)[region]
        log = os.open(Path(self.folder, "log"), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(log, f"{region} {time.monotonic()}\n".encode())
        os.close(log)
        act(actions[min(tried, len(actions) - 1)])
        return windows[:, :1]


def times(folder: str | Path) -> list[tuple[int, float]]:
    """Region and time of each attempt, in order."""
    log = Path(folder, "log")
    lines = log.read_text().splitlines() if log.exists() else []
    return [(int(region), float(at)) for region, at in map(str.split, lines)]


def attempts(folder: str | Path) -> Counter[int]:
    """How often each region was tried."""
    return Counter(region for region, _ in times(folder))


def serve(file: str) -> None:
    """A scheduler with a worker of two threads, both in this process, until it is killed."""
    from distributed import LocalCluster

    options = {"n_workers": 1, "threads_per_worker": 2, "dashboard_address": "127.0.0.1:0"}
    with LocalCluster(processes=False, protocol="tcp", **options) as running:
        Path(f"{file}.partial").write_text(running.scheduler_address)
        os.replace(f"{file}.partial", file)
        time.sleep(600)
