"""The store as a Zarr group in a bucket, where nothing can be renamed, and no file half written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any

from pipeline.paths import RemotePath, aside_of, open_bucket, translated
from pipeline.record import SameJob
from pipeline.store.checksums import Piece
from pipeline.store.schema import Contents
from pipeline.store.shards import Shards
from pipeline.store.zarr_group import ZarrGroup


class RemoteStore(ZarrGroup[RemotePath]):
    """Reads and writes a Zarr store in a bucket.

    It is there when its record has a first line, which is put last. A mark is put before
    anything else: while it is there without that line, the rest is only what a killed
    job has left of a store that it was making, or removing.
    """

    def __init__(
        self, path: RemotePath, job: SameJob | None = None, shards: Shards | None = None
    ) -> None:
        super().__init__(path, job, shards)
        self._logs, self._mark = self.record_folder / "log", self.record_folder / "unfinished"

    def zarr_store(self) -> Any:
        from zarr.storage import ObjectStore

        return ObjectStore(open_bucket(self.path.root, self.path.key))

    def translated(self) -> AbstractContextManager[None]:
        return translated(self.path.url)

    def exists(self) -> bool:
        # The mark last: another process may put it, and the rest, while this one looks.
        return self._logs.is_dir() or (self.path.is_dir() and not self._mark.is_file())

    @contextmanager
    def creating(self, contents: Contents) -> Iterator[RemoteStore]:
        # In its place: the first line of its record, put last, makes it appear.
        self.sweep()
        self._mark.write_bytes(b"")
        try:
            self.create_group(contents)
            yield self
        except BaseException:
            with suppress(OSError):
                self.remove()
            raise
        self._mark.unlink()

    @contextmanager
    def remaking(self, contents: Contents) -> Iterator[RemoteStore]:
        made = RemoteStore(self._aside() / aside_of(self.path).name)
        made.create_group(contents)
        yield made
        names = [*made.files()]
        for name in names:
            made.locate(name).copy(self.locate(name))
        for name in {*self.small_files()} - {*names}:  # of `valid`, which is filled at the end
            self.locate(name).unlink()
        made.path.unlink_below()

    def _aside(self) -> RemotePath:
        return self.path.with_name(f".{self.path.name}.partial")

    def remove(self) -> None:
        self._mark.write_bytes(b"")
        (self.record_folder / "finished").unlink()
        # First lines first: later ones may take back what they say.
        for name in sorted(name for name, _ in self._logs.walk()):
            (self._logs / name).unlink()
        self.path.unlink_below(last=self._mark)

    def sweep(self) -> None:
        if self._mark.is_file():
            if self._logs.is_dir():
                self._mark.unlink()
            else:
                self.path.unlink_below(last=self._mark)
        self._aside().unlink_below()

    def names_below(self, name: str) -> Iterator[str]:
        return (file for file, _ in (self.path / name).walk())

    def sizes(self, wanted: Callable[[str], bool]) -> Iterator[tuple[str, int]]:
        return ((name, size) for name, size in self.path.walk() if wanted(name))

    def put(self, name: str, pieces: list[Piece]) -> None:
        self.locate(name).write_bytes(b"".join(pieces))
