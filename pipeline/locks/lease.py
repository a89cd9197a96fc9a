"""Leases: rights that last as long as their holder shows signs of life; here as files."""

import os
import socket
import time
from contextlib import suppress
from pathlib import Path

from pipeline.locks.processes import is_stopped, namespace

LOOK_SECONDS = 0.25  # how often somebody who waits looks again


class FileLease:
    """A lease as a file, which its holder touches.

    So it works on network file systems whose own locks cannot be relied on. The lease of
    a dead process of this host is taken at once, that of another host when this one has
    not seen it touched for the whole term.
    """

    def __init__(self, file: Path, seconds: float) -> None:
        from filelock import SoftFileLease

        self.name, self._file, self._seconds = file.name, file, seconds
        self._lease = SoftFileLease(file, lease_duration=seconds)
        self._handle = -1
        self._empty: tuple[tuple[int, ...], float] | None = None  # what was seen, since when

    def acquire(self, seconds: float) -> None:
        """Take it when it is free, or its holder dead; a TimeoutError after `seconds`.

        The time for which a holder showed no sign of life adds up over several calls.
        """
        until = time.monotonic() + seconds
        while True:
            try:
                self._lease.acquire(timeout=0)
                break
            except TimeoutError:
                self._remove_empty()
                if time.monotonic() >= until:
                    raise
            time.sleep(LOOK_SECONDS)
        self._handle = os.open(self._file, os.O_RDONLY)

    def _remove_empty(self) -> None:
        """Remove the file if its holder was killed before it wrote who it is.

        filelock (4.2.11) takes an empty file for that of a version that writes nothing, and
        never removes it. The file's times are by the clock of the file server, which may be
        wrong: they are watched for change.
        """
        with suppress(FileNotFoundError):
            status = self._file.stat()
            seen = (status.st_ino, status.st_mtime_ns, status.st_ctime_ns)
            if status.st_size or self._empty is None or self._empty[0] != seen:
                self._empty = (seen, time.monotonic())
            elif time.monotonic() - self._empty[1] > self._seconds:
                self._file.unlink()

    def release(self) -> None:
        """Give it back."""
        self._lease.release()
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def lost(self) -> bool:
        """Whether another took it, while this process was stopped for too long."""
        # The lease itself notices when it next touches the file. Who takes over removes
        # the file, which the handle leads to also when a folder above it was renamed.
        return self._lease.compromise is not None or not os.fstat(self._handle).st_nlink

    def exists(self) -> bool:
        """Whether there may be a holder, alive or dead."""
        return self._file.exists()

    def lives(self) -> bool:
        """Whether there is a holder, who has shown a sign of life lately."""
        try:
            age = time.time() - self._file.stat().st_mtime
        except FileNotFoundError:
            return False
        owner = self._lease.owner
        if owner is None or not self.is_local():
            return age <= self._seconds
        stopped = is_stopped(owner.pid)
        return stopped is not None and (stopped or age <= self._seconds)

    def is_local(self) -> bool:
        """Whether the holder is a process of this host, which is seen when it dies."""
        owner = self._lease.owner
        if owner is None:
            return False
        host, _, container = owner.hostname.partition("?")
        space = namespace()
        same = not container or (space and f"{space:x}" in container)
        return bool(same) and host == socket.gethostname()

    def owner(self) -> str:
        """Who holds it, for people."""
        owner = self._lease.owner
        return f"process {owner.pid} on {owner.hostname.partition('?')[0]}" if owner else "unknown"
