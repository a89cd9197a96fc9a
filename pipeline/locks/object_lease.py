"""Leases as objects of a bucket, which has no locks but answers conditions."""

import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from pipeline.locks.lease import LOOK_SECONDS
from pipeline.locks.processes import began, namespace
from pipeline.paths import ChangedError, RemotePath, Version


class ObjectLease:
    """A lease as an object, which its holder replaces as a sign of life.

    It is made on the condition that there is none, and replaced on the condition that it
    is what was last seen. The lease of a dead process of this host is taken at once, that
    of another host when this one has not seen it change for the whole term.
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
        owner = None
        with suppress(ValueError):
            owner = json.loads(data)
        return owner if isinstance(owner, dict) else {}, status.version

    def _replace(self, version: Version | None) -> None:
        self._beats, pid = self._beats + 1, os.getpid()
        here = {"host": socket.gethostname(), "pid": pid, "space": namespace(), "began": began(pid)}
        beat = {**here, "token": self._token, "beat": self._beats}
        self._version = self._path.replace(json.dumps(beat).encode(), version)
        self._beaten = time.monotonic()

    def _keep(self) -> None:
        while not self._ended.wait(self._seconds / 3):
            self._beat()

    def _beat(self) -> None:
        """Show a sign of life; while the server is away, nobody can take the lease either."""
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
        # If this process or the server was stopped:
        if time.monotonic() - self._beaten > self._seconds / 2:
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


def _is_local(owner: Mapping[str, Any]) -> bool:
    return owner.get("host") == socket.gethostname() and owner.get("space") == namespace()


def _is_dead(owner: Mapping[str, Any]) -> bool:
    """Whether this was a process of this host."""
    return _is_local(owner) and began(int(owner["pid"])) != owner.get("began")
