"""The record of a job: what it is to do, and which regions of it are done.

A folder of plain text. ``job.json`` says what the job is, ``inputs.jsonl`` which
files it reads. Every run adds a file to ``log``, with a line for each region,
written after the region's data is in place; a line has a checksum of its own,
and what is said later holds. Fields and kinds of lines that are not known here
are passed over, for a later version may have written them. ``finished`` is there
when nothing is left to do, and says what a reader needs to know of the store.
"""

import errno
import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import reduce
from pathlib import Path
from typing import Any

from pipeline.paths import AnyPath, open_binary, put_lines
from pipeline.record.additions import Additions
from pipeline.record.entries import CommonFiles, Done, Entry, Finished, entry_of, known, to_json
from pipeline.record.lines import fingerprint, json_line, parse, with_checksum
from pipeline.record.log import Log, log_names, new_log, read_log
from pipeline.record.state import Files, State, common_files_after
from pipeline.steps import Step, told, unseen

Place = tuple[int, int]  # of a line: which of the logs, and which line of it


class Record:
    """The record in a folder, which `begin` makes."""

    def __init__(self, folder: AnyPath) -> None:
        self.folder = folder
        self._job, self._inputs = folder / "job.json", folder / "inputs.jsonl"
        self._logs, self._finished = folder / "log", folder / "finished"
        self._log: Log | None = None

    def begin(
        self, identity: dict[str, Any], more: dict[str, Any], inputs: Iterable[list[Any]]
    ) -> None:
        """Write what the job is, before anything of it is done.

        `identity` determines the stored bytes: its digest is the fingerprint. Each of
        `inputs` is the row of a file: its path, size and time, and what its header said.
        """
        self._logs.mkdir(parents=True, exist_ok=True)
        put_lines(self._inputs, map(json_line, inputs))
        job = {"fingerprint": fingerprint(identity), "identity": identity, **more}
        job["check"] = fingerprint(job)
        put_lines(self._job, [json.dumps(job, indent=1).encode()])

    def begun(self) -> bool:
        """Whether there is a record here, even a damaged one."""
        return self._logs.is_dir()

    def job(self) -> dict[str, Any]:
        """What `begin` wrote, with the fingerprint; a ValueError if it is damaged."""
        try:
            job: dict[str, Any] = json.loads(self._job.read_text())
            if job.pop("check") == fingerprint(job):
                return job
        except (ValueError, KeyError, TypeError, AttributeError):
            pass
        raise ValueError(
            f"{self._job} is damaged; run the command of the job again, which writes it anew"
        )

    def stamp(self) -> tuple[int, int]:
        """What changes when another job begins here."""
        if isinstance(self._job, Path):
            # NFS answers from its cache until the file is opened; which fails where the parts
            # of a store have taken all the files that a process may open.
            with suppress(OSError), open(self._job, "rb"):
                pass
        status = self._job.stat()
        return status.st_ino, status.st_mtime_ns

    def inputs(self) -> Iterator[list[Any]]:
        """What `begin` wrote of each file."""
        with open_binary(self._inputs) as file:
            for line in file:
                yield json.loads(line)

    def damaged(self) -> list[AnyPath]:
        """Which of its files are damaged, apart from the logs, whose lines have checksums."""
        try:
            job = self.job()
        except (OSError, ValueError):
            return [self._job]
        found: list[AnyPath] = []
        try:
            self.read_finished()
        except ValueError:
            found.append(self._finished)
        try:
            with open_binary(self._inputs) as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != job["identity"]["inputs"]:
                    found.append(self._inputs)
        except OSError:
            found.append(self._inputs)
        return found

    def add(self, entry: Entry) -> None:
        """Record an entry: one line, written at once; an OSError if the record is gone."""
        if self._log is None:
            self._log = new_log(self._logs)
        values = {"kind": entry.kind, **to_json(entry), "time": round(time.time(), 3)}
        self._log.add(with_checksum(values))

    def logs(self) -> list[str]:
        """What its logs are called, in the order in which they were begun."""
        return log_names(self._logs)

    def log(self, name: str) -> AnyPath:
        """Where a log is."""
        return self._logs / name

    def files(self) -> Iterator[AnyPath]:
        """Where its own files are."""
        yield from (self._job, self._inputs, self._finished)
        yield from map(self.log, self.logs())

    def lines(self, logs: Iterable[str] | None = None) -> Iterator[tuple[Place, Entry | None]]:
        """All that was recorded, in order, each with its place; None of a damaged line."""
        for i, name in enumerate(self.logs() if logs is None else logs):
            for j, line in enumerate(read_log(self._logs, name)):
                if line != b"\n":
                    values = parse(line)
                    yield (i, j), None if values is None else entry_of(values)

    def entries(self) -> Iterator[Entry | None]:
        """All that was recorded, in order; None for a line that is damaged."""
        return (entry for _, entry in self.lines())

    def additions(self) -> Additions:
        """What was recorded, and each time it is asked again, what has been added since."""
        return Additions(self._logs)

    def common_files(self) -> Files | None:
        """The common files as they were last recorded; None if they no longer hold."""
        none: Files | None = None
        return reduce(common_files_after, self.entries(), none)

    def drop_damaged_lines(self) -> None:
        """Rewrite the logs without damaged lines; no other process may write meanwhile."""
        for name in self.logs():
            lines = [*read_log(self._logs, name)]
            whole = [line for line in lines if line == b"\n" or parse(line) is not None]
            if len(whole) < len(lines):
                put_lines(self._logs / name, whole)

    def state(
        self,
        n_regions: int,
        in_place: Callable[[Done | CommonFiles], bool] | None = None,
        progress: Step = unseen,
    ) -> State:
        """What all lines together say; what is not `in_place` is not done."""
        state = State.of(n_regions)
        for entry in told(self.entries(), progress):
            if isinstance(entry, Done | CommonFiles):
                state.add(entry, in_place is None or in_place(entry))
            elif entry is not None:
                state.add(entry)
            else:  # its region is done again
                state.damaged_lines += 1
        return state

    def finish(self, finished: Finished) -> None:
        """Record that nothing is left to do."""
        put_lines(self._finished, [with_checksum(to_json(finished))])

    def read_finished(self) -> Finished | None:
        """What `finish` wrote; None if something is left to do, a ValueError if it is damaged."""
        try:
            values = parse(self._finished.read_bytes())
        except FileNotFoundError:
            return None
        if values is None:
            raise ValueError(
                f"{self._finished} is damaged, or another version of this package wrote it; verify "
                f"--repair and extract again write it anew"
            )
        return Finished(**known(Finished, values))

    def reopen(self) -> None:
        """Record that something is left to do after all."""
        self._finished.unlink(missing_ok=True)

    def finished(self) -> bool:
        """Whether nothing is left to do."""
        return self._finished.exists()


class SameJob:
    """Tells whether a store is still that of a job, and was not overwritten meanwhile."""

    def __init__(self, record: Record, fingerprint: str) -> None:
        self.fingerprint = fingerprint
        self._record, self._stamp = record, (0, 0)

    def check(self) -> None:
        """Raise an OSError if the store is gone, or another job's."""
        stamp = self._record.stamp()
        if stamp == self._stamp:
            return
        try:
            theirs = self._record.job()["fingerprint"]
        except ValueError as error:
            raise OSError(errno.EIO, str(error)) from error
        if theirs != self.fingerprint:
            raise FileNotFoundError(errno.ENOENT, "another job has taken its place")
        self._stamp = stamp
