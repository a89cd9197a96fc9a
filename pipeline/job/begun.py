"""The store that was begun: whether a plan may go on with it, or in what the two differ."""

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import chain
from typing import Any

from pipeline.features import Code, FeatureIdentity, is_same
from pipeline.job.identity import deciding, file_rows
from pipeline.job.plan import Plan
from pipeline.record import Record
from pipeline.settings import Settings
from pipeline.store import Store, check_small_files, new_store, open_store


def find_begun(plan: Plan, overwrite: bool = False) -> bool:
    """Whether the store of a plan is there, to go on with; a ValueError if another's is.

    With `overwrite`, that of another is to be replaced, and so no error.
    """
    store = new_store(plan.out)
    if not store.exists():
        return False
    open_store(plan.out)
    record = Record(store.record_folder)
    if _fingerprint(store, record) == plan.fingerprint:
        return True
    if overwrite:
        return False
    if not record.begun():
        raise ValueError(f"{plan.out} is a packed copy; pass another path, or --overwrite")
    raise ValueError(
        f"{plan.out} holds another job: {_difference(record.job(), record, plan)}; pass the "
        f"same again, another path, or --overwrite"
    )


def _fingerprint(store: Store, record: Record) -> str | None:
    """The fingerprint in the record of a job or, where that is damaged, elsewhere in the store."""
    if not record.begun():
        return None
    with suppress(OSError, ValueError):
        return str(record.job()["fingerprint"])
    with suppress(ValueError):
        if finished := record.read_finished():
            return finished.fingerprint
    with suppress(OSError, KeyError):
        if (files := record.common_files()) is not None:
            check_small_files(store, files)
            return str(store.attrs()["fingerprint"])
    return None


def _difference(recorded: dict[str, Any], record: Record, plan: Plan) -> str:
    """The first setting or file in which two jobs differ, for people."""
    theirs, ours = recorded["identity"], json.loads(json.dumps(plan.identity))

    def described(group: str) -> Any:
        """All of it: the identity leaves out what is at its default."""
        return json.loads(recorded["attrs"][group])

    comparisons: dict[str, Callable[[], str | None]] = {
        "format": lambda: "it was made by another version of this package",
        "settings": lambda: _other_value(
            # A setting that has come since is as it was.
            {**deciding(Settings()), **described("settings")},
            deciding(plan.settings),
        ),
        "feature": lambda: _other_feature(
            theirs["feature"], described("feature"), plan.feature_identity
        ),
        "labels": lambda: "other labels",
        "inputs": lambda: (
            _other_file(_by_path(record.inputs()), _by_path(file_rows(plan.inputs.recordings)))
            or "the order of the sources differs"
        ),
        "unreadable": lambda: _other_file(
            dict.fromkeys(theirs["unreadable"]), dict.fromkeys(ours["unreadable"])
        ),
        "layout": lambda: _other_value(theirs["layout"], ours["layout"]),
        "datetime": lambda: "other times in the column datetime of a manifest",
    }
    for group, compare in comparisons.items():
        if not is_same(theirs.get(group), ours.get(group)) and (found := compare()):
            return found
    return "it was made by another version"


def _by_path(rows: Any) -> dict[str, list[Any]]:
    return {path: rest for path, *rest in rows}


def _other_value(old: Mapping[str, Any], new: Mapping[str, Any]) -> str | None:
    for key in chain(new, old):
        if old.get(key, ...) != new.get(key, ...):
            return f"{key} was {old.get(key)}, and is now {new.get(key)}"
    return None


def _other_file(old: Mapping[str, Any], new: Mapping[str, Any]) -> str | None:
    for path in chain(new, old):
        if path not in old:
            return f"{path} is new among the sources"
        if path not in new:
            return f"{path} is no longer there (--on-lost mask goes on without it)"
        if old[path] != new[path]:
            return f"{path} was changed"
    return None


def _other_feature(old: dict[str, Any], described: dict[str, Any], new: FeatureIdentity) -> str:
    if old["name"] != new.name:
        return f"feature {old['name']}, not {new.name}"
    code = Code(*old["code"])
    if code != new.code:
        return f"the code of the feature {new.name} was changed ({code.change(new.code)})"
    for name, value in new.deciding.items():
        was = described["parameters"].get(name, new.defaults.get(name))
        if not is_same(was, value):
            return f"{name} was {was}, and is now {value}"
    if new.frontend is not None and (below := old["parameters"].get("frontend")):
        return _other_feature(below, described["parameters"]["frontend"], new.frontend)
    return f"the feature {new.name} has other parameters"
