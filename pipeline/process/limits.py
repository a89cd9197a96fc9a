"""Limits: how much memory this process may use, and what sets that limit."""

import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psutil

GROUPS = Path("/sys/fs/cgroup")
OTHERWISE_OPEN = 512  # files, by the C library of Windows
FILES = ("memory.max", "memory.high", "memory.limit_in_bytes")  # two of version 2, one of 1


class MemoryLimit(NamedTuple):
    """Bytes of memory, and the words before them in a sentence, such as "the machine has"."""

    n_bytes: int
    words: str


def memory_limit() -> MemoryLimit:
    """The lowest limit of the machine, the control groups and ``ulimit``."""
    machine = MemoryLimit(psutil.virtual_memory().total, "the machine has")
    return min([machine, *_of_groups(), *_of_ulimit()])


def most_open_files() -> int:
    """How many files the system lets this process have open at once."""
    try:
        import resource
    except ImportError:  # another system
        return OTHERWISE_OPEN
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft


def resident_bytes() -> int:
    """Memory that this process has now."""
    return int(psutil.Process().memory_info().rss)


def _of_groups() -> Iterator[MemoryLimit]:
    """Limits of its control groups (cgroups(7)), which batch systems and containers make."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:  # another system
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        root = GROUPS / "memory" if controllers else GROUPS
        # In a container, its own group may be the root of what can be seen.
        group = root / path.strip("/") if ".." not in path else root
        for folder in (group, *group.parents):
            for name in FILES:
                with suppress(OSError, ValueError):  # not there, or "max"
                    n_bytes = int((folder / name).read_text())
                    yield MemoryLimit(n_bytes, "the control group of this process allows")
            if folder == root:
                break


def _of_ulimit() -> Iterator[MemoryLimit]:
    try:
        import resource
    except ImportError:  # another system
        return
    has = psutil.Process().memory_info()
    counted = {  # bytes of this process that each of them counts, used or not
        resource.RLIMIT_AS: has.vms,
        resource.RLIMIT_DATA: getattr(has, "data", has.rss),
        resource.RLIMIT_RSS: has.rss,
    }
    for which, n_bytes in counted.items():
        soft, _ = resource.getrlimit(which)
        if soft != resource.RLIM_INFINITY:
            yield MemoryLimit(max(0, soft - n_bytes + has.rss), "ulimit leaves it")
