"""Settings of a job: frozen, checked when made, read from YAML or flags."""

from __future__ import annotations

import dataclasses
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import yaml

from pipeline.checks import reject_unknown
from pipeline.features import Feature, make_feature
from pipeline.grid import Tail
from pipeline.recordings import check_request
from pipeline.share import Share

__all__ = [
    "Job",
    "Settings",
    "load_job",
    "load_yaml",
    "parse_value",
]

CHOICES = {
    "tail": ("pad", "drop"),
    "dtype": ("float32", "float16"),
    "compression": ("none", "lz4", "zstd"),
    "on_error": ("mask", "stop"),
    "on_lost": ("stop", "mask"),
    "numerics": ("same", "any"),
}
KINDS = (
    ("sources", list, "a path or a list of paths"),
    ("out", str, "a path"),
    ("labels", str, "a path"),
    ("cluster", str, "a path"),
    ("share", str, "I/N, with I from 0 to N-1"),
    ("overwrite", bool, "true or false"),
    ("quiet", bool, "true or false"),
)


@dataclass(frozen=True)
class Settings:
    """How recordings are cut, read and stored.

    Parameters
    ----------
    window : float
        Length of a window, in seconds.
    hop : float, optional
        Seconds between window starts; `window` if not given.
    channel : int or "mix"
        The channel that is used, counted from 0, or the mean of all.
    samplerate : int, optional
        Rate in Hz that all audio is resampled to; needed for ``.npy``, whose
        rate it is. If not given, all recordings must share one rate.
    tail : {"pad", "drop"}
        What becomes of the last window when a recording ends inside it.
    dtype : {"float32", "float16"}
        Of the stored features.
    compression : {"none", "lz4", "zstd"}
        Of features in Zarr; those in HDF5 are not compressed.
    on_error : {"mask", "stop"}
        Whether windows that cannot be read are masked, or end the job.
    on_lost : {"stop", "mask"}
        Whether a job that was begun refuses to go on when one of its recordings
        is gone, or masks what it has not yet computed of it.
    retries : int
        How often a region is tried again that failed for what may pass: an
        input/output error, or a worker that was lost.
    numerics : {"same", "any"}
        Whether all regions must be computed by processes of one numerics class,
        which give the same bits, or may be by any, which differ in the last ones.
    flush : bool
        Whether each region is on the disk before it is recorded as done, so that
        a loss of power costs no more than a kill does.

    Raises
    ------
    ValueError
        If a value is not allowed.
    """

    window: float = 1.0
    hop: float | None = None
    channel: int | Literal["mix"] = 0
    samplerate: int | None = None
    tail: Tail = "pad"
    dtype: Literal["float32", "float16"] = "float32"
    compression: Literal["none", "lz4", "zstd"] = "none"
    on_error: Literal["mask", "stop"] = "mask"
    on_lost: Literal["stop", "mask"] = "stop"
    retries: int = 3
    numerics: Literal["same", "any"] = "same"
    flush: bool = False

    def __post_init__(self) -> None:
        for name in ("window", "hop"):
            value = getattr(self, name)
            if value is None and name == "hop":
                continue
            if not _is_number(value) or not 0 < value < math.inf:
                raise ValueError(f"{name} is {value!r}; it must be a number of seconds above 0")
            object.__setattr__(self, name, float(value))
        if self.compression is None:
            object.__setattr__(self, "compression", "none")
        check_request(self.channel, self.samplerate)
        for name in ("channel", "samplerate"):
            if isinstance(getattr(self, name), np.integer):
                object.__setattr__(self, name, int(getattr(self, name)))
        if not isinstance(self.retries, int) or isinstance(self.retries, bool) or self.retries < 0:
            raise ValueError(f"retries is {self.retries!r}; it must be a whole number from 0")
        if not isinstance(self.flush, bool):
            raise ValueError(f"flush is {self.flush!r}; it must be true or false")
        for name, allowed in CHOICES.items():
            if getattr(self, name) not in allowed:
                raise ValueError(
                    f"{name} is {getattr(self, name)!r}; allowed are "
                    f"{', '.join(allowed[:-1])} and {allowed[-1]}"
                )

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Settings:
        """Settings from names and values; an unknown name is an error."""
        reject_unknown(values, (field.name for field in dataclasses.fields(cls)), "setting")
        return cls(**values)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


