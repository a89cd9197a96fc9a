"""How variables are attached to a store while somebody kills it, or looks at it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Kills the process before, or after, it puts a file of the store in place for the n-th time.
KILL = """
import os, signal
real, left = os.replace, [{n}]
def replace(source, target):
    left[0] -= ".lock" not in str(target)
    if not left[0] and {before}:
        os.kill(os.getpid(), signal.SIGKILL)
    real(source, target)
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
os.replace = replace
"""


def look(
    one: Callable[[Path], Any], out: Path, stop: threading.Event, errors: list[BaseException]
) -> None:
    """Look at a store until that is to stop, or fails, or finds damage."""
    try:
        while not stop.is_set():
            found = one(out)
            assert not isinstance(found, list) or found == [], found
    except BaseException as error:
        errors.append(error)
