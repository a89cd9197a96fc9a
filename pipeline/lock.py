"""The lock: who may write to a store; a killed job blocks no other for long."""

from __future__ import annotations

import glob
import math
import os
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from filelock import SoftFileLease

__all__ = ["Holder", "Lock", "holders", "locked", "shared"]

# A job shows a sign of life three times in this time. One of another host that
# shows none for so long is taken for dead; one of this host is known to be.
LEASE_SECONDS = 30.0
LOOK_SECONDS = 0.25  # how often somebody who waits looks again
# In so much, a job of this host that wants the store for itself has seen whether it may.
PAUSE_SECONDS = 2.0


@dataclass(frozen=True)
class Holder:
    """Who writes to a store: a process, and which share of it, if not the whole."""

    name: str
    share: str | None = None

    def __str__(self) -> str:
        return f"share {self.share} by {self.name}" if self.share else self.name


class Lock:
    """The right to write to a store."""

    def __init__(self, lease: SoftFileLease) -> None:
        self._lease = lease
        self._handle = os.open(lease.lock_file, os.O_RDONLY)

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
    def alone(self, leaving: bool = False) -> Iterator[list[Holder]]:
        """Hold off others that begin or end, while the store is made, mended or finished.

        Parameters
        ----------
        leaving : bool
            Give the right back at the end of the block, so that of several that
            leave there is one that knows itself to be the last.

        Yields
        ------
        list of Holder
            Which others are at work; each leaves in a later block.
        """
        yield []

    def release(self) -> None:
        """Give the right back."""
        self._lease.release()
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


class _Share(Lock):
    """The right to write some regions of a store, while others write others."""

    def __init__(self, lease: SoftFileLease, path: Path) -> None:
        super().__init__(lease)
        self._path = path

    @contextmanager
    def alone(self, leaving: bool = False) -> Iterator[list[Holder]]:
        self.check()
        turn = _lease(_turn_of(self._path))
        try:
            _take(turn, math.inf)
            own = Path(self._lease.lock_file).name
            others = [other for other in _shares_of(self._path) if other.name != own]
            yield [_holder(other) for other in others if not _is_dead(_lease(other))]
            if leaving:
                self.release()
        finally:
            turn.release()


@contextmanager
def locked(path: Path) -> Iterator[Lock]:
    """Hold the lock of a store, for this job alone; the store need not exist yet.

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
        If another job holds it, or a share of it.

    Notes
    -----
    A lease: its holder touches the file, also on network file systems whose own
    locks cannot be relied on. That of a dead process of this host is taken at
    once, that of another host when it was not touched for `LEASE_SECONDS` by
    this host's clock.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lease = _lease(_lock_of(path))
    try:
        try:
            _take(lease, 0)
        except TimeoutError:
            if _is_local(lease):
                raise
            _take(lease, LEASE_SECONDS * 4 / 3)
    except TimeoutError:
        raise _refusal(path, str(_holder(_lock_of(path)))) from None
    with ExitStack() as stack:
        stack.callback(lease.release)
        _await_end_of_shares(path)
        lock = Lock(lease)
        stack.callback(lock.release)
        yield lock


@contextmanager
def shared(path: Path, share: str) -> Iterator[Lock]:
    """Hold the lock of a store together with others that share it.

    Parameters
    ----------
    path : path
        Of the store.
    share : str
        What this one does of it, such as "0/4".

    Yields
    ------
    Lock
        Good for nothing but regions, outside of its `alone`.

    Raises
    ------
    ValueError
        If another job has the store for itself.

    Notes
    -----
    Each share has a lease of its own, and takes it before it looks for the lock
    of the store, while who wants that lock takes it before it looks for shares:
    of any two, at least one sees the other.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    number, _, count = share.partition("/")
    name = f".{path.name}.{number}-{count}-{secrets.token_hex(4)}.share"
    lease = _lease(path.with_name(name))
    _take(lease, 0)
    with ExitStack() as stack:
        stack.callback(lease.release)
        _await_no_lock(path)
        lock = _Share(lease, path)
        stack.callback(lock.release)
        yield lock


def holders(path: Path) -> list[Holder]:
    """Who writes to a store and has shown a sign of life lately."""
    return [_holder(file) for file in (_lock_of(path), *_shares_of(path)) if _lives(_lease(file))]


