"""The store as a Zarr group in a bucket, where nothing can be renamed, and no file half written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any

from zarr.storage import ObjectStore

from pipeline.layout import Layout
from pipeline.paths import RemotePath, aside_of, open_bucket, translated
from pipeline.record import SameJob
from pipeline.store.schema import Variable
from pipeline.store.shards import Piece, Shards
from pipeline.store.zarr_group import ZarrGroup, create_group


class RemoteStore(ZarrGroup[RemotePath]):
    """Reads and writes a Zarr store in a bucket; see `pipeline.store.store.Store`.

    It is there when its record has a first line, which is put last. A mark is
    put before anything else, by which what a killed job has left of a store
    that it was making, or removing, is known from one that is whole.
    """

    def __init__(
        self, path: RemotePath, job: SameJob | None = None, shards: Shards | None = None
    ) -> None:
        super().__init__(path, job, shards)
        self._logs, self._mark = self.record_folder / "log", self.record_folder / "unfinished"

    def zarr_store(self) -> ObjectStore[Any]:
        """The group, as zarr knows it."""
        return ObjectStore(open_bucket(self.path.root, self.path.key))

    def translated(self) -> AbstractContextManager[None]:
        """Make errors of the libraries those of the system."""
        return translated(self.path.url)

    def exists(self) -> bool:
        """Whether anything of it is there, but for what a killed job has left."""
        if self._logs.is_dir():
            return True
        return not self._mark.is_file() and self.path.is_dir()

    @contextmanager
    def creating(
        self, layout: Layout, variables: Mapping[str, Variable], attrs: Mapping[str, Any]
    ) -> Iterator[RemoteStore]:
        """Make the store in its place; the first line of its record must come last."""
        self.sweep()
        self._mark.touch()
        try:
            with self.translated():
                create_group(self.zarr_store(), layout, variables, attrs)
            yield self
        except BaseException:
            with suppress(OSError):
                self.remove()
            raise
        self._mark.unlink()

    @contextmanager
    def remaking(
        self, layout: Layout, variables: Mapping[str, Variable], attrs: Mapping[str, Any]
    ) -> Iterator[RemoteStore]:
        """Make all but the regions and the record again; it takes its place when the block ends."""
        made = RemoteStore(self._aside() / aside_of(self.path).name)
        with self.translated():
            create_group(made.zarr_store(), layout, variables, attrs)
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
        """Remove the store; killed in the middle, it is gone or as it was."""
        self._mark.touch()
        (self.record_folder / "finished").unlink()
        # Later lines take back what earlier ones say, so that these go first.
        for name in sorted(name for name, _ in self._logs.walk()):
            (self._logs / name).unlink()
        self.path.unlink_below(last=self._mark)

    def sweep(self) -> None:
        """Remove what killed writers have left."""
        if self._mark.is_file():
            if self._logs.is_dir():
                self._mark.unlink()
            else:
                self.path.unlink_below(last=self._mark)
        self._aside().unlink_below()

    def files(self) -> Iterator[str]:
        """Names of all files of the store, but for those of the record."""
        return (name for name, _ in self.path.walk() if not name.startswith(".record/"))

    def small_files(self) -> Iterator[str]:
        """Names of the files that hold no features."""
        yield "zarr.json"
        for name in self.names():
            if name == "features":
                yield "features/zarr.json"
            else:
                yield from (f"{name}/{file}" for file, _ in (self.path / name).walk())

    def sizes(self, wanted: Callable[[str], bool]) -> Iterator[tuple[str, int]]:
        """Names and sizes of the files of the store that are wanted, by one listing."""
        return ((name, size) for name, size in self.path.walk() if wanted(name))

    def put(self, name: str, pieces: list[Piece]) -> None:
        """Put a file in place, whole, by one request."""
        self.locate(name).write_bytes(b"".join(pieces))

    @contextmanager
    def finishing(self) -> Iterator[RemoteStore]:
        """Fill `valid`, which is not read before the job is finished."""
        yield self
