"""The front matter of a dataset card: what the Hugging Face Hub reads of a data set."""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import prod
from pathlib import PurePath
from typing import Any

import numpy as np

from pipeline.text import printable

UNKNOWN = "unknown"  # as the Hub calls a licence that nobody has named
WHOLE = "train"  # and all of a data set that is not split
SIZES = ("1K", "10K", "100K", "1M", "10M", "100M", "1B", "10B", "100B", "1T")
TIME = "timestamp[ns, tz=UTC]"


def front_matter(report: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata of a report's store, in the words of the Hub and of `datasets`.

    The Hub cannot look into Zarr, or HDF5 with virtual parts: so its viewer is off.
    """
    labels, name = report["labels"], name_of(report)
    task = {"annotations_creators": ["no-annotation"]}
    if labels is not None:
        task = {"task_categories": ["audio-classification"]}
    return {
        "license": UNKNOWN,
        **task,
        "size_categories": [size_category(report["shape"][0])],
        "pretty_name": name,
        "tags": ["audio", "audio-features", printable(str(report["feature"]["name"]))],
        "viewer": False,
        "configs": [{"config_name": "default", "data_files": _data_files(name)}],
        "dataset_info": _dataset_info(report),
    }


def name_of(report: Mapping[str, Any]) -> str:
    """The name of the store, without its folder."""
    return printable(PurePath(report["path"]).name)


def size_category(n: int) -> str:
    """The Hub's word for so many examples."""
    if n < 1000:
        return "n<1K"
    step = int(np.searchsorted([1000 * 10**i for i in range(len(SIZES))], n, "right"))
    return f"{SIZES[step - 1]}<n<{SIZES[step]}" if step < len(SIZES) else "n>1T"


def splits_of(report: Mapping[str, Any]) -> dict[str, int]:
    """How many windows each part of the split has, by names that `datasets` allows."""
    found: dict[str, int] = {}
    for part, n in (report["splits"] or {WHOLE: report["shape"][0]}).items():
        name = re.sub(r"\W+", "_", part)
        while name in found:
            name += "_"
        found[name] = n
    return found


def _data_files(name: str) -> list[str]:
    return [f"{name}/**"] if name.endswith(".zarr") else [name, f"{name}.parts/**"]


def _dataset_info(report: Mapping[str, Any]) -> dict[str, Any]:
    labels, variables = report["labels"], report["variables"]
    names = None if labels is None else labels["classes"]
    window_bytes = sum(np.dtype(item["dtype"]).itemsize * prod(item["shape"]) for item in variables)
    splits = splits_of(report)
    stored = {} if report["bytes"] is None else {"download_size": report["bytes"]["stored"]}
    return {
        "features": [_feature(item, names) for item in variables],
        "splits": [
            {"name": name, "num_bytes": n * window_bytes, "num_examples": n}
            for name, n in splits.items()
        ],
        **stored,
        "dataset_size": sum(splits.values()) * window_bytes,
    }


def _feature(variable: Mapping[str, Any], classes: list[str] | None) -> dict[str, Any]:
    """One variable of a window, as `datasets` writes types."""
    name, shape, dtype = (variable[key] for key in ("name", "shape", "dtype"))
    if name == "label" and classes is not None and len(shape) < 2:
        kind: Any = {
            "class_label": {"names": {str(i): printable(c) for i, c in enumerate(classes)}}
        }
        return {"name": name, "sequence" if shape else "dtype": kind}
    if name == "datetime":
        dtype = TIME
    if len(shape) == 1:
        return {"name": name, "sequence": dtype, "length": shape[0]}
    array = {f"array{len(shape)}_d": {"shape": shape, "dtype": dtype}}
    return {"name": name, "dtype": array if shape else dtype}
