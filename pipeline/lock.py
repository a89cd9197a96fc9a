"""The lock: one job at a time writes to a store, and a killed one blocks no other for long."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from filelock import SoftFileLease

__all__ = ["Lock", "holder", "locked"]

# A job shows a sign of life three times in this time. One of another host that
# shows none for so long is taken for dead; one of this host is known to be.
LEASE_SECONDS = 30.0


class Lock:
    """The right to write to a store."""

    def __init__(self, lease: SoftFileLease, handle: int) -> None:
        self._lease, self._handle = lease, handle

    def check(self) -> None:
        """Refuse to go on when another job has taken over.

        Raises
        ------
        PermissionError
            If this process was stopped for so long that others took it for dead.
        """
        # The lease itself sees it when it next shows a sign of life. Who takes over
        # removes the file, which moves along when a folder above it is renamed.
        if self._lease.compromise is not None or not os.fstat(self._handle).st_nlink:
            raise PermissionError(
                "the lock was lost: this job was stopped for so long that another took it for dead"
            )


@contextmanager
def locked(path: Path) -> Iterator[Lock]:
    """Hold the lock of a store; it need not exist yet.

    Parameters
    ----------
    path : path
        Of the store. The lock is a file beside it.

    Yields
    ------
    Lock

    Raises
    ------
    ValueError
        If another job holds it.

    Notes
    -----
    A lease: its holder touches the file, also on network file systems whose own
    locks cannot be relied on. That of a dead process of this host is taken at
    once, that of another host when it was not touched for `LEASE_SECONDS` by
    this host's clock.
    """
    from filelock import Timeout

    path.parent.mkdir(parents=True, exist_ok=True)
    lease = _lease(path)
    try:
        try:
            lease.acquire(timeout=0)
        except Timeout:
            if _is_local(lease):
                raise
            lease.acquire(timeout=LEASE_SECONDS * 4 / 3)
    except Timeout:
        raise ValueError(
            f"another job ({_describe(lease)}) is writing to {path}; wait until it has ended, or "
            f"stop it, and give the same command again"
        ) from None
    handle = None
    try:
        handle = os.open(lease.lock_file, os.O_RDONLY)
        yield Lock(lease, handle)
    finally:
        lease.release()
        if handle is not None:
            os.close(handle)


def holder(path: Path) -> str | None:
    """Who holds the lock of a store, for people; None if nobody has shown a sign of life lately."""
    lease = _lease(path)
    try:
        age = time.time() - os.stat(lease.lock_file).st_mtime
    except FileNotFoundError:
        return None
    owner = lease.owner
    dead = owner is not None and _is_local(lease) and not Path(f"/proc/{owner.pid}").exists()
    return None if dead or age > LEASE_SECONDS else _describe(lease)


def _lease(path: Path) -> SoftFileLease:
    from filelock import SoftFileLease

    return SoftFileLease(path.with_name(f".{path.name}.lock"), lease_duration=LEASE_SECONDS)


def _describe(lease: SoftFileLease) -> str:
    owner = lease.owner
    return f"process {owner.pid} on {owner.hostname.partition('?')[0]}" if owner else "unknown"


def _is_local(lease: SoftFileLease) -> bool:
    """Whether the holder is a process that this one can see, and so alive."""
    owner = lease.owner
    if owner is None:
        return False
    host, _, container = owner.hostname.partition("?")
    namespace = Path("/proc/self/ns/pid")
    same = not container or (namespace.exists() and f"{namespace.stat().st_ino:x}" in container)
    return same and host == socket.gethostname()
