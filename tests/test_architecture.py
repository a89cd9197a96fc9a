"""The structure is what the file list says.

ORDER is the house, from the ground up: a line for each wing, with its files, and for each
file that stands by itself. A file imports only what stands before it, inside functions too;
of another wing only what the `__init__` of that wing exports.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from runpy import run_path

import pytest
from conftest import ROOT, loaded

import pipeline

PACKAGE = Path(pipeline.__file__).parent

ORDER: dict[str, tuple[str, ...]] = {
    "checks": (),
    "amounts": (),
    "text": (),
    "html": (),
    "steps": (),
    "yaml_files": (),
    "interrupts": (),
    "process": ("limits", "resources", "numerics", "versions"),
    "grid": (),
    "layout": (),
    "share": (),
    "paths": ("buckets", "remote", "ranges", "whole_files", "tables"),
    "audio": (
        *("header", "riff", "ogg", "mpeg", "arrays", "sound_files", "lengths", "sound_readers"),
        *("readers", "resampling"),
    ),
    "recordings": (
        *(
            "times",
            "starts",
            "timeline",
            "file_names",
            "folders",
            "manifest",
            "remote_sources",
            "sources",
        ),
        *("recording", "summary", "recordings", "scanning", "open_files", "blocks"),
    ),
    "kernels": (
        *("taper", "frames", "padding", "placement", "power", "mel", "scale"),
        *("cepstrum", "gaincontrol", "welch", "bands", "soundscape", "halves", "moments"),
    ),
    "models": ("files", "session"),
    "features": (
        *("plain_values", "feature", "window_feature", "spectrogram"),
        *("melparameters", "melsums", "mellevels", "melspectrogram", "mfcc", "pcen"),
        *("levels", "indices", "waveform", "onnx"),
        *("computation", "registry", "identity"),
    ),
    "labels": (
        *("values", "files", "events", "text", "cells"),
        *("formats.format", "formats.tiers", "formats.tables", "formats.plain", "formats.raven"),
        *("formats.audacity", "formats.nist", "formats.textgrid", "formats.elan", "formats.aoef"),
        *("formats.subtitles", "formats.birdnet", "formats.kaleidoscope", "formats.aplose"),
        *("formats.audioset", "formats.dcase", "formats.crowsetta", "formats.songexplorer"),
        "formats.registry",
        *(
            "windows",
            "labelling",
            "collecting",
            "matching",
            "placing",
            "event_labels",
            "heard",
            "joining",
        ),
    ),
    "windows": (),
    "scattered": (),
    "settings": (),
    "inputs": (),
    "record": ("log", "lines", "entries", "additions", "state", "record"),
    "store": (
        *("encoding", "schema", "checksums", "file_parts", "shards", "store"),
        *("zarr_arrays", "zarr_group", "zarr_store", "remote_store"),
        *("hdf5_files", "hdf5_store", "attaching", "opening", "packing"),
    ),
    "locks": ("processes", "lease", "object_lease", "lock"),
    "cluster": (
        *("entry", "walltime", "security", "managers", "capacity", "workers"),
        *("connection", "engine"),
    ),
    "job": (
        *(
            "identity",
            "label_variables",
            "projection",
            "summary",
            "plan",
            "begun",
            "preflight",
            "setup",
        ),
        *("regions", "retry", "report", "execution", "extraction", "verification", "split_counts"),
        *("status", "pace", "watching", "stored_windows", "stored_events", "relabelling"),
    ),
    "training": (
        *("order", "weighting", "augmentation", "normalization", "stored_labels", "sources"),
        *("reading", "summary"),
        *("recording_groups", "splitting", "stored_split"),
        *("adaptors.contract", "adaptors.torch", "adaptors.keras", "adaptors.jax"),
        *("adaptors.grain", "adaptors.tensorflow"),
        *("batches", "row_statistics", "streaming"),
    ),
    "datasets": ("variables", "arrays", "opening"),
    "views": (
        *("class_rows", "event_marks", "figures", "sample", "scales", "time_axis"),
        *("feature_panels", "plots", "recording_plot", "class_plot", "thumbnails"),
    ),
    "reports": (
        *("window_states", "coverage", "label_counts", "throughput", "reading", "values"),
        *("recording_rows", "sounds", "pictures", "findings", "charts", "page"),
        *("front_matter", "card"),
        "report_files",
    ),
    "demo": (),
    "runfile": (),
    "feature_options": (),
    "examples": (),
    "options": (),
    "terminal": (),
    "screen": (),
    "planning": (),
    "cli": (),
    "__init__": (),
    "__main__": (),
}
FILES = [f"{place}.{name}" for place in ORDER for name in ORDER[place]]
FILES += [place for place in ORDER if not ORDER[place]]
WINGS = [place for place in ORDER if ORDER[place]]

# The files that import each library, inside functions too.
DOORS = {
    "soundfile": {
        *("audio.lengths", "audio.readers", "audio.sound_files", "audio.sound_readers"),
        *("process.numerics", "reports.sounds"),
    },
    "soxr": {"audio.resampling", "process.numerics"},
    "zarr": {"store.zarr_arrays", "store.remote_store"},
    "numcodecs": {"store.shards"},
    "h5py": {"audio.arrays", "labels.files", "store.hdf5_files", "store.hdf5_store", "demo"},
    "google_crc32c": {"paths.whole_files", "record.lines", "store.checksums"},
    "filelock": {"locks.lease"},
    "obstore": {"paths.buckets", "paths.remote"},
    "dask": {
        *("process.resources", "windows", "job.regions", "datasets.arrays"),
        *("cluster.capacity", "cluster.connection", "cluster.managers"),
    },
    "distributed": {
        *("cluster.capacity", "cluster.connection", "cluster.engine", "cluster.managers"),
        *("cluster.security", "cluster.workers"),
    },
    "threadpoolctl": {"process.numerics", "process.resources"},
    "psutil": {"process.limits", "cluster.security", "locks.processes"},
    "yaml": {"yaml_files"},
    "cloudpickle": {"job.preflight"},
    "click": {"options", "terminal", "screen", "planning", "cli"},
    "tqdm": {"terminal", "screen"},
    "matplotlib": {
        *("views.event_marks", "views.figures", "views.scales", "views.time_axis"),
        "views.thumbnails",
    },
    "PIL": {"views.thumbnails"},
    "jinja2": {"reports.page"},
    "onnxruntime": {"models.session"},
    "torch": {"training.adaptors.torch"},
    "keras": {"training.adaptors.keras"},
    "jax": {"training.adaptors.jax"},
    "grain": {"training.adaptors.grain"},
    "tensorflow": {"training.adaptors.tensorflow"},
    "xarray": {"datasets.arrays", "datasets.opening"},
    "scipy": {
        *("kernels.taper", "kernels.frames", "kernels.power", "kernels.mel", "kernels.cepstrum"),
        *("kernels.gaincontrol", "kernels.welch"),
    },
}

EXPORTING = [
    "import lazy_loader",
    "__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)",
]

PURE = {"checks", "grid", "layout", "share", "kernels", "features", "labels.values"}
PURE_MAY = {"numpy", "scipy", "pipeline"}


def path_of(name: str) -> Path:
    return PACKAGE / f"{name.replace('.', '/')}.py"


def wing_of(name: str) -> str:
    return name.partition(".")[0]


def imported(name: str) -> Iterator[tuple[str, list[str]]]:
    """All modules that a file imports, inside functions too, and which names of them."""
    for node in ast.walk(ast.parse(path_of(name).read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, []) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} imports relatively"
            yield node.module or "", [alias.name for alias in node.names]


def exports(wing: str) -> set[str]:
    """The names that a wing exports."""
    tree = ast.parse((PACKAGE / wing / "__init__.pyi").read_text())
    found: set[str] = set()
    for node in tree.body:
        assert isinstance(node, ast.ImportFrom), f"{wing}/__init__.pyi does more than export"
        found |= {alias.name for alias in node.names}
    return found


def test_every_file_has_its_place() -> None:
    found = {path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py")}
    inits = {
        path_of(name).relative_to(PACKAGE).with_name("__init__.py") for name in FILES if "." in name
    }
    assert found == inits | {path_of(name).relative_to(PACKAGE) for name in FILES}


@pytest.mark.parametrize("name", FILES)
def test_imports_point_down_and_come_through_exports(name: str) -> None:
    order, own = list(ORDER), wing_of(name)
    for module, names in imported(name):
        if not module.startswith("pipeline."):
            assert module != "pipeline", f"{name} imports the whole package"
            continue
        place, _, file = module.removeprefix("pipeline.").partition(".")
        if place == own:
            files = ORDER[own]
            assert files.index(file) < files.index(name.partition(".")[2]), f"{name}: {module}"
            continue
        assert order.index(place) < order.index(own), f"{name} imports {module}"
        if place in WINGS:
            assert not file, f"{name} imports {module}, past what {place} exports"
            assert set(names) <= exports(place), f"{name}: {place} exports no such name"


@pytest.mark.parametrize("wing", WINGS)
def test_what_a_wing_exports_is_used_elsewhere(wing: str) -> None:
    others = [name for name in FILES if wing_of(name) != wing]
    used = {n for name in others for module, names in imported(name) for n in names
            if module == f"pipeline.{wing}"}  # fmt: skip
    assert exports(wing) <= used | set(pipeline.__all__)
    assert not exports(wing) & set(ORDER[wing]), "a name is both a file and an export"


@pytest.mark.parametrize("wing", WINGS)
def test_the_start_of_a_wing_only_exports(wing: str) -> None:
    tree = ast.parse((PACKAGE / wing / "__init__.py").read_text())
    assert ast.get_docstring(tree)
    assert [ast.unparse(node) for node in tree.body[1:]] == EXPORTING


def test_each_dependency_has_its_doors() -> None:
    found: dict[str, set[str]] = {}
    for name in FILES:
        for module, _ in imported(name):
            top = module.partition(".")[0]
            if top not in sys.stdlib_module_names | {"pipeline", "numpy", "lazy_loader"}:
                found.setdefault(top, set()).add(name)
    assert found == DOORS


@pytest.mark.parametrize("name", [name for name in FILES if {name, wing_of(name)} & PURE])
def test_what_is_pure_imports_only_arithmetic(name: str) -> None:
    tops = {module.partition(".")[0] for module, _ in imported(name)}
    assert tops - sys.stdlib_module_names <= PURE_MAY


SLOW = {*run_path(str(ROOT / "scripts" / "measure" / "start-up"))["SLOW"]}
WITHOUT = {
    "import pipeline": SLOW,
    "import pipeline.cli": SLOW | {"numpy", "tqdm", "yaml", "pipeline.features", "pipeline.job"},
    """
import numpy as np, pipeline as pl
windows = np.zeros((2, 8000), np.float32)
for feature in (pl.Spectrogram, pl.Levels):
    feature(samplerate=8000, window=1.0)(windows)
for feature in (pl.MelSpectrogram, pl.MFCC):
    feature(context="window", samplerate=8000, window=1.0)(windows)
""": {"dask", "zarr", "scipy.signal"},
}


@pytest.mark.parametrize("code", WITHOUT, ids=["pipeline", "cli", "features"])
def test_what_is_imported_loads_nothing_slow_that_it_may_not_need(code: str) -> None:
    assert WITHOUT[code] & loaded(code) == set()


def test_what_is_public_is_documented() -> None:
    for name in pipeline.__all__:
        found = getattr(pipeline, name)
        assert found.__doc__, name
        if isinstance(found, type) or not callable(found):
            continue
        for section in ("Parameters", "Returns", "Raises"):
            text = inspect.cleandoc(found.__doc__).replace("Yields", "Returns")
            assert f"{section}\n---" in text, f"{name} lacks {section}"
