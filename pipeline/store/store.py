"""The store: what Zarr and HDF5, on a disk or in a bucket, have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from pipeline.layout import Layout
from pipeline.paths import AnyPath, StoredFile, stored_file
from pipeline.record import SameJob
from pipeline.store.encoding import Array, Encoding
from pipeline.store.schema import Attachment, Contents, Variable

T = TypeVar("T")
Holds = Callable[[tuple[StoredFile, ...]], bool]


@dataclass(frozen=True)
class Region:
    """Writes the features of one region, block by block, and knows what it stored."""

    # Encoded features of windows from the first on: whole shards, or up to the last window.
    write: Callable[[int, Array], None]
    files: list[StoredFile]


class Store(ABC):
    """Named arrays and attributes, in files. Safe to pickle; each process opens its own."""

    path: AnyPath
    record_folder: AnyPath
    job: SameJob | None  # whose store it must still be when features are read
    written_last: str  # the common files that `finishing` writes have names that begin so
    root: str  # name of the common file that says which variables there are

    @property
    def packed(self) -> bool:
        """Whether it is a plain copy, which no job goes on with."""
        return False

    @property
    @abstractmethod
    def shard(self) -> int:
        """How many windows are stored side by side, and fastest read together."""

    @property
    @abstractmethod
    def encoding(self) -> Encoding:
        """How its features are stored."""

    @abstractmethod
    def exists(self) -> bool:
        """Whether anything of it is there."""

    @abstractmethod
    def creating(self, contents: Contents) -> AbstractContextManager[Store]:
        """Make the store aside; it appears at `path`, whole, when the block ends."""

    @abstractmethod
    def remaking(self, contents: Contents) -> AbstractContextManager[Store]:
        """Make the common files anew, aside; they replace the old ones when the block ends."""

    @abstractmethod
    def remove(self) -> None:
        """Remove the store; killed in the middle, it is gone or as it was."""

    @abstractmethod
    def sweep(self) -> None:
        """Remove what killed writers have left."""

    @abstractmethod
    def attrs(self) -> dict[str, Any]:
        """The attributes of the store."""

    @abstractmethod
    def variables(self) -> dict[str, Variable]:
        """All variables, without their values."""

    @abstractmethod
    def axes(self) -> dict[str, str]:
        """Names of the axes of the features of a window, in order, and their units."""

    @abstractmethod
    def units(self) -> str:
        """Units of the features."""

    @abstractmethod
    def files(self) -> Iterator[str]:
        """Names of all files of the store, but for those of the record."""

    @abstractmethod
    def small_files(self) -> Iterator[str]:
        """Names of the common files, which hold no features."""

    @abstractmethod
    def locate(self, name: str) -> AnyPath:
        """Where a file of the store is."""

    @abstractmethod
    def owns(self, name: str) -> bool:
        """Whether only this store puts files of such a name there."""

    @abstractmethod
    def in_place(self, layout: Layout, regions: npt.NDArray[np.bool_]) -> Holds:
        """A function that says whether files are still there, and as long as was recorded.

        It is asked about the common files, and those of the regions that are marked. After a
        loss of power a region may have its line in the record, but not its data.
        """

    def tells_damage(self, name: str) -> bool:
        """Whether a file has checksums of its own, which are compared as it is read."""
        return False

    @abstractmethod
    def windows_of(self, name: str, layout: Layout) -> tuple[int, int] | None:
        """First window whose features a file holds, and the one after the last; None if none."""

    def stored_file(self, name: str, layout: Layout) -> StoredFile:
        """A file as it now is; an OSError or ValueError if it cannot be read, or is damaged."""
        return stored_file(self.locate(name), name)

    @abstractmethod
    def file_of(self, window: int) -> str:
        """Name of the file that holds the features of a window."""

    @abstractmethod
    def fill(self, name: str, start: int, values: Array) -> None:
        """Write values of a small variable, from `start` on."""

    @abstractmethod
    def get(self, name: str, start: int = 0, stop: int | None = None) -> Array | None:
        """Values of a small variable; None if the store has no such variable."""

    def mark(self) -> object:
        """What the root is known by: another, once variables were attached."""
        return stored_file(self.locate(self.root), self.root)

    def together(self, read: Callable[[], T]) -> T:
        """What is read of several variables, none of which was replaced meanwhile."""
        while True:
            before = self.mark()
            found = read()
            if self.mark() == before:
                return found

    def coordinate(self, name: str, start: int = 0, stop: int | None = None) -> Array:
        """Values of a small variable that every store has."""
        values = self.get(name, start, stop)
        assert values is not None, name
        return values

    @abstractmethod
    def region(self, start: int, stop: int) -> AbstractContextManager[Region]:
        """Write windows start to stop - 1; they are in place when the block ends."""

    @abstractmethod
    def finishing(self) -> AbstractContextManager[Store]:
        """Fill `valid` of the store that is yielded; it is in place when the block ends."""

    @abstractmethod
    def attaching(self, attachment: Attachment) -> AbstractContextManager[list[StoredFile]]:
        """Add small variables, with their values, or put them in place of those of their names.

        Yields the files that come, or are replaced. They are in place when the block ends, the
        root last: until then, and if it does not come to that, the store is as it was.
        """

    def is_renamed(self) -> bool:
        """Whether its files look for each other under another name."""
        return False

    @abstractmethod
    def check(self) -> None:
        """Refuse a store whose files do not belong together, which would read wrong in silence."""

    def read(self, windows: npt.NDArray[np.int64], empty: Callable[..., Array] = np.empty) -> Array:
        """Features of windows as they are stored, in the order asked for.

        `empty` makes the array. Windows that were never written are missing, as the
        encoding says. An OSError or ValueError if a file cannot be read, or is damaged.
        """
        result = self._read(windows, empty)
        if self.job is not None:
            self.job.check()
        return result

    @abstractmethod
    def _read(self, windows: npt.NDArray[np.int64], empty: Callable[..., Array]) -> Array: ...

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]
