"""Remote paths: objects in buckets and files of web servers, used as `pathlib.Path` is."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from stat import S_IFREG
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, TypeVar, cast
from urllib.parse import quote, unquote

from pipeline.paths.buckets import ChangedError, open_bucket, translated

if TYPE_CHECKING:
    from obstore import GetOptions, ObjectMeta, PutMode

SCHEMES = ("s3", "gs", "https", "http")
SENT_BYTES = 1 << 20  # at a time, of lines
REMOVED_AT_ONCE = 1000  # objects, by one request


class Version(NamedTuple):
    """Which version of an object is meant: it alone is replaced, or read in parts."""

    e_tag: str | None
    number: str | None = None  # Google goes by this


class RemoteStatus(NamedTuple):
    """What `os.stat` tells of a file, for a remote one."""

    st_size: int
    st_mtime_ns: int  # no time, but a number that changes with the ETag, or else with the time
    st_ino: int  # the same if it is made anew
    st_mtime: float  # by the clock of the server
    version: Version
    st_mode: int = S_IFREG
    st_dev: int = 0


def is_remote(path: str | os.PathLike[str]) -> bool:
    """Whether this is a URL."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", os.fspath(path)) is not None


@dataclass(frozen=True, order=True)
class RemotePath(os.PathLike[str]):
    """An object, or all whose names begin with this one and a slash, or a file of a web server.

    The URL is ``s3://bucket/name``, ``gs://bucket/name`` or ``https://host/path``, without
    secrets. Objects appear whole or not at all; they are not written to, but replaced.
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
                f"{shown} was given with a password or a query, which would be stored; pass it "
                f"without"
            )
        if find_spec("obstore") is None:
            raise ImportError(
                f"{self.root} needs obstore, which is not installed; install "
                f"dask-audio-pipeline[remote]"
            )
        object.__setattr__(self, "url", self.url.rstrip("/"))

    def __str__(self) -> str:
        return self.url

    __fspath__ = __str__

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
        """The same without the last part of the key."""
        return RemotePath(self.url.rpartition("/")[0]) if self.key else self

    def with_name(self, name: str) -> RemotePath:
        """The same with another last part."""
        return self.parent / (quote(name) if self.is_web else name)

    def stat(self) -> RemoteStatus:
        """Size and version of the object; an OSError, such as FileNotFoundError, if it has none."""
        return _status(self, self._ask("head", self.key))

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

    def mkdir(self, parents: bool = False, exist_ok: bool = False) -> None:
        """Nothing: a name needs no other before it."""

    def walk(self) -> Iterator[tuple[str, int]]:
        """Names, relative to this, and sizes of all objects below, in order of name."""
        import obstore

        skip = len(self.key) + 1 if self.key else 0
        with translated(self.root):
            for some in obstore.list(open_bucket(self.root), self.key or None):
                for item in some:
                    yield item["path"][skip:], item["size"]

    def read_span(self, start: int, stop: int, version: Version) -> bytes:
        """Bytes start to stop - 1 of the object; ChangedError if it is another version."""
        options: GetOptions = {"range": (start, stop)}
        if version.e_tag and not version.e_tag.startswith("W/"):  # weak ones match nothing
            options["if_match"] = version.e_tag
        return bytes(self._get(options)[0])

    def read_spans(self, spans: Sequence[tuple[int, int]]) -> list[memoryview]:
        """Parts of the object, each from its first byte to the one after its last."""
        starts, ends = zip(*spans, strict=True)
        found = self._ask("get_ranges", self.key, starts=starts, ends=ends)
        return [memoryview(part) for part in found]

    def read_end(self, size: int) -> bytes:
        """The last bytes of the object."""
        return bytes(self._get({"range": {"suffix": size}})[0])

    def read_bytes(self) -> bytes:
        """The bytes of the object."""
        return bytes(self._get()[0])

    def read_part(self, start: int, stop: int | None) -> tuple[memoryview, Version]:
        """Bytes start to stop - 1 of the object, or to its end, and their version."""
        data, meta = self._get({"range": {"offset": start} if stop is None else (start, stop)})
        return data, Version(meta["e_tag"], meta["version"])

    def read_whole(self) -> memoryview:
        """The bytes of the object, where they were received."""
        return self._get()[0]

    def read_versioned(self) -> tuple[bytes, RemoteStatus]:
        """The bytes of the object, and its status at that moment."""
        data, meta = self._get()
        return bytes(data), _status(self, meta)

    def read_text(self) -> str:
        """The bytes of the object, as text."""
        return self.read_bytes().decode()

    def write_bytes(self, data: bytes | memoryview) -> None:
        """Put an object in place, whole, by one request."""
        self._ask("put", self.key, data, use_multipart=False)

    def write_lines(self, lines: Iterable[bytes | memoryview]) -> None:
        """Put an object in place, whole; it may be larger than memory."""
        self._ask("put", self.key, _joined(lines))

    def replace(self, data: bytes, version: Version | None) -> Version:
        """Put an object in place of this version of it, or of none, and return the new version.

        ChangedError if there is another version, or none.
        """
        mode: PutMode = "create"
        if version is not None:
            known = {"e_tag": version.e_tag and version.e_tag.strip('"'), "version": version.number}
            mode = cast("PutMode", {name: value for name, value in known.items() if value})
        try:
            done = self._ask("put", self.key, data, mode=mode, use_multipart=False)
        except ChangedError:
            there, status = self.read_versioned()
            if there != data:
                raise
            return status.version  # it was put, but the answer was lost
        return Version(done["e_tag"], done["version"])

    def unlink(self, missing_ok: bool = True) -> None:
        """Remove the object, if there is one."""
        try:
            self._ask("delete", self.key)
        except FileNotFoundError:
            if not missing_ok:
                raise

    def unlink_below(self, last: RemotePath | None = None) -> None:
        """Remove all objects below, one of them last."""
        keys = (f"{self.key}/{name}" for name, _ in self.walk())
        others = (key for key in keys if last is None or key != last.key)
        while some := [*islice(others, REMOVED_AT_ONCE)]:
            self._ask("delete", some)
        if last is not None:
            last.unlink()

    def copy(self, target: RemotePath) -> None:
        """Copy the object to another name of the bucket."""
        self._ask("copy", self.key, target.key)

    def _ask(self, request: str, *arguments: Any, **options: Any) -> Any:
        """The answer of the server to a request, which is a function of obstore."""
        import obstore

        with translated(self.url):
            return getattr(obstore, request)(open_bucket(self.root), *arguments, **options)

    def _get(self, options: GetOptions | None = None) -> tuple[memoryview, ObjectMeta]:
        """Bytes and metadata of the object; that it changes, or ends, may be seen on the way."""
        import obstore

        with translated(self.url):
            found = obstore.get(open_bucket(self.root), self.key, options=options)
            return memoryview(found.bytes()), found.meta


AnyPath: TypeAlias = Path | RemotePath
PathT = TypeVar("PathT", Path, RemotePath)


def as_path(path: str | os.PathLike[str]) -> AnyPath:
    """A path of this machine, or a remote one where it is a URL."""
    path = os.fspath(path)
    return RemotePath(path) if is_remote(path) else _local_path(path)


@lru_cache(maxsize=1024)
def _local_path(path: str) -> Path:
    """To parse a path takes longer than to ask a disk for its status."""
    return Path(path)


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
        if len(piece) >= SENT_BYTES:
            yield bytes(piece)
            piece.clear()
    yield bytes(piece)
