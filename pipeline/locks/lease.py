"""Leases: rights that last as long as their holders show signs of life."""

from __future__ import annotations

import glob
import os
import secrets
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from filelock import SoftFileLease

LOOK_SECONDS = 0.25  # how often somebody who waits looks again


class Lease(Protocol):
    """One right, which one process at a time holds.

    Attributes
    ----------
    name : str
        Of the file or object.
    """

    name: str

    def acquire(self, seconds: float) -> None:
        """Take it when it is free, or its holder dead.

        Parameters
        ----------
        seconds : float
            How long to wait for that. The time for which a holder showed no
            sign of life adds up over several calls.

        Raises
        ------
        TimeoutError
            If it is held by another.
        """

    def release(self) -> None:
        """Give it back."""

    def lost(self) -> bool:
        """Whether another took it, for this process was stopped for so long."""

    def exists(self) -> bool:
        """Whether there may be a holder, be it dead."""

    def lives(self) -> bool:
        """Whether there is a holder, who has shown a sign of life lately."""

    def is_local(self) -> bool:
        """Whether the holder is a process that this one can see, and so alive."""

    def owner(self) -> str:
        """Who holds it, for people."""


class Leases(Protocol):
    """All leases of one store."""

    def lock(self) -> Lease:
        """Held by who has the store for itself."""

    def turn(self) -> Lease:
        """Held by the one share that makes, mends or finishes the store."""

    def share(self, share: str) -> Lease:
        """A new one, for a share such as "0/4"."""

    def shares(self) -> list[Lease]:
        """Those of all shares that are there."""


class FileLeases:
    """Leases as files beside a store."""

    def __init__(self, path: Path, seconds: float) -> None:
        self._path, self._seconds = path, seconds

    def lock(self) -> FileLease:
        return self._lease(f".{self._path.name}.lock")

    def turn(self) -> FileLease:
        return self._lease(f".{self._path.name}.turn")

    def share(self, share: str) -> FileLease:
        return self._lease(f".{self._path.name}.{new_share_name(share)}")

    def shares(self) -> list[Lease]:
        pattern = f".{glob.escape(self._path.name)}.*-*-????????.share"
        return [self._lease(file.name) for file in sorted(self._path.parent.glob(pattern))]

    def _lease(self, name: str) -> FileLease:
        return FileLease(self._path.with_name(name), self._seconds)


def new_share_name(share: str) -> str:
    """A name for the lease of a share, which nobody else has."""
    return f"{share.replace('/', '-')}-{secrets.token_hex(4)}.share"


def share_of(lease: Lease) -> str | None:
    """The share that a lease is for, if any."""
    if not lease.name.endswith(".share"):
        return None
    index, count, _ = lease.name.split(".")[-2].split("-")
    return f"{index}/{count}"


class FileLease:
    """A lease as a file, which its holder touches.

    So it works on network file systems whose own locks cannot be relied on.
    That of a dead process of this host is taken at once, that of another host
    when it was not touched for so long by this host's clock.
    """

    def __init__(self, file: Path, seconds: float) -> None:
        from filelock import SoftFileLease

        self.name, self._file, self._seconds = file.name, file, seconds
        self._lease: SoftFileLease = SoftFileLease(file, lease_duration=seconds)
        self._handle = -1
        self._empty: tuple[tuple[int, ...], float] | None = None  # what was seen, since when

    def acquire(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while True:
            try:
                self._lease.acquire(timeout=0)
                break
            except TimeoutError:
                self._remove_stillborn()
                if time.monotonic() >= until:
                    raise
            time.sleep(LOOK_SECONDS)
        self._handle = os.open(self._file, os.O_RDONLY)

    def _remove_stillborn(self) -> None:
        """Remove it if its holder was killed before it wrote who it is; filelock never does.

        Its time is the file server's, whose clock may be another: it is watched for change.
        """
        with suppress(FileNotFoundError):
            status = self._file.stat()
            seen = (status.st_ino, status.st_mtime_ns, status.st_ctime_ns)
            if status.st_size or self._empty is None or self._empty[0] != seen:
                self._empty = (seen, time.monotonic())
            elif time.monotonic() - self._empty[1] > self._seconds:
                self._file.unlink()

    def release(self) -> None:
        self._lease.release()
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def lost(self) -> bool:
        # The lease itself sees it when it next shows a sign of life. Who takes over
        # removes the file, which moves along when a folder above it is renamed.
        return self._lease.compromise is not None or not os.fstat(self._handle).st_nlink

    def exists(self) -> bool:
        return self._file.exists()

    def lives(self) -> bool:
        try:
            age = time.time() - self._file.stat().st_mtime
        except FileNotFoundError:
            return False
        owner = self._lease.owner
        if owner is None or not self.is_local():
            return age <= self._seconds
        try:
            state = Path(f"/proc/{owner.pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return False
        return age <= self._seconds or state in "Tt"  # one that is stopped will go on

    def is_local(self) -> bool:
        owner = self._lease.owner
        if owner is None:
            return False
        host, _, container = owner.hostname.partition("?")
        namespace = Path("/proc/self/ns/pid")
        same = not container or (namespace.exists() and f"{namespace.stat().st_ino:x}" in container)
        return same and host == socket.gethostname()

    def owner(self) -> str:
        owner = self._lease.owner
        return f"process {owner.pid} on {owner.hostname.partition('?')[0]}" if owner else "unknown"