class _Loader(yaml.SafeLoader):
    """Safe YAML that takes 1e-6 for a number and 12:00:00 for text, as YAML 1.2 does.

    A key that is there twice is an error, as it is in YAML 1.2, too.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    problem=f"{key.value!r} is there twice", problem_mark=key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), "-+0123456789"
)
for _resolvers in _Loader.yaml_implicit_resolvers.values():
    # What fits is asked for in order: a time, before it can be a number to the base of 60.
    _resolvers.insert(0, ("tag:yaml.org,2002:str", re.compile(r"[0-9]+(:[0-5]?[0-9])+$")))


def load_yaml(path: Path) -> dict[str, Any]:
    """Read a mapping from a YAML file, safely.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is not YAML, or not a mapping of names to values.
    """
    try:
        values = yaml.load(path.read_text("utf-8-sig"), _Loader)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path} does not exist; give the path of a YAML file") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        where = getattr(error, "problem_mark", None)
        line = f" at line {where.line + 1}" if where else ""
        problem = getattr(error, "problem", None) or "it is not text"
        raise ValueError(f"{path} is not valid YAML{line}: {problem}; mend it there") from error
    if not isinstance(values, dict):
        raise ValueError(f"{path} holds no mapping; it must be lines of the form 'name: value'")
    return values


def parse_value(text: str) -> Any:
    """The value that run.yaml would have for this text, or None for "none"."""
    if text.lower() == "none":
        return None
    try:
        return yaml.load(text, _Loader)
    except yaml.YAMLError:
        return text


@dataclass(frozen=True)
class Job:
    """A whole job as run.yaml and the flags give it."""

    sources: list[str]
    out: str
    feature: Feature
    labels: str | None
    cluster: str | None
    settings: Settings
    overwrite: bool = False
    quiet: bool = False
    share: Share | None = None


def _check_kinds(values: Mapping[str, Any]) -> None:
    """Refuse values of a job that are of another kind than they must be."""
    for key, kind, what in KINDS:
        value = values.get(key)
        if value is not None and not isinstance(value, kind):
            raise ValueError(f"{key} is {value!r}; it must be {what}")
    if not all(isinstance(source, str) for source in values["sources"]):
        raise ValueError(f"sources is {values['sources']!r}; it must be a path or a list of paths")


def _expanded(path: str | None) -> str | None:
    return path and os.path.expanduser(path)


def load_job(path: Path | None, flags: Mapping[str, Any], parameters: Mapping[str, Any]) -> Job:
    """Read run.yaml, and let flags override it.

    Parameters
    ----------
    path : path or None
        Of run.yaml. In it and in the flags, ``~`` begins a path in somebody's
        home. Its ``feature`` is a name, or a mapping of ``name`` and
        the feature's parameters.
    flags : mapping
        Values under the same names as in run.yaml.
    parameters : mapping
        Parameters of the feature.

    Returns
    -------
    Job

    Raises
    ------
    ValueError, OSError
        If a key is not known, a value not allowed, or sources or out missing.
    """
    values = load_yaml(path) if path else {}
    names = [field.name for field in dataclasses.fields(Settings)]
    others = ("sources", "out", "feature", "labels", "cluster", "overwrite", "quiet", "share")
    reject_unknown(values, [*others, *names], f"key of {path}")
    feature = values.get("feature") or {}
    feature = {"name": feature} if isinstance(feature, str) else feature
    if not isinstance(feature, dict) or not isinstance(feature.get("name", ""), str):
        raise ValueError(f"feature is {feature!r}; it must be a name, or a name and parameters")
    feature = dict(feature)
    if "feature" in flags and flags["feature"] != feature.get("name"):
        feature = {"name": flags["feature"]}
    values = {**values, **flags}
    for key, what in (("sources", "SOURCE"), ("out", "--out OUT")):
        if not values.get(key):
            raise ValueError(f"{key} is missing; give {what}, or '{key}:' in run.yaml")
    if isinstance(values["sources"], str):
        values["sources"] = [values["sources"]]
    _check_kinds(values)
    name = feature.pop("name", "spectrogram")
    return Job(
        [os.path.expanduser(source) for source in values["sources"]],
        os.path.expanduser(values["out"]),
        make_feature(name, {**feature, **parameters}),
        _expanded(values.get("labels")),
        _expanded(values.get("cluster")),
        Settings(**{name: values[name] for name in names if name in values}),
        values.get("overwrite") or False,
        values.get("quiet") or False,
        None if values.get("share") is None else Share.parse(values["share"]),
    )
