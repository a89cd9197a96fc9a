"""Setup: the store of a plan made, made again where it is damaged, and finished."""

import json
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.features import feature_name
from pipeline.job.identity import deciding, file_rows
from pipeline.job.label_variables import label_variables, parts, told_of
from pipeline.job.plan import Plan
from pipeline.paths import flush
from pipeline.process import ANY, STORED
from pipeline.record import CommonFiles, Finished, Record, State
from pipeline.recordings import window_times
from pipeline.store import (
    COORDINATE_CHUNK,
    FORMAT,
    Contents,
    Store,
    Variable,
    coordinate_values,
    describe,
    is_whole,
)

Array = npt.NDArray[Any]


def create(plan: Plan, store: Store, overwrite: bool) -> CommonFiles:
    """Make the store, with all but the features and `valid`."""
    if overwrite and store.exists():
        store.remove()
    store.path.parent.mkdir(parents=True, exist_ok=True)
    attrs = attrs_of(plan)
    with store.creating(Contents(plan.layout, variables_of(plan), attrs)) as aside:
        _fill(plan, aside)
        record = Record(aside.record_folder)
        _begin(plan, record, attrs)
        return _add_common_files(plan, aside, record)


def remake(plan: Plan, store: Store, record: Record) -> CommonFiles:
    """Make again what `create` made, to the same bits."""
    try:
        attrs = record.job()["attrs"]
    except (OSError, ValueError):
        attrs = store.attrs()
    if plan.numerics is None:
        attrs["numerics"] = ANY
    with store.remaking(Contents(plan.layout, variables_of(plan), attrs)) as aside:
        _fill(plan, aside)
    _begin(plan, record, attrs)
    record.reopen()
    return _add_common_files(plan, store, record)


def finish(plan: Plan, store: Store, record: Record, state: State) -> None:
    """Write which windows are valid, when all regions are stored and nobody is at work."""
    store.sweep()  # what workers that were killed have left
    files = state.common_files
    holds = files is not None and all(is_whole(store, file, plan.layout) for file in files)
    if not holds or store.is_renamed():  # what will be recorded anew must not be damaged
        remake(plan, store, record)
    with store.finishing() as aside:
        _fill_valid(plan, aside, state)
    common = _add_common_files(plan, store, record)
    classes = state.windows_by_class(plan.layout)
    clipped = sum(state.clipped.values())
    record.finish(Finished(FORMAT, plan.fingerprint, common.files, classes, clipped=clipped))


def variables_of(plan: Plan) -> dict[str, Variable]:
    """Every variable of the store of a plan, but for the values of most."""
    inputs = plan.inputs
    labels = {} if inputs.labels is None else label_variables(inputs.labels)
    offset = inputs.starts.offset if inputs.starts.known else None
    paths = inputs.recordings.paths
    return describe(plan.layout, inputs.feature, plan.encoding, paths, labels, offset)


def attrs_of(plan: Plan) -> dict[str, Any]:
    """The attributes of the store of a plan."""
    grid = plan.inputs.grid
    attrs = {
        "Conventions": "CF-1.11",
        "title": feature_name(plan.inputs.feature),
        "samplerate": grid.samplerate,
        "window": grid.window_samples / grid.samplerate,
        "hop": grid.hop_samples / grid.samplerate,
        "settings": json.dumps(deciding(plan.settings)),
        "feature": json.dumps(plan.feature_identity.description()),
        "fingerprint": plan.fingerprint,
        "numerics": plan.numerics or ANY,
        "versions": json.dumps({name: version(name) for name in STORED}),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    if (labels := plan.inputs.labels) is not None and labels.told is not None:
        attrs["labels"] = told_of(labels, plan.settings.labelling)
    return dict(sorted(attrs.items()))  # as they come back from a store


def _begin(plan: Plan, record: Record, attrs: dict[str, Any]) -> None:
    recordings = plan.inputs.recordings
    more = {
        "regions": plan.layout.n_regions,
        "unreadable": dict(recordings.unreadable),
        "datetime": plan.inputs.timeline(),
    }
    record.begin(plan.identity, {**more, "attrs": attrs}, file_rows(recordings))


def coordinates_between(plan: Plan, start: int, stop: int) -> dict[str, Array]:
    """What is known beforehand of windows start to stop - 1, but for labels."""
    grid, starts = plan.inputs.grid[start:stop], plan.inputs.starts
    values = coordinate_values(grid)
    if starts.known:
        recording, sample, _ = grid.locate()
        values["datetime"] = window_times(starts.start[recording], sample, grid.samplerate)
    return values


def _fill(plan: Plan, store: Store) -> None:
    labels = plan.inputs.labels
    for a in range(0, plan.layout.n_windows, COORDINATE_CHUNK):
        b = min(a + COORDINATE_CHUNK, plan.layout.n_windows)
        for name, values in coordinates_between(plan, a, b).items():
            store.fill(name, a, values)
    if labels is None:
        return
    for name, variable in label_variables(labels).items():
        for a, part in parts(labels, name, variable) if variable.values is None else ():
            store.fill(name, a, part)


def _fill_valid(plan: Plan, store: Store, state: State) -> None:
    n_windows = plan.layout.n_windows
    runs = np.array([run[:2] for run in state.masked()], np.int64).reshape(-1, 2)
    for a in range(0, n_windows, COORDINATE_CHUNK):
        b = min(a + COORDINATE_CHUNK, n_windows)
        valid = np.ones(b - a, np.bool_)
        first, last = runs[:, 1].searchsorted(a, "right"), runs[:, 0].searchsorted(b)
        for start, stop in runs[first:last]:
            valid[max(0, start - a) : stop - a] = False
        store.fill("valid", a, valid)


def _add_common_files(plan: Plan, store: Store, record: Record) -> CommonFiles:
    """Record the files of a store that are of no region, as they now are."""
    names = sorted(store.small_files())
    entry = CommonFiles(tuple(store.stored_file(name, plan.layout) for name in names))
    if plan.settings.flush:
        flush(map(store.locate, names))
    record.add(entry)
    return entry
