"""Walltime: how long a job may run as its system writes it, and when a worker should leave."""

import re

MINUTE, HOUR, DAY = 60, 3600, 86400
# Seconds of a number alone, and of the first of two numbers; the first of three counts hours.
UNITS = {
    "slurm": (MINUTE, MINUTE),
    "pbs": (1, MINUTE),
    "moab": (1, MINUTE),
    "sge": (1, MINUTE),
    "lsf": (MINUTE, HOUR),
    "oar": (HOUR, HOUR),
}
STAGGER = 20  # of the walltime, so that workers that began together do not leave together
MOST_STAGGER = 300
LEAVING = 60  # seconds for a job to begin its worker and to end after it


def walltime_seconds(walltime: str | int, system: str) -> int | None:
    """Seconds of a walltime, such as ``01:30:00``; None where it says that there is no limit.

    Systems write it differently; `system` is as dask-jobqueue names it: ``slurm``, ``pbs``, ...
    """
    text = str(walltime).strip()
    if text.lower() in ("unlimited", "infinite", "-1"):
        return None
    found = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", text)
    if not found or system not in UNITS:
        raise ValueError(f"walltime is {walltime!r}; it must be a time such as '01:30:00'")
    days, *rest = found.groups()
    fields = [int(part) for part in rest if part is not None]
    if days is not None:  # days-hours:minutes:seconds, from the left
        return int(days) * DAY + _sum(fields, HOUR)
    alone, first = UNITS[system]
    return _sum(fields, (alone, first, HOUR)[len(fields) - 1])


def _sum(fields: list[int], unit: int) -> int:
    """Seconds of numbers of which the first counts such units, each next one 60 times smaller."""
    return sum(number * unit // MINUTE**i for i, number in enumerate(fields))


def lifetime_arguments(seconds: int) -> list[str]:
    """Arguments of ``dask worker`` with which it leaves before a job of so many seconds ends."""
    stagger = min(MOST_STAGGER, seconds // STAGGER)
    lifetime = seconds - 2 * stagger - min(LEAVING, seconds // 6)
    return ["--lifetime", f"{lifetime}s", "--lifetime-stagger", f"{stagger}s"]
