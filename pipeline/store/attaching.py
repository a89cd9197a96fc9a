"""Attaching: variables added to a finished store, at once or not at all."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace

from pipeline.paths import StoredFile, remove, stored_file
from pipeline.record import Finished, Record
from pipeline.store.schema import Variable
from pipeline.store.store import Store

# How variables are attached: the record is given the common files as they will be, beside those
# that are there; then the files are put in place, and last the root, which other programs go by.
# So the root alone says, at any moment and for good, which of the two lists holds. Both go when
# the job goes on: the common files are then made as the job makes them, without what was attached.


def attach(store: Store, variables: Mapping[str, Variable]) -> None:
    """Add variables, with their values, to a finished store whose lock the caller holds.

    A ValueError if the store has one of that name.
    """
    for name in variables:
        if store.get(name) is not None:
            raise ValueError(f"{store.path} has a variable {name} already; extract it elsewhere")
    record = Record(store.record_folder)
    finished = record.read_finished()
    assert finished is not None, store.path
    files = {file.name: file for file in common_files(store, finished)}
    for left in {file.name for file in finished.attached} - {*files}:  # by one that was killed
        remove(store.locate(left))
    with store.attaching(variables) as added:
        after = files | {file.name: file for file in added}
        attached = tuple(file for _, file in sorted(after.items()))
        record.finish(replace(finished, files=(*files.values(),), attached=attached))


def common_files(store: Store, finished: Finished) -> tuple[StoredFile, ...]:
    """The common files of a finished store as they should be, with what is attached."""
    if finished.attached:
        with suppress(OSError):
            if stored_file(store.locate(store.root), store.root) in finished.attached:
                return finished.attached
    return finished.files
