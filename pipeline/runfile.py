"""The run file: a whole job as run.yaml and the flags of the command line describe it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.checks import reject_unknown
from pipeline.features import Feature, make_feature
from pipeline.settings import LABELLING, Settings
from pipeline.share import Share
from pipeline.yaml_files import load_yaml

# What each key but `feature` and the settings must be, and how that is said.
KINDS = {
    "sources": (list, "a path or a list of paths"),
    "out": (str, "a path"),
    "labels": (str, "a path"),
    "cluster": (str, "a path"),
    "share": (str, "I/N, with I from 0 to N-1"),
    "overwrite": (bool, "true or false"),
    "quiet": (bool, "true or false"),
}


@dataclass(frozen=True)
class Job:
    """A whole job as run.yaml and the flags describe it."""

    sources: list[str]
    out: str
    feature: Feature
    labels: str | None
    cluster: str | None
    settings: Settings
    overwrite: bool = False
    quiet: bool = False
    share: Share | None = None


def load_job(path: Path | None, flags: Mapping[str, Any], parameters: Mapping[str, Any]) -> Job:
    """Read run.yaml, and let flags, and parameters of the feature, override it.

    Flags have the same names as in run.yaml. Its ``feature`` is a name, or a mapping of
    ``name`` and the feature's parameters. In both, ``~`` begins a path in somebody's home.
    """
    values = load_yaml(path) if path else {}
    names = [*Settings.names(), *LABELLING]
    reject_unknown(values, [*KINDS, "feature", *names], f"key of {path}")
    feature = values.get("feature") or {}
    feature = {"name": feature} if isinstance(feature, str) else feature
    if not isinstance(feature, dict) or not isinstance(feature.get("name", ""), str):
        raise ValueError(f"feature is {feature!r}; it must be a name, or a name and parameters")
    if "feature" in flags and flags["feature"] != feature.get("name"):
        feature = {"name": flags["feature"]}
    values = {**values, **flags}
    for key, what in (("sources", "SOURCE"), ("out", "--out OUT")):
        if not values.get(key):
            raise ValueError(f"{key} is missing; pass {what}, or '{key}:' in run.yaml")
    if isinstance(values["sources"], str):
        values["sources"] = [values["sources"]]
    for key, (kind, what) in KINDS.items():
        value = values.get(key)
        if value is not None and not isinstance(value, kind):
            raise ValueError(f"{key} is {value!r}; it must be {what}")
    sources, labels, cluster = values["sources"], values.get("labels"), values.get("cluster")
    if isinstance(values.get("label_map"), str):
        values["label_map"] = os.path.expanduser(values["label_map"])
    if not all(isinstance(source, str) for source in sources):
        raise ValueError(f"sources is {sources!r}; it must be {KINDS['sources'][1]}")
    parameters = {key: value for key, value in feature.items() if key != "name"} | {**parameters}
    return Job(
        [*map(os.path.expanduser, sources)],
        os.path.expanduser(values["out"]),
        make_feature(feature.get("name", "spectrogram"), parameters),
        labels and os.path.expanduser(labels),
        cluster and os.path.expanduser(cluster),
        Settings.from_mapping({name: values[name] for name in names if name in values}),
        values.get("overwrite") or False,
        values.get("quiet") or False,
        None if values.get("share") is None else Share.parse(values["share"]),
    )
