"""Remote paths: what is used here of `pathlib.Path`, for buckets and web servers."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import islice
from pathlib import Path, PurePosixPath
from stat import S_IFREG
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, TypeVar, cast
from urllib.parse import quote, unquote

from pipeline.paths.buckets import ChangedError, open_bucket, translated

if TYPE_CHECKING:
    from obstore import GetOptions, ObjectMeta, PutMode
    from obstore.store import ObjectStore

SCHEMES = ("s3", "gs", "https", "http")
TOGETHER = 1 << 20  # bytes sent at a time of what comes in lines
AT_ONCE = 1000  # objects removed by one request


class Version(NamedTuple):
    """What an object must be for it to be replaced, or a part of it read."""

    e_tag: str | None
    number: str | None = None  # of Google, which goes by it


class RemoteStatus(NamedTuple):
    """What `os.stat` tells of a file, of a remote one.

    Parameters
    ----------
    st_size : int
        Bytes.
    st_mtime_ns : int
        No time, but a number that changes when the file does: of its ETag, or
        of the time of its change where the server gives none.
    st_ino : int
        A number of its own, also when it is made anew.
    st_mtime : float
        When it was changed, by the clock of the server.
    version : Version
        What it is asked for by.
    """

    st_size: int
    st_mtime_ns: int
    st_ino: int
    st_mtime: float
    version: Version
    st_mode: int = S_IFREG
    st_dev: int = 0


def is_remote(path: str | os.PathLike[str]) -> bool:
    """Whether this is a URL."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", os.fspath(path)) is not None


