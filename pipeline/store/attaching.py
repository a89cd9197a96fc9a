"""Attaching: variables added to a finished store, or replaced there, at once or not at all."""

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial

from pipeline.paths import StoredFile, remove, stored_file
from pipeline.record import Finished, Record
from pipeline.steps import Step, unseen
from pipeline.store.encoding import Array
from pipeline.store.schema import Attachment
from pipeline.store.store import Store

# How variables are attached: the record is given the common files as they will be, beside those
# that are there; then the files are put in place, and last the root, which other programs go by.
# So the root alone says, at any moment and for good, which of the two lists holds; what of the
# later list replaces a file may be there before it. Both go when the job goes on: the common
# files are then made as the job makes them, without what was attached.


def attach(store: Store, attachment: Attachment, progress: Step = unseen) -> None:
    """Add variables to a finished store whose lock the caller holds, or replace them.

    Who has the store open goes on with what it had, until variables are attached once more.
    `progress` is told how many rows of those that come in parts were written.
    """
    record = Record(store.record_folder)
    finished = record.read_finished()
    assert finished is not None, store.path
    files = {file.name: file for file in common_files(store, finished)}
    # What one that was killed has left, and what was replaced the last time.
    for left in known_files(finished) - {*files}:
        remove(store.locate(left))
    with store.attaching(_with_progress(attachment, progress)) as added:
        gone = {*attachment.variables, *attachment.dropped}
        kept = {name: file for name, file in files.items() if name.split("/")[0] not in gone}
        after = kept | {file.name: file for file in added}
        attached = tuple(file for _, file in sorted(after.items()))
        record.finish(replace(finished, files=(*files.values(),), attached=attached))


def _with_progress(attachment: Attachment, progress: Step) -> Attachment:
    """The same, but it tells how many rows were asked for of variables that come in parts."""
    variables, done = attachment.variables, 0
    total = sum(variable.shape[0] for variable in variables.values() if variable.parts)

    def counted(parts: Callable[[], Iterable[tuple[int, Array]]]) -> Iterator[tuple[int, Array]]:
        nonlocal done
        for start, part in parts():
            yield start, part
            done += len(part)
            progress(done, total)

    told = {
        name: replace(variable, parts=partial(counted, parts))
        for name, variable in variables.items()
        if (parts := variable.parts)
    }
    return replace(attachment, variables={**variables, **told})


def common_files(store: Store, finished: Finished) -> tuple[StoredFile, ...]:
    """The common files of a finished store as they should be, with what is attached."""
    if not finished.attached:
        return finished.files
    with suppress(OSError):
        if stored_file(store.locate(store.root), store.root) in finished.attached:
            return finished.attached
    return tuple(_as_it_is(store, file, finished.attached) for file in finished.files)


def _as_it_is(store: Store, file: StoredFile, attached: Collection[StoredFile]) -> StoredFile:
    """A file, or what replaces it, if that is there already."""
    later = next((other for other in attached if other.name == file.name), file)
    if later == file or file.name == store.root:
        return file
    with suppress(OSError):
        if stored_file(store.locate(file.name), file.name) == later:
            return later
    return file


def known_files(finished: Finished) -> set[str]:
    """Names of all common files that a finished store may have."""
    return {file.name for file in (*finished.files, *finished.attached)}
