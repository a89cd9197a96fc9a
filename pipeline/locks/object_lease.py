"""Leases as objects of a bucket, which has no locks but answers conditions."""

from __future__ import annotations

import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from pipeline.locks.lease import LOOK_SECONDS, Lease, new_share_name
from pipeline.paths import ChangedError, RemotePath, Version


class ObjectLeases:
    """Leases below a name beside a store."""

    def __init__(self, path: RemotePath, seconds: float) -> None:
        self._folder, self._seconds = path.with_name(f".{path.name}.lock"), seconds

    def lock(self) -> ObjectLease:
        return self._lease("lock")

    def turn(self) -> ObjectLease:
        return self._lease("turn")

    def share(self, share: str) -> ObjectLease:
        return self._lease(new_share_name(share))

    def shares(self) -> list[Lease]:
        names = (name for name, _ in self._folder.walk())
        return [self._lease(name) for name in names if name.endswith(".share")]

    def _lease(self, name: str) -> ObjectLease:
        return ObjectLease(self._folder / name, self._seconds)


class ObjectLease:
    """A lease as an object, which its holder replaces; see `pipeline.locks.lease.Lease`.

    It is made where there is none, and replaced where it is what it was when
    it was last seen, by one request each that fails otherwise. Who wants it
    watches it by the own clock: that of another host is taken when it has not
    changed for so long, that of a dead process of this host at once.
    """

    def __init__(self, path: RemotePath, seconds: float) -> None:
        self.name, self._path, self._seconds = path.name, path, seconds
        self._mutex, self._ended = threading.Lock(), threading.Event()
        self._seen: tuple[Version, float] | None = None
        self._version: Version | None = None  # while it is held
        self._token, self._beats = secrets.token_hex(8), 0
        self._beaten, self._lost = 0.0, False
        self._beating: threading.Thread | None = None

    def acquire(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._try():
            if time.monotonic() >= until:
                raise TimeoutError(f"{self._path} is held by another")
            time.sleep(LOOK_SECONDS)
        self._lost = False
        self._ended.clear()
        self._beating = threading.Thread(target=self._keep, daemon=True)
        self._beating.start()

    def _try(self) -> bool:
        """Take it, if nobody has it or the holder is dead."""
        owner, version = self._read()
        now = time.monotonic()
        if version is not None:
            if self._seen is None or self._seen[0] != version:
                self._seen = version, now
            if now - self._seen[1] <= self._seconds and not _is_dead(owner):
                return False
        try:
            self._replace(version)
        except ChangedError:
            return False
        return True

    def _read(self) -> tuple[Mapping[str, Any], Version | None]:
        """Who holds it, and the version that says so."""
        try:
            data, status = self._path.read_versioned()
        except FileNotFoundError:
            return {}, None
        try:
            owner = json.loads(data)
            return owner if isinstance(owner, dict) else {}, status.version
        except ValueError:
            return {}, status.version

    def _replace(self, version: Version | None) -> None:
        self._beats += 1
        beat = {**_here(), "token": self._token, "beat": self._beats}
        self._version = self._path.replace(json.dumps(beat).encode(), version)
        self._beaten = time.monotonic()

    def _keep(self) -> None:
        while not self._ended.wait(self._seconds / 3):
            self._beat()

    def _beat(self) -> None:
        """Show a sign of life; a server that is away can show it to nobody else, either."""
        with self._mutex, suppress(OSError):
            if self._lost:
                return
            try:
                self._replace(self._version)
            except ChangedError:
                owner, self._version = self._read()
                # The answer to an earlier one may have been lost.
                self._lost = owner.get("token") != self._token

    def release(self) -> None:
        self._ended.set()
        if self._beating is None:
            return
        self._beating.join()
        self._beating = None
        if not self.lost():
            with suppress(OSError):  # it will be seen to be dead
                self._path.unlink()

    def lost(self) -> bool:
        if time.monotonic() - self._beaten > self._seconds / 2:  # it was stopped, or the server
            self._beat()
        return self._lost

    def exists(self) -> bool:
        return self._path.is_file()

    def lives(self) -> bool:
        owner, _ = self._read()
        if not owner or _is_dead(owner):
            return False
        with suppress(FileNotFoundError):
            return time.time() - self._path.stat().st_mtime <= self._seconds
        return False

    def is_local(self) -> bool:
        return _is_local(self._read()[0])

    def owner(self) -> str:
        owner, _ = self._read()
        return f"process {owner.get('pid')} on {owner.get('host')}" if owner else "unknown"


def _here() -> dict[str, Any]:
    pid = os.getpid()
    return {"host": socket.gethostname(), "pid": pid, "space": _space(), "began": _began(pid)}


def _space() -> int:
    """The namespace of process numbers: containers may have the host's name."""
    namespace = Path("/proc/self/ns/pid")
    return namespace.stat().st_ino if namespace.exists() else 0


def _began(pid: int) -> str | None:
    """When a process began, as the system counts it; None if there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None


def _is_local(owner: Mapping[str, Any]) -> bool:
    return owner.get("host") == socket.gethostname() and owner.get("space") == _space()


def _is_dead(owner: Mapping[str, Any]) -> bool:
    """Whether this was a process of this host."""
    return _is_local(owner) and _began(int(owner["pid"])) != owner.get("began")
