"""Creation: the store of a plan, made, found again, mended or finished."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import chain
from typing import Any

import numpy as np

from pipeline.features import Code, FeatureIdentity, feature_name, is_same
from pipeline.job.plan import Plan, deciding
from pipeline.paths import flush
from pipeline.process import ANY, STORED
from pipeline.record import CommonFiles, Finished, Record, State
from pipeline.settings import Settings
from pipeline.store import (
    COORDINATE_CHUNK,
    FORMAT,
    Store,
    Variable,
    check_small_files,
    coordinate_values,
    describe,
    is_whole,
    new_store,
    open_store,
)


def find_begun(plan: Plan, overwrite: bool = False) -> bool:
    """Whether the store of a plan is there, to go on with.

    Parameters
    ----------
    plan : Plan
        What to do.
    overwrite : bool
        Do not go on with the store of another job, but replace it.

    Raises
    ------
    ValueError
        If something else is at the plan's path.
    """
    store = new_store(plan.out)
    record = Record(store.record_folder)
    if not store.exists():
        return False
    open_store(plan.out)
    if not record.begun():
        if overwrite:
            return False
        raise ValueError(f"{plan.out} is a packed copy; give another path, or --overwrite")
    try:
        theirs = record.job()
    except (OSError, ValueError):
        if _fingerprint_in(store, record) == plan.fingerprint:
            return True
        if overwrite:
            return False
        raise
    if theirs["fingerprint"] == plan.fingerprint:
        return True
    if overwrite:
        return False
    raise ValueError(
        f"{plan.out} holds another job: {_difference(theirs, record, plan)}; give the "
        f"same again, another path, or --overwrite"
    )


def _fingerprint_in(store: Store, record: Record) -> str | None:
    """The fingerprint as it stands elsewhere than in the record of the job, if it does."""
    with suppress(ValueError):
        if finished := record.read_finished():
            return finished.fingerprint
    try:
        files = record.common_files()
        if files is None:
            return None
        check_small_files(store, files)
        return str(store.attrs()["fingerprint"])
    except (OSError, KeyError):
        return None


def _difference(theirs: dict[str, Any], record: Record, plan: Plan) -> str:
    """The first setting or file in which two jobs differ."""
    recorded, theirs = theirs, theirs["identity"]
    ours: dict[str, Any] = json.loads(json.dumps(plan.identity))
    for group in ("format", "settings", "feature", "labels", "inputs", "unreadable", "layout"):
        old, new = theirs.get(group), ours[group]
        if is_same(old, new):
            continue
        if group == "format":
            return "it was made by another version of this package"
        if group == "settings":
            old, new = json.loads(recorded["attrs"]["settings"]), deciding(plan.settings)
            old = {**deciding(Settings()), **old}  # one that has come since is as it was
        elif group == "feature":
            return _other_feature(
                theirs["feature"], json.loads(recorded["attrs"]["feature"]), plan.known
            )
        if group == "unreadable":
            old, new = dict.fromkeys(old or []), dict.fromkeys(new)
        elif group == "inputs":
            old, new = (
                {path: rest for path, *rest in items} for items in (record.inputs(), plan.inputs())
            )
            if old == new:
                return "the order of the sources differs"
        if not isinstance(old, dict) or not isinstance(new, dict):
            return f"other {group}" if group == "labels" else f"{group} {old}, not {new}"
        for key in chain(new, old):
            if not (isinstance(old, dict) and isinstance(new, dict)):
                return f"{group} {old}, not {new}"
            if old.get(key, ...) == new.get(key, ...):
                continue
            if group in ("inputs", "unreadable"):
                if key not in old:
                    return f"{key} is new among the sources"
                if key in new:
                    return f"{key} was changed"
                return f"{key} is no longer there (--on-lost mask goes on without it)"
            return f"{key} was {old.get(key)}, and is now {new.get(key)}"
    return "it was made by another version"


def _other_feature(old: dict[str, Any], described: dict[str, Any], new: FeatureIdentity) -> str:
    """The first thing in which the feature of a store differs from another."""
    if old["name"] != new.name:
        return f"feature {old['name']}, not {new.name}"
    code = Code(*old["code"])
    if code != new.code:
        return f"the code of the feature {new.name} was changed ({code.change(new.code)})"
    was = described["parameters"]
    for name, value in new.parameters.items():
        if not is_same(was.get(name, new.defaults.get(name)), value):
            return f"{name} was {was.get(name, new.defaults.get(name))}, and is now {value}"
    return f"the feature {new.name} has other parameters"


def create(plan: Plan, store: Store, overwrite: bool) -> CommonFiles:
    """Make the store, with all but the features and `valid`."""
    if overwrite and store.exists():
        store.remove()
    store.path.parent.mkdir(parents=True, exist_ok=True)
    attrs = _attrs(plan)
    with store.creating(plan.layout, _variables(plan), attrs) as aside:
        _fill(plan, aside)
        record = Record(aside.record_folder)
        record.begin(plan.identity, _more(plan, attrs), plan.inputs())
        entry = _made(plan, aside)
        _flush(plan, aside, entry)
        record.add(entry)
    return entry


def remake(plan: Plan, store: Store, record: Record) -> CommonFiles:
    """Make again what `create` made, to the same bits."""
    try:
        attrs = record.job()["attrs"]
    except (OSError, ValueError):
        attrs = store.attrs()
    if plan.numerics is None:
        attrs["numerics"] = ANY
    with store.remaking(plan.layout, _variables(plan), attrs) as aside:
        _fill(plan, aside)
    record.begin(plan.identity, _more(plan, attrs), plan.inputs())
    record.reopen()
    entry = _made(plan, store)
    record.add(entry)
    return entry


def finish(plan: Plan, store: Store, record: Record, state: State) -> None:
    """Write which windows are valid, when all regions are stored and nobody is at work."""
    store.sweep()  # what workers that were killed have left
    files = state.common_files
    holds = files is not None and all(is_whole(store, file, plan.layout) for file in files)
    if not holds or store.is_renamed():  # what will be recorded anew must not be damaged
        remake(plan, store, record)
    n_windows, runs = plan.layout.n_windows, list(state.masked())
    with store.finishing() as aside:
        for a in range(0, n_windows, COORDINATE_CHUNK):
            b = min(a + COORDINATE_CHUNK, n_windows)
            valid = np.ones(b - a, np.bool_)
            while runs and runs[0][1] <= a:
                del runs[0]
            for start, stop, *_ in runs:
                if start >= b:
                    break
                valid[max(0, start - a) : stop - a] = False
            aside.fill("valid", a, valid)
    made = _made(plan, store)
    _flush(plan, store, made)
    record.add(made)
    classes = state.windows_by_class(plan.layout)
    record.finish(Finished(FORMAT, plan.fingerprint, made.files, classes))


def _flush(plan: Plan, store: Store, made: CommonFiles) -> None:
    if plan.settings.flush:
        flush(store.locate(file.name) for file in made.files)


def _variables(plan: Plan) -> dict[str, Variable]:
    label = classes = None
    if plan.labels is not None:
        values = plan.labels.values
        dims = ("window", "class")[: values.ndim]
        label = Variable(dims, values.shape, values.dtype, {"long_name": "label", "units": "1"})
        classes = plan.labels.classes
    return describe(plan.layout, plan.feature, plan.recordings.paths, label, classes)


def _attrs(plan: Plan) -> dict[str, Any]:
    attrs = {
        "Conventions": "CF-1.11",
        "title": feature_name(plan.feature),
        "samplerate": plan.grid.samplerate,
        "window": plan.grid.window_samples / plan.grid.samplerate,
        "hop": plan.grid.hop_samples / plan.grid.samplerate,
        "settings": json.dumps(deciding(plan.settings)),
        "feature": json.dumps(plan.known.description()),
        "fingerprint": plan.fingerprint,
        "numerics": plan.numerics or ANY,
        "versions": json.dumps({name: version(name) for name in STORED}),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    return dict(sorted(attrs.items()))  # as they come back from a store


def _more(plan: Plan, attrs: dict[str, Any]) -> dict[str, Any]:
    unreadable = dict(plan.recordings.unreadable)
    return {"regions": plan.layout.n_regions, "unreadable": unreadable, "attrs": attrs}


def _fill(plan: Plan, store: Store) -> None:
    for a in range(0, plan.layout.n_windows, COORDINATE_CHUNK):
        for name, part in coordinate_values(plan.grid[a : a + COORDINATE_CHUNK]).items():
            store.fill(name, a, part)
        if plan.labels is not None:
            store.fill("label", a, plan.labels.values[a : a + COORDINATE_CHUNK])


def _made(plan: Plan, store: Store) -> CommonFiles:
    """The files of a store that are of no region, as they now are."""
    names = sorted(store.small_files())
    return CommonFiles(tuple(store.stored_file(name, plan.layout) for name in names))
