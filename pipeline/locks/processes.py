"""Processes of this host: whether one lives, and whether it is still the same one."""

from pathlib import Path

PROC = Path("/proc/self")  # of Linux


def namespace() -> int:
    """Within what the numbers of processes count: a container may have the host's name."""
    space = PROC / "ns" / "pid"
    return space.stat().st_ino if space.exists() else 0


def began(pid: int) -> str | None:
    """When a process began, as the system counts it; None if there is none."""
    if PROC.exists():  # in ticks since the host was started: no clock that is set changes it
        try:
            return (PROC.parent / f"{pid}/stat").read_text().rpartition(")")[2].split()[19]
        except (OSError, IndexError):
            return None
    import psutil

    try:
        return str(psutil.Process(pid).create_time())
    except psutil.Error:
        return None


def is_stopped(pid: int) -> bool | None:
    """Whether a process was stopped, and may go on; None if there is none."""
    import psutil

    try:
        return psutil.Process(pid).status() in (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP)
    except psutil.Error:
        return None
