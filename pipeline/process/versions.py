"""Versions: of all that decides the stored bits, here and on a worker."""

from __future__ import annotations

import hashlib
import sys
from functools import cache
from importlib.metadata import version
from pathlib import Path

OWN = "dask-audio-pipeline"
STORED = (OWN, "numpy", "scipy", "soundfile", "soxr", "h5py", "zarr", "numcodecs")
SPOKEN = ("dask", "distributed", "cloudpickle")


@cache
def installed_versions() -> dict[str, str]:
    """Versions in this process, of Python, of this package and of those it builds on.

    That of this package goes by its code, too: one that was changed after it was
    installed is another.
    """
    code = hashlib.sha256()
    for path in sorted(Path(__file__).parents[1].rglob("*.py")):
        code.update(path.read_bytes())
    found = {name: version(name) for name in (*STORED, *SPOKEN)}
    found[OWN] += f" (code {code.hexdigest()[:8]})"
    return {"python": "{}.{}".format(*sys.version_info), **found}


def difference(theirs: dict[str, str]) -> str | None:
    """The first version in which this process and another differ; both are named."""
    for name, own in installed_versions().items():
        if theirs.get(name) != own:
            return f"{name} {own} where the client has {theirs.get(name, 'none')}"
    return None
