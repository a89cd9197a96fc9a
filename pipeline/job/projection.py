"""The projection: the memory, files and bytes that a plan will take, before anything is done."""

import math
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from pipeline.cluster import Capacity
from pipeline.features import FeatureIdentity, margins_of, takes
from pipeline.inputs import Inputs
from pipeline.job.label_variables import describe_labels, label_variables
from pipeline.layout import Layout
from pipeline.paths import KEPT_BYTES, is_remote
from pipeline.share import Share
from pipeline.steps import Steps, all_unseen
from pipeline.store import COORDINATE_CHUNK, Encoding, new_store
from pipeline.windows import read_together

# Measured by scripts/measure/bounds: what Python and the libraries take; how often a
# thread holds a block of features while it is computed, encoded and written (Zarr
# encodes one block while the next is computed); and what a kernel works in, at least,
# or for one window: so many times its features, and bytes for each of its samples.
BASE_BYTES = 200 * 1024**2
COPIES = {".zarr": 2.5, ".h5": 3.0, ".hdf5": 3.0}
COPIES_COMPRESSED = 4.5
KERNEL_BYTES = 12 * 1024**2
KERNEL_WINDOWS, KERNEL_BYTES_A_SAMPLE = 8, 20
PER_WINDOW = 4  # small variables: recording, start, n_samples, valid
RECORD_FILES = 5  # job, inputs, two logs, finished
SMALLEST = 2  # times smaller, by compression: features of sound were 1.2 to 1.6 times


class Planned(Protocol):
    """What is asked of a plan."""

    @property
    def inputs(self) -> Inputs: ...

    @property
    def feature_identity(self) -> FeatureIdentity: ...

    @property
    def encoding(self) -> Encoding: ...

    @property
    def layout(self) -> Layout: ...

    @property
    def out(self) -> str: ...


def memory_bytes(plan: Planned, threads: int) -> int:
    """Peak memory of a worker with so many threads, in bytes."""
    recordings, grid, layout = plan.inputs.recordings, plan.inputs.grid, plan.layout
    plain = layout.compression == "none"
    copies = COPIES[new_store(plan.out).path.suffix] if plain else COPIES_COMPRESSED
    values = 4 * math.prod(layout.shape)  # a kernel works in float32
    feature, held = plan.inputs.feature, plan.inputs.held_samples
    # What windows share of their context is computed once, and held beside their features.
    sharing = takes(feature, "hop_samples")
    together = min(layout.shard, read_together(feature, grid))
    shared = together * values * held / grid.window_samples if sharing else 0
    samples = grid.window_samples + sum(margins_of(feature, grid.samplerate))
    read = together * held + (samples if sharing else 0)
    audio = 4 * read + recordings.held_bytes(read)
    block = layout.shard * copies * layout.window_bytes + audio + shared
    window = KERNEL_WINDOWS * values
    kernel = max(KERNEL_BYTES, window + KERNEL_BYTES_A_SAMPLE * samples)
    kept = KEPT_BYTES if recordings.remote else 0
    own = getattr(feature, "memory_bytes", lambda threads: 0)
    return int(BASE_BYTES + kept + own(threads) + threads * (block + kernel))


def feature_bytes(plan: Planned) -> int:
    """Bytes of the features, before compression."""
    return plan.layout.n_windows * plan.layout.window_bytes


def count_files(plan: Planned) -> int:
    """Files of the store when one run has made it, its record included."""
    layout, labels = plan.layout, plan.inputs.labels
    if Path(plan.out).suffix != ".zarr":
        return RECORD_FILES + layout.n_regions + 1
    lengths = [layout.n_windows] * PER_WINDOW + [len(plan.inputs.recordings)]
    lengths += layout.shape  # for each axis has a coordinate
    if plan.inputs.starts.known:
        lengths += [layout.n_windows, len(plan.inputs.recordings)]
    chunks = [-(-length // COORDINATE_CHUNK) for length in lengths]
    for variable in {} if labels is None else label_variables(labels).values():
        chunks.append(-(-variable.shape[0] // variable.rows_of_chunk))
    return RECORD_FILES + layout.n_shards + 2 + len(chunks) + sum(chunks)


def check_fits(plan: Planned, worker: Capacity) -> None:
    """Refuse a job for which a worker has too little memory, or the disk too little room."""
    worker.check(memory_bytes(plan, worker.threads))
    if is_remote(plan.out):  # a bucket has room; whether it can be reached is seen by looking
        return
    folder = next(parent for parent in Path(plan.out).absolute().parents if parent.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise PermissionError(
            f"{plan.out} cannot be made, for {folder} is not a folder that may be written to; "
            f"pass another path"
        )
    compressed = plan.layout.compression != "none"
    room = shutil.disk_usage(folder).free
    least = feature_bytes(plan) // (SMALLEST if compressed else 1)
    if not Path(plan.out).exists() and least > room:
        smaller = "".join(f", or --dtype {dtype}" for dtype in _smaller_dtypes(plan))
        if Path(plan.out).suffix == ".zarr" and not compressed:
            smaller += ", or --compression lz4"
        raise OSError(
            f"{plan.out} needs {least / 1e9:.1f} GB at least, but {folder} has "
            f"{room / 1e9:.1f} GB free; free some, or pass another path{smaller}"
        )


def _smaller_dtypes(plan: Planned) -> list[str]:
    """Which dtypes the features could be stored in, in fewer bytes."""
    size, found = np.dtype(plan.layout.dtype).itemsize, []
    for dtype in ("float16", "uint8"):
        with suppress(ValueError):  # the feature has no limits
            Encoding.of(dtype, plan.inputs.feature)
            found.append(dtype)
    return [dtype for dtype in found if np.dtype(dtype).itemsize < size]


def describe_plan(
    plan: Planned,
    threads: int,
    share: Share | None = None,
    counted: bool = True,
    progress: Steps = all_unseen,
) -> dict[str, Any]:
    """A plan as plain values, for a worker with so many threads, or for a share.

    `counted`, with how many windows have each class, for which all are looked at.
    """
    recordings, grid, layout = plan.inputs.recordings, plan.inputs.grid, plan.layout
    labels, step = plan.inputs.labels, progress("windows counted")
    values = {
        "out": plan.out,
        "recordings": len(recordings),
        "unreadable": dict(recordings.unreadable),
        "passed_over": dict(recordings.passed_over),
        "seconds": recordings.seconds,
        "samplerate": grid.samplerate,
        "window": grid.window_samples / grid.samplerate,
        "hop": grid.hop_samples / grid.samplerate,
        "windows": layout.n_windows,
        "regions": layout.n_regions,
        "shape": [layout.n_windows, *layout.shape],
        "dtype": layout.dtype,
        **plan.encoding.described(),
        "compression": layout.compression,
        "bytes": feature_bytes(plan),
        "files": count_files(plan),
        "memory_bytes": memory_bytes(plan, threads),
        "threads": threads,
        "labelled": labels is not None,
        **({} if labels is None else describe_labels(labels, True, counted, step)),
        "datetime": plan.inputs.timeline(),
        "feature": plan.feature_identity.description(),
    }
    if share is not None:
        first, last = share.bounds(layout.n_regions)
        windows = [min(n * layout.region, layout.n_windows) for n in (first, last)]
        values["share"] = {"regions": [first, last], "windows": windows}
    return values
