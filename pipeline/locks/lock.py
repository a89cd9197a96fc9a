"""The lock: who may write to a store; a killed job blocks no other for long."""

import glob
import math
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pipeline.locks.lease import LOOK_SECONDS, FileLease
from pipeline.locks.object_lease import ObjectLease
from pipeline.paths import AnyPath, RemotePath

# A job shows a sign of life three times in this time. One of another host that shows none
# for so long is taken for dead; of one of this host it is seen at once that it died.
LEASE_SECONDS = 30.0
# A job of this host that asks for the whole store while a share is at work holds the lock for
# less than this, and is then refused.
PAUSE_SECONDS = 2.0
Lease = FileLease | ObjectLease


@dataclass(frozen=True)
class Holder:
    """Who writes to a store: a process, and which share of it, if not the whole."""

    name: str
    share: str | None = None

    def __str__(self) -> str:
        return f"share {self.share} by {self.name}" if self.share else self.name


class Lock:
    """The right to write to a store."""

    def __init__(self, lease: Lease) -> None:
        self._lease = lease

    def check(self) -> None:
        """Raise a PermissionError if another job took over while this one was stopped."""
        if self._lease.lost():
            raise PermissionError(
                "the lock was lost: this job was stopped for so long that another took it for dead"
            )

    @contextmanager
    def alone(self, leaving: bool = False) -> Iterator[list[Holder]]:
        """Hold off others that begin or end, while the store is made, fixed or finished.

        Yields which others are at work; each leaves in a later block. With `leaving` the
        right is given back at the end of the block: so one knows itself to be the last.
        """
        yield []


class _Leases:
    """All leases of one store: files beside it, or objects below a name beside it."""

    def __init__(self, path: AnyPath) -> None:
        self._path = path

    def lock(self) -> Lease:
        """Held by the job that has the store for itself."""
        return self._lease("lock")

    def setup_lock(self) -> Lease:
        """Held by the one share that makes, fixes or finishes the store."""
        return self._lease("turn")

    def new_share(self, share: str) -> Lease:
        """A new one, for a share such as "0/4"."""
        return self._lease(f"{share.replace('/', '-')}-{secrets.token_hex(4)}.share")

    def shares(self) -> list[Lease]:
        """Those of all shares that are there."""
        path, start = self._path, f".{self._path.name}."
        if isinstance(path, RemotePath):
            names = [name for name, _ in path.with_name(f"{start}lock").walk()]
        else:
            files = path.parent.glob(f"{glob.escape(start)}*-*-????????.share")
            names = sorted(file.name.removeprefix(start) for file in files)
        return [self._lease(name) for name in names if name.endswith(".share")]

    def _lease(self, name: str) -> Lease:
        path, start = self._path, f".{self._path.name}."
        if isinstance(path, RemotePath):
            return ObjectLease(path.with_name(f"{start}lock") / name, LEASE_SECONDS)
        return FileLease(path.with_name(f"{start}{name}"), LEASE_SECONDS)


class _Share(Lock):
    """The right to write some regions of a store, while others write others."""

    def __init__(self, lease: Lease, leases: _Leases) -> None:
        super().__init__(lease)
        self._leases = leases

    @contextmanager
    def alone(self, leaving: bool = False) -> Iterator[list[Holder]]:
        self.check()
        setup_lock = self._leases.setup_lock()
        try:
            setup_lock.acquire(math.inf)
            others = [other for other in self._leases.shares() if other.name != self._lease.name]
            yield [_holder(other) for other in others if not _is_dead(other)]
            if leaving:
                self._lease.release()
        finally:
            setup_lock.release()


@contextmanager
def locked(path: AnyPath) -> Iterator[Lock]:
    """Hold the lock of a store, which need not exist yet, for this job alone.

    A ValueError if another job, or a share of one, is at work on it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    leases = _Leases(path)
    lease = leases.lock()
    try:
        try:
            lease.acquire(0)
        except TimeoutError:
            if lease.is_local():
                raise
            lease.acquire(LEASE_SECONDS * 4 / 3)
    except TimeoutError as error:
        raise _refusal(path, str(_holder(lease))) from error
    try:
        _await_end_of_shares(path, leases)
        yield Lock(lease)
    finally:
        lease.release()


@contextmanager
def shared(path: AnyPath, share: str) -> Iterator[Lock]:
    """Hold the lock of a store together with the other shares of a job.

    A ValueError if another job has the store for itself. Outside of `alone` the lock is
    good for writing the regions of a share such as "0/4" only.

    Each share has a lease of its own, and takes it before it looks for the lock of the
    store, while who wants that lock takes it before it looks for shares: of any two, at
    least one sees the other.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    leases = _Leases(path)
    lease = leases.new_share(share)
    lease.acquire(0)
    try:
        _await_no_lock(path, leases.lock())
        yield _Share(lease, leases)
    finally:
        lease.release()


def holders(path: AnyPath) -> list[Holder]:
    """Who writes to a store and has shown a sign of life lately."""
    leases = _Leases(path)
    return [_holder(lease) for lease in (leases.lock(), *leases.shares()) if lease.lives()]


def _await_no_lock(path: AnyPath, lock: Lease) -> None:
    """Refuse if another job has the lock of a store, and keeps it."""
    if not lock.exists():  # many shares would be in each other's way
        return
    try:
        # A job that came after this share sees it, and gives the lock back.
        lock.acquire(PAUSE_SECONDS if lock.is_local() else LEASE_SECONDS * 4 / 3)
    except TimeoutError as error:
        raise _refusal(path, str(_holder(lock))) from error
    lock.release()


def _await_end_of_shares(path: AnyPath, leases: _Leases) -> None:
    """Refuse if a share of a store is at work; remove what dead ones have left."""
    shares, setup_lock = leases.shares(), leases.setup_lock()
    until = time.monotonic() + LEASE_SECONDS * 4 / 3
    while shares := [share for share in shares if not _is_dead(share)]:
        _is_dead(setup_lock)  # one that is watched long enough is removed
        alive = [share for share in shares if share.is_local()]
        if alive or time.monotonic() > until:
            first, *others = alive or shares
            more = f", and {len(others)} more" if others else ""
            raise _refusal(path, f"{_holder(first)}{more}")
        time.sleep(LOOK_SECONDS)
    _is_dead(setup_lock)


def _refusal(path: AnyPath, holder: str) -> ValueError:
    return ValueError(
        f"another job ({holder}) is writing to {path}; wait until it has ended, or "
        f"stop it, and run the same command again"
    )


def _is_dead(lease: Lease) -> bool:
    """Whether the holder is known to be dead, or gone; its lease then is gone, too."""
    if lease.exists():  # a full disk has no room to try it
        try:
            lease.acquire(0)
        except TimeoutError:
            return False
        lease.release()
    return True


def _holder(lease: Lease) -> Holder:
    share = None
    if lease.name.endswith(".share"):
        index, count, _ = lease.name.split(".")[-2].split("-")
        share = f"{index}/{count}"
    return Holder(lease.owner(), share)
