"""cluster.yaml: where a job runs, as one entry of a file says it."""

import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.checks import reject_unknown, whole
from pipeline.process import cores
from pipeline.yaml_files import load_yaml

# What each key but `threads` may be, and how that is said.
KINDS: dict[str, tuple[tuple[type, ...], str]] = {
    "class": ((str,), "text"),
    "options": ((dict,), "names and values"),
    "scale": ((int, dict), "a whole number of at least 1, or names and values"),
    "adapt": ((dict,), "names and values"),
    "address": ((str,), "text"),
    "security": ((bool, dict), "true, false, or names and values"),
}


@dataclass(frozen=True)
class Cluster:
    """One entry of cluster.yaml, with one of `threads`, `manager` and `address`."""

    name: str = "threads"
    threads: int | None = None  # of this process
    manager: str | None = None  # full name of a Dask cluster class
    options: dict[str, Any] = field(default_factory=dict)  # keyword arguments of the class
    scale: int | dict[str, Any] | None = None  # workers to keep, or arguments of its `scale`
    adapt: dict[str, Any] | None = None  # arguments of its `adapt`
    address: str | None = None  # of a running scheduler
    # Whether to encrypt, or arguments of Dask's `Security`; None: what others can reach.
    security: bool | dict[str, Any] | None = None

    @property
    def most_workers(self) -> float:
        """How many workers there may be, by scale and adapt; infinity where they do not say."""
        if self.adapt is not None:
            return self.adapt.get("maximum") or math.inf
        if isinstance(self.scale, dict):
            return self.scale.get("n") or math.inf
        return self.scale or 1


def load_cluster(where: str | os.PathLike[str] | None) -> Cluster:
    """The entry at ``cluster.yaml`` or ``cluster.yaml:NAME``; threads of this process if None."""
    if where is None:
        return Cluster(threads=cores())
    path, name = Path(where), None
    if not path.exists() and ":" in os.fspath(where):
        file, _, name = os.fspath(where).rpartition(":")
        path = Path(file)
    values = load_yaml(path)
    reject_unknown(values, ("default", "clusters"), f"key of {path}")
    entries = values.get("clusters")
    if not isinstance(entries, dict) or not entries:
        raise ValueError(f"{path} names no clusters; list them under 'clusters:'")
    for entry in (*entries, values.get("default", "")):
        if not isinstance(entry, str):
            raise ValueError(f"{path} names a cluster {entry!r}, which is no text; quote it")
    name = name or values.get("default", "threads" if "threads" in entries else None)
    if name is None:
        raise ValueError(f"{path} has no 'default:'; pass {path}:NAME, of {', '.join(entries)}")
    reject_unknown([name], entries, f"cluster of {path}")
    try:
        return _parse(name, entries[name])
    except ValueError as error:
        raise ValueError(f"{path}: cluster {name!r}: {error}") from error


def _parse(name: str, entry: object) -> Cluster:
    if not isinstance(entry, dict):
        raise ValueError("it is empty; set threads, class or address")
    reject_unknown(entry, ("threads", *KINDS), "key")
    kinds = [key for key in ("threads", "class", "address") if key in entry]
    if len(kinds) != 1:
        given = " and ".join(kinds) or "none"
        raise ValueError(f"{given} of threads, class and address is set; set exactly one")
    extra = entry.keys() - kinds
    if kinds != ["class"] and (extra := extra - ({"security"} if kinds == ["address"] else set())):
        raise ValueError(f"{', '.join(sorted(extra))} goes with class, not with {kinds[0]}")
    if "scale" in entry and "adapt" in entry:
        raise ValueError("both scale and adapt are set; keep one of them")
    threads, scale = entry.get("threads"), entry.get("scale")
    if threads == "auto":
        threads = cores()
    for key, number in (("threads", threads), ("scale", scale)):
        if number is not None and not isinstance(number, dict):
            whole(key, number, 1, "of at least 1")
    for key, (types, what) in KINDS.items():
        if key in entry and not isinstance(entry[key], types):
            raise ValueError(f"{key} is {entry[key]!r}; it must be {what}")
    values = {"manager" if key == "class" else key: value for key, value in entry.items()}
    return Cluster(name, **values | {"threads": threads})
