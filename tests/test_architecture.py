"""The structure is what the file list says: imports point down, one door each."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import pipeline

PACKAGE = Path(pipeline.__file__).parent

ORDER = [
    *("interrupts", "checks", "process", "grid"),
    *("features.plain_values", "features.feature", "features.frames", "features.kernels"),
    *("features.normalization", "features.spectrogram", "features.registry"),
    *("features.identity", "features"),
    *("labels", "layout", "share"),
    *("buckets", "remote", "remote_file", "tables"),
    *("ogg", "mpeg", "riff", "arrays", "sound_files", "sound_readers", "readers", "label_files"),
    *("resampling", "folders", "manifest", "remote_sources", "sources", "recordings", "windows"),
    *("files", "log", "record", "lease", "object_lease", "lock", "shards"),
    *("zarr_group", "zarr_store", "remote_store", "hdf5_file", "hdf5_store", "store"),
    *("limits", "versions", "numerics", "config", "cluster"),
    *("walltime", "security", "managers", "capacity", "workers", "submissions"),
    *("connection", "engine"),
    *("lost", "plan", "needs", "creation", "regions", "attempts", "report"),
    *("execution", "job", "verify", "order", "batches", "streaming", "summary", "plots", "demo"),
    *("cli", "__init__", "__main__"),
]

DOORS = {
    "soundfile": {"sound_files", "sound_readers", "readers", "numerics"},
    "soxr": {"resampling", "numerics"},
    "zarr": {"zarr_group", "remote_store"},
    "numcodecs": {"shards"},
    "h5py": {"arrays", "label_files", "hdf5_file", "hdf5_store", "demo"},
    "google_crc32c": {"files", "record", "shards"},
    "filelock": {"lease"},
    "obstore": {"buckets", "remote"},
    "dask": {"process", "windows", "regions", "connection", "managers", "capacity"},
    "distributed": {
        "connection",
        "engine",
        "managers",
        "capacity",
        "security",
        "submissions",
        "workers",
    },
    "threadpoolctl": {"process", "numerics"},
    "psutil": {"limits", "security"},
    "yaml": {"config"},
    "cloudpickle": {"needs"},
    "click": {"cli"},
    "tqdm": {"cli"},
    "matplotlib": {"plots"},
    "scipy": {"features.frames", "features.kernels"},
    "lazy_loader": {"features"},
}

PURE = {"checks", "grid", "labels", "share", *(name for name in ORDER if "features" in name)}
PURE_MAY = {"numpy", "scipy", "lazy_loader", "pipeline"}


def module_of(path: Path) -> str:
    """The name of a file: of a wing's __init__ that of the wing."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")


FILES = {module_of(path): path for path in PACKAGE.rglob("*.py")}


def imports(name: str) -> Iterator[str]:
    """All modules that a file imports, inside functions too."""
    for node in ast.walk(ast.parse(FILES[name].read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} imports relatively"
            yield node.module or ""


def test_every_file_has_its_place() -> None:
    assert sorted(FILES) == sorted(ORDER)


@pytest.mark.parametrize("name", ORDER)
def test_imports_point_down(name: str) -> None:
    for module in imports(name):
        if module.startswith("pipeline."):
            imported = module.removeprefix("pipeline.")
            assert ORDER.index(imported) < ORDER.index(name), f"{name} imports {imported}"


@pytest.mark.parametrize("name", ORDER)
def test_each_dependency_has_one_door(name: str) -> None:
    for module in imports(name):
        top = module.partition(".")[0]
        if top not in sys.stdlib_module_names | {"pipeline", "numpy"}:
            assert name in DOORS[top], f"{name} imports {module}"
        if name in PURE and top not in sys.stdlib_module_names:
            assert top in PURE_MAY


def test_importing_the_package_loads_nothing_slow_that_it_may_not_need() -> None:
    code = "import sys, pipeline; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"distributed", "matplotlib", "obstore", "scipy.signal"} & set(
        done.stdout.split()
    ) == set()


def test_what_is_public_is_documented() -> None:
    for name in pipeline.__all__:
        found = getattr(pipeline, name)
        assert found.__doc__, name
        if isinstance(found, type) or not callable(found):
            continue
        for section in ("Parameters", "Returns", "Raises"):
            text = inspect.cleandoc(found.__doc__).replace("Yields", "Returns")
            assert f"{section}\n---" in text, f"{name} lacks {section}"