def _await_no_lock(path: Path) -> None:
    """Refuse if another job has the lock of a store, and keeps it."""
    lease = _lease(_lock_of(path))
    if not Path(lease.lock_file).exists():  # many shares would be in each other's way
        return
    try:
        # A job that came after this share sees it, and gives the lock back.
        _take(lease, PAUSE_SECONDS if _is_local(lease) else LEASE_SECONDS * 4 / 3)
    except TimeoutError:
        raise _refusal(path, str(_holder(_lock_of(path)))) from None
    lease.release()


def _await_end_of_shares(path: Path) -> None:
    """Refuse if a share of a store is at work; remove what dead ones have left."""
    leases = {share: _lease(share) for share in _shares_of(path)}
    until = time.monotonic() + LEASE_SECONDS * 4 / 3
    while leases:
        for share, lease in list(leases.items()):
            if _is_dead(lease):
                del leases[share]
        alive = [share for share, lease in leases.items() if _is_local(lease)]
        if alive or (leases and time.monotonic() > until):
            first, *others = alive or leases
            more = f", and {len(others)} more" if others else ""
            raise _refusal(path, f"{_holder(first)}{more}")
        if leases:
            time.sleep(LOOK_SECONDS)
    _is_dead(_lease(_turn_of(path)))


def _refusal(path: Path, holder: str) -> ValueError:
    return ValueError(
        f"another job ({holder}) is writing to {path}; wait until it has ended, or "
        f"stop it, and give the same command again"
    )


def _take(lease: SoftFileLease, seconds: float) -> None:
    """Take a lease when it is free, or its holder dead; wait so long for that.

    Raises
    ------
    TimeoutError
        If it is held by another.
    """
    until = time.monotonic() + seconds
    while True:
        try:
            lease.acquire(timeout=0)
            return
        except TimeoutError:
            _remove_stillborn(Path(lease.lock_file))
            if time.monotonic() >= until:
                raise
        time.sleep(LOOK_SECONDS)


def _remove_stillborn(file: Path) -> None:
    """Remove a lease whose holder was killed before it wrote who it is; filelock never does."""
    with suppress(FileNotFoundError):
        status = file.stat()
        if not status.st_size and time.time() - status.st_ctime > LEASE_SECONDS:
            file.unlink()


def _is_dead(lease: SoftFileLease) -> bool:
    """Whether the holder is known to be dead, or gone; its lease then is gone, too."""
    if Path(lease.lock_file).exists():  # a full disk has no room to try it
        try:
            _take(lease, 0)
        except TimeoutError:
            return False
        lease.release()
    return True


def _lives(lease: SoftFileLease) -> bool:
    """Whether somebody holds it, and has shown a sign of life lately."""
    try:
        age = time.time() - os.stat(lease.lock_file).st_mtime
    except FileNotFoundError:
        return False
    owner = lease.owner
    dead = owner is not None and _is_local(lease) and not Path(f"/proc/{owner.pid}").exists()
    return not dead and age <= LEASE_SECONDS


def _lock_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.lock")


def _turn_of(path: Path) -> Path:
    """Held by the one share that makes, mends or finishes the store."""
    return path.with_name(f".{path.name}.turn")


def _shares_of(path: Path) -> list[Path]:
    """The leases of all shares of a store."""
    pattern = f".{glob.escape(path.name)}.*-*-????????.share"
    return sorted(path.parent.glob(pattern))


def _lease(file: Path) -> SoftFileLease:
    from filelock import SoftFileLease

    return SoftFileLease(file, lease_duration=LEASE_SECONDS)


def _holder(file: Path) -> Holder:
    owner = _lease(file).owner
    name = f"process {owner.pid} on {owner.hostname.partition('?')[0]}" if owner else "unknown"
    if file.suffix != ".share":
        return Holder(name)
    index, count, _ = file.stem.rpartition(".")[2].split("-")
    return Holder(name, f"{index}/{count}")


def _is_local(lease: SoftFileLease) -> bool:
    """Whether the holder is a process that this one can see, and so alive."""
    owner = lease.owner
    if owner is None:
        return False
    host, _, container = owner.hostname.partition("?")
    namespace = Path("/proc/self/ns/pid")
    same = not container or (namespace.exists() and f"{namespace.stat().st_ino:x}" in container)
    return same and host == socket.gethostname()