@dataclass(frozen=True, order=True)
class RemotePath(os.PathLike[str]):
    """An object, or what begins with its name and a slash, or a file of a web server.

    Objects appear whole or not at all; they are not written to, but replaced.

    Parameters
    ----------
    url : str
        ``s3://bucket/name``, ``gs://bucket/name`` or ``https://host/path``.

    Raises
    ------
    ValueError
        If it is none of these, or holds what may be secret.
    ImportError
        If obstore is not installed.
    """

    url: str

    def __post_init__(self) -> None:
        scheme, _, rest = self.url.partition("://")
        host, _, path = rest.partition("/")
        web = scheme in ("http", "https")
        if scheme not in SCHEMES:
            raise ValueError(f"{self.url} is not known; remote are s3://, gs:// and https://")
        if not host:
            lacks, example = ("server", "server/file") if web else ("bucket", "bucket/folder/")
            raise ValueError(f"{self.url} names no {lacks}; give {scheme}://{example}")
        if "@" in host or (web and ("?" in path or "#" in path)):
            shown = f"{scheme}://{host.rpartition('@')[2]}/{re.split('[?#]', path)[0]}"
            raise ValueError(
                f"{shown} was given with a password or a query, which would be stored; give it "
                f"without"
            )
        if find_spec("obstore") is None:
            raise ImportError(
                f"{self.root} needs obstore, which is not installed; install "
                f"dask-audio-pipeline[remote]"
            )
        object.__setattr__(self, "url", self.url.rstrip("/"))

    def __fspath__(self) -> str:
        return self.url

    def __str__(self) -> str:
        return self.url

    def __truediv__(self, name: str) -> RemotePath:
        return RemotePath(f"{self.url}/{name}") if name else self

    @property
    def root(self) -> str:
        """Scheme and bucket, or host."""
        return "/".join(self.url.split("/", 3)[:3])

    @property
    def key(self) -> str:
        """The name within the bucket, or the path on the host."""
        key = self.url[len(self.root) + 1 :]
        return unquote(key) if self.is_web else key

    @property
    def is_web(self) -> bool:
        """Whether it is on a web server, which cannot be searched or written to."""
        return self.url.startswith("http")

    @property
    def name(self) -> str:
        """The last part of the key."""
        return self.key.rpartition("/")[2]

    @property
    def stem(self) -> str:
        """The name without its suffix."""
        return os.path.splitext(self.name)[0]

    @property
    def suffix(self) -> str:
        """The ending of the name, with its dot."""
        return os.path.splitext(self.name)[1]

    @property
    def parent(self) -> RemotePath:
        """What the last part of the key is in."""
        if not self.key:
            return self
        return RemotePath(self.url.rpartition("/")[0])

    def with_name(self, name: str) -> RemotePath:
        """The same with another last part."""
        return self.parent / (quote(name) if self.is_web else name)

    def stat(self) -> RemoteStatus:
        """Size and version of the object.

        Raises
        ------
        FileNotFoundError, PermissionError, OSError
            If there is none, it may not be read, or the server cannot be reached.
        """
        import obstore

        with translated(self.url):
            return _status(self, obstore.head(self._store(), self.key))

    def is_file(self) -> bool:
        """Whether there is an object of this name."""
        try:
            self.stat()
        except FileNotFoundError:
            return False
        return True

    def is_dir(self) -> bool:
        """Whether there are objects below."""
        return next(self.walk(), None) is not None

    def exists(self) -> bool:
        """Whether there is an object of this name, or any below."""
        return self.is_file() or self.is_dir()

    def relative_to(self, other: RemotePath) -> PurePosixPath:
        """The names from another to this one, which is below it."""
        return PurePosixPath(self.url).relative_to(other.url)

    def mkdir(self, parents: bool = False, exist_ok: bool = False) -> None:
        """Nothing: a name needs no other before it."""

    def walk(self) -> Iterator[tuple[str, int]]:
        """Names, relative to this, and sizes of all objects below, in order of name."""
        import obstore

        skip = len(self.key) + 1 if self.key else 0
        with translated(self.root):
            for some in obstore.list(self._store(), self.key or None):
                for item in some:
                    yield item["path"][skip:], item["size"]

    def iterdir(self) -> Iterator[RemotePath]:
        """What is directly below: objects, and common beginnings of several."""
        import obstore

        with translated(self.root):
            found = obstore.list_with_delimiter(self._store(), self.key or None)
        keys = [*found["common_prefixes"], *(item["path"] for item in found["objects"])]
        return (RemotePath(f"{self.root}/{key}") for key in sorted(keys))

    def read_span(self, start: int, stop: int, version: Version) -> bytes:
        """Bytes start to stop - 1 of the object, if it is still this version.

        Raises
        ------
        ChangedError
            If it is another.
        OSError
            As of `stat`.
        """
        import obstore

        options: GetOptions = {"range": (start, stop)}
        if version.e_tag and not version.e_tag.startswith("W/"):  # weak ones match nothing
            options["if_match"] = version.e_tag
        with translated(self.url):
            return bytes(obstore.get(self._store(), self.key, options=options).bytes())

    def read_spans(self, spans: Sequence[tuple[int, int]]) -> list[bytes]:
        """Parts of the object, each from its first byte to the one after its last."""
        import obstore

        starts, ends = zip(*spans, strict=True)
        with translated(self.url):
            found = obstore.get_ranges(self._store(), self.key, starts=starts, ends=ends)
        return [bytes(part) for part in found]

    def read_end(self, size: int) -> bytes:
        """The last bytes of the object."""
        import obstore

        options: GetOptions = {"range": {"suffix": size}}
        with translated(self.url):
            return bytes(obstore.get(self._store(), self.key, options=options).bytes())

    def read_bytes(self) -> bytes:
        """What the object holds."""
        return self.read_versioned()[0]

    def read_versioned(self) -> tuple[bytes, RemoteStatus]:
        """What the object holds, and its status at that moment."""
        import obstore

        with translated(self.url):
            found = obstore.get(self._store(), self.key)
            return bytes(found.bytes()), _status(self, found.meta)

    def read_text(self) -> str:
        """What the object holds, as text."""
        return self.read_bytes().decode()

    def write_bytes(self, data: bytes | memoryview) -> None:
        """Put an object in place, whole, by one request."""
        import obstore

        with translated(self.url):
            obstore.put(self._store(), self.key, data, use_multipart=False)

    def write_lines(self, lines: Iterable[bytes | memoryview]) -> None:
        """Put an object in place, whole; it may be larger than memory."""
        import obstore

        with translated(self.url):
            obstore.put(self._store(), self.key, _joined(lines))

    def replace(self, data: bytes, version: Version | None) -> Version:
        """Put an object in place of this version of it, or where there is none.

        Returns
        -------
        Version
            What it is now.

        Raises
        ------
        ChangedError
            If it is another version, or none.
        OSError
            As of `stat`.
        """
        import obstore

        mode: PutMode = "create"
        if version is not None:
            known = {"e_tag": version.e_tag and version.e_tag.strip('"'), "version": version.number}
            mode = cast("PutMode", {name: value for name, value in known.items() if value})
        try:
            with translated(self.url):
                done = obstore.put(self._store(), self.key, data, mode=mode, use_multipart=False)
        except ChangedError:
            there, status = self.read_versioned()
            if there != data:
                raise
            return status.version  # it was put, but the answer was lost
        return Version(done["e_tag"], done["version"])

    def touch(self) -> None:
        """Put an empty object in place."""
        self.write_bytes(b"")

    def unlink(self, missing_ok: bool = True) -> None:
        """Remove the object, if there is one."""
        import obstore

        with translated(self.url):
            try:
                obstore.delete(self._store(), self.key)
            except FileNotFoundError:
                if not missing_ok:
                    raise

    def unlink_below(self, last: RemotePath | None = None) -> None:
        """Remove all objects below, one of them last."""
        import obstore

        names = (name for name, _ in self.walk())
        keys = (f"{self.key}/{name}" for name in names)
        others = (key for key in keys if last is None or key != last.key)
        while some := [*islice(others, AT_ONCE)]:
            with translated(self.url):
                obstore.delete(self._store(), some)
        if last is not None:
            last.unlink()

    def copy(self, target: RemotePath) -> None:
        """Copy the object to another name of the bucket."""
        import obstore

        with translated(self.url):
            obstore.copy(self._store(), self.key, target.key)

    def _store(self) -> ObjectStore:
        return open_bucket(self.root)


AnyPath: TypeAlias = Path | RemotePath
PathT = TypeVar("PathT", Path, RemotePath)


def as_path(path: str | os.PathLike[str]) -> AnyPath:
    """A path as what it is: one of this machine's, or a remote one."""
    path = os.fspath(path)
    return RemotePath(path) if is_remote(path) else Path(path)


def _status(path: RemotePath, meta: ObjectMeta) -> RemoteStatus:
    changed = meta["last_modified"]
    version = Version(meta["e_tag"], meta["version"])
    said = hashlib.sha256((version.e_tag or changed.isoformat()).encode()).digest()
    number = int.from_bytes(said[:8], "big") >> 5  # fits where nanoseconds do
    return RemoteStatus(meta["size"], number, hash(path.url), changed.timestamp(), version)


def _joined(lines: Iterable[bytes | memoryview]) -> Iterator[bytes]:
    """The same bytes in larger pieces."""
    piece = bytearray()
    for line in lines:
        piece += line
        if len(piece) >= TOGETHER:
            yield bytes(piece)
            piece.clear()
    yield bytes(piece)
