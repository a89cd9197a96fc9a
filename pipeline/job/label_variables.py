"""The variables of labels: y, what of it was annotated, and the names of the classes."""

import json
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.labels import EventLabels, Labelling, LabelSource
from pipeline.steps import Step, unseen
from pipeline.store import Variable, strings

# Of every store that has labels, in the order of the contract.
LABEL_NAMES = ("label", "annotated", "class")
ALWAYS = ("files", "events", "matched")


def label_variables(labels: LabelSource, filled: bool = False) -> dict[str, Variable]:
    """The variables of labels; `filled`, with their values, which are made as they are read."""
    attrs = {"long_name": "label", "units": "1"}
    found = {"label": Variable(labels.dims, labels.shape, labels.dtype, attrs)}
    if "annotated" in labels.block(0, 0):
        attrs = {"long_name": "false where nobody looked, or was sure; y is 0 there", "units": "1"}
        found["annotated"] = Variable(labels.dims[:2], labels.shape[:2], np.dtype(np.bool_), attrs)
    if filled:
        found = {
            name: Variable(v.dims, v.shape, v.dtype, v.attrs, parts=partial(parts, labels, name, v))
            for name, v in found.items()
        }
    if labels.classes:
        found["class"] = strings("class", labels.classes, "name of the class")
    return found


def parts(
    labels: LabelSource, name: str, variable: Variable
) -> Iterator[tuple[int, npt.NDArray[Any]]]:
    """The values of a variable of labels, a chunk at a time, each with its first window."""
    n, step = variable.shape[0], variable.rows_of_chunk
    return ((a, labels.block(a, min(a + step, n))[name]) for a in range(0, n, step))


def describe_labels(
    labels: LabelSource, listed: bool = False, counted: bool = True, progress: Step = unseen
) -> dict[str, Any]:
    """What became of events, and how many windows have each class, as plain values.

    `listed`, with the events that have no place; not `counted`, with no more than the names of
    the classes.
    """
    if not isinstance(labels, EventLabels):
        return {}
    counts = {name: count for name, count in labels.told.items() if count or name in ALWAYS}
    unplaced = {"unplaced": labels.account.listed} if listed else {}
    classes = labels.by_class(progress) if counted else [*labels.classes]
    return {"events": counts, "classes": classes, **unplaced}


def told_of(labels: LabelSource, labelling: Labelling) -> str:
    """What became of events, and how they were taken, as an attribute of the store."""
    source = labels.source if isinstance(labels, EventLabels) else None
    return json.dumps({"source": source, "settings": labelling.passed, "events": labels.told})
