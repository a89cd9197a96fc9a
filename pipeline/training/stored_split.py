"""The split of a store: the coordinate `split`, which says of each window in which part it is.

Numbers of parts (int8), with CF's `flag_values` and `flag_meanings`, which other programs know;
how it was made is the attribute `split` of the store, in JSON. Statistics may be of one part:
the attribute `statistics` says of which, and they go when the split becomes another.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.locks import locked
from pipeline.steps import Steps, all_unseen
from pipeline.store import (
    STATISTICS,
    Attachment,
    Store,
    Variable,
    attach,
    coordinates_of,
    open_finished,
)
from pipeline.training.normalization import stored_statistics
from pipeline.training.order import Indices
from pipeline.training.recording_groups import By, check_by, chunks
from pipeline.training.splitting import Parts, Split
from pipeline.training.stored_labels import stored_parts

LABELS = ("label", "annotated")


def store_split(
    path: str | os.PathLike[str],
    parts: str | Mapping[str, float],
    by: By = "recording",
    seed: int = 0,
    progress: Steps = all_unseen,
) -> dict[str, Any]:
    """Split a finished store, at once or not at all, and say what each part has come to.

    One that is there is replaced; statistics of a part of it go.
    """
    wanted = Parts.of(parts, seed)
    check_by(by)
    store = open_finished(path)
    if store.packed:
        raise ValueError(
            f"{path} is a packed copy, to which nothing is added; split the store it was made of, "
            f"and pack that again"
        )
    with locked(store.path) as lock:
        store.sweep()  # what one that was killed has left
        store = open_finished(path)  # another may have been at it until now
        made = Split.of(store, wanted, by, progress("windows read"))
        settings = {"by": by if isinstance(by, str) else "function", "seed": seed}
        told = json.dumps({**settings, "parts": dict(wanted.fractions)})
        same = _is_stored(store, made, told)
        gone = [] if same or statistics_split(store) is None else [*STATISTICS]
        if not same:
            lock.check()
            attach(store, _attachment(store, made, told, gone), progress("windows written"))
    more = {"statistics": "removed, as they were of a part; compute them again"} if gone else {}
    return {
        **settings,
        "groups": len({group for group in made.groups if group is not None}),
        "parts": made.counts(),
        "divided": made.recordings.divided(made.numbers),
        **more,
    }


def _is_stored(store: Store, made: Split, told: str) -> bool:
    if store.attrs().get("split") != told or store.get("split", 0, 0) is None:
        return False
    stored = (numbers for _, numbers in chunks(store, "split"))
    return all(np.array_equal(a, b) for a, (_, b) in zip(stored, made.blocks(), strict=True))


def _attachment(store: Store, made: Split, told: str, gone: list[str]) -> Attachment:
    names = [*made.parts.fractions]
    attrs = {
        "long_name": "part of the data",
        "flag_values": [*range(len(names))],
        "flag_meanings": " ".join(names),
    }
    shape = (len(store.coordinate("valid")),)
    variable = Variable(("window",), shape, np.dtype(np.int8), attrs, parts=made.blocks)
    labels = [name for name in LABELS if store.get(name, 0, 0) is not None]
    dated = store.get("datetime", 0, 0) is not None
    root = {"split": told} | ({"statistics": json.dumps({"split": None})} if gone else {})
    return Attachment({"split": variable}, gone, root, coordinates_of(labels, dated, split=True))


def is_of_split(store: Store, name: str) -> npt.NDArray[np.bool_]:
    """Of each window, whether it is in a part of the split of a store."""
    split = store.together(lambda: stored_parts(store))
    if split is None:
        raise ValueError(
            f"{store.path} has no split, of which {name!r} would be a part; run audio-pipeline "
            f"split {store.path} --parts train=.8,valid=.1,test=.1"
        )
    names, numbers = split
    if name not in names:
        raise ValueError(
            f"{store.path} has no part {name!r} in its split; there are {', '.join(names)}"
        )
    return np.asarray(numbers == names.index(name))


def stored_split(store: Store, name: str) -> Indices:
    """The numbers of the windows in a part of the split of a store, sorted."""
    return np.flatnonzero(is_of_split(store, name)).astype(np.int64)


def statistics_split(store: Store) -> str | None:
    """The part that the stored statistics are of; None if of all, or if there are none."""
    if stored_statistics(store) is None:
        return None
    split: str | None = json.loads(store.attrs().get("statistics", "{}")).get("split")
    return split
