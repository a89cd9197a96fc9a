"""Versions of all that decides the stored bits, in this process and on a worker."""

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
    """Versions of Python, of this package with a digest of its code, and of what it builds on."""
    code = hashlib.sha256()
    for path in sorted(Path(__file__).parents[1].rglob("*.py")):
        code.update(path.read_bytes())
    found = {name: version(name) for name in (*STORED, *SPOKEN)}
    found[OWN] += f" (code {code.hexdigest()[:8]})"
    return {"python": "{}.{}".format(*sys.version_info), **found}


def difference(theirs: dict[str, str]) -> str | None:
    """The first version in which this process differs from a client, in words."""
    for name, own in installed_versions().items():
        if theirs.get(name) != own:
            return f"{name} {own} where the client has {theirs.get(name, 'none')}"
    return None
