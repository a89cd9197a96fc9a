"""The store as a Zarr group in a bucket, where nothing can be renamed, and no file half written."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorstore
from zarr.storage import ObjectStore

from pipeline.buckets import open_bucket, translated
from pipeline.files import StoredFile, aside_of, stored_bytes
from pipeline.layout import NAMES, Layout, Variable
from pipeline.remote import RemotePath
from pipeline.zarr_group import ZarrGroup, check_block, create_group

__all__ = ["RemoteStore"]

Array = npt.NDArray[Any]


class RemoteStore(ZarrGroup[RemotePath]):
    """Reads and writes a Zarr store in a bucket; see `pipeline.store.Store`.

    It is there when its record has a first line, which is put last. A mark is
    put before anything else, by which what a killed job has left of a store
    that it was making, or removing, is known from one that is whole.
    """

    def __init__(self, path: RemotePath) -> None:
        super().__init__(path)
        self._logs, self._mark = self.record_folder / "log", self.record_folder / "unfinished"

    def zarr_store(self) -> ObjectStore[Any]:
        """The group, as zarr knows it."""
        return ObjectStore(open_bucket(self.path.root, self.path.key))

    def kvstore(self) -> dict[str, Any]:
        """The features, as tensorstore knows them."""
        bucket, folder = self.path.root.partition("://")[2], f"{self.path.key}/features/"
        if self.path.root.startswith("gs:"):
            return {"driver": "gcs", "bucket": bucket, "path": folder}
        return {"driver": "s3", "bucket": bucket, "path": folder, **_s3_options()}

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
        for name in made.files():
            made.locate(name).copy(self.locate(name))
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
        for name in NAMES:
            if name == "features":
                yield "features/zarr.json"
            else:
                yield from (f"{name}/{file}" for file, _ in (self.path / name).walk())

    def in_place(self, layout: Layout) -> Callable[[tuple[StoredFile, ...]], bool]:
        """Tells whether files are there, and as long as they were; one listing answers for all.

        Of a region no more is kept than how many files it has, and their bytes.
        """
        count, size = (np.zeros(layout.n_regions, np.int64) for _ in range(2))
        small: dict[str, int] = {}
        for name, length in self.path.walk():
            windows = self.windows_of(name, layout)
            if windows is None:
                small[name] = length
            else:
                count[windows[0] // layout.region] += 1
                size[windows[0] // layout.region] += length

        def holds(files: tuple[StoredFile, ...]) -> bool:
            windows = self.windows_of(files[0].name, layout) if files else None
            if windows is None:
                return all(small.get(file.name) == file.size for file in files)
            region = windows[0] // layout.region
            length = sum(file.size for file in files)
            return bool(count[region] == len(files) and size[region] == length)

        return holds

    @contextmanager
    def region(self, start: int, stop: int) -> Iterator[RemoteRegion]:
        """Write the shards of windows start to stop - 1."""
        with ThreadPoolExecutor(1) as sender:
            region = RemoteRegion(self, sender)
            yield region
            region.finish()

    @contextmanager
    def finishing(self) -> Iterator[RemoteStore]:
        """Fill `valid`, which is not read before the job is finished."""
        yield self


class RemoteRegion:
    """Writes one region, each shard by one request, while the next block is computed.

    Shards are encoded in memory: what is put is then known to the last byte,
    and need not be read back for its checksum. No more than they wait to be put.
    """

    def __init__(self, store: RemoteStore, sender: ThreadPoolExecutor) -> None:
        self.files: list[StoredFile] = []
        self._store, self._sender = store, sender
        self._sending: Future[list[StoredFile]] | None = None
        self._memory = tensorstore.KvStore.open({"driver": "memory"}).result()
        self._memory["zarr.json"] = store.locate("features/zarr.json").read_bytes()
        spec = {"driver": "zarr3"}
        self._array = tensorstore.open(spec, kvstore=self._memory, open=True).result()
        self._shard = int(self._array.chunk_layout.write_chunk.shape[0])  # type: ignore[index,arg-type]

    def write(self, start: int, block: Array) -> None:
        """Store the features of consecutive windows, from `start` on."""
        check_block(self._array, self._shard, start, block)
        encoded = [
            self._encode(start + low, block[low : low + self._shard])
            for low in range(0, len(block), self._shard)
        ]
        self.finish()
        self._sending = self._sender.submit(self._send, encoded)

    def _encode(self, start: int, part: Array) -> tuple[str, bytes]:
        """Name and bytes of a shard."""
        target = self._array[start : start + len(part)]
        target.write(part, can_reference_source_data_indefinitely=True).result()
        key = f"c/{start // self._shard}" + "/0" * (self._array.ndim - 1)
        data: bytes = self._memory[key]
        del self._memory[key]
        return f"features/{key}", data

    def _send(self, encoded: list[tuple[str, bytes]]) -> list[StoredFile]:
        files = []
        for name, data in encoded:
            self._store.locate(name).write_bytes(data)
            files.append(stored_bytes(data, name))
        return files

    def finish(self) -> None:
        """Wait until all is written, and take down what it is."""
        if self._sending is not None:
            sending, self._sending = self._sending, None
            self.files += sending.result()


def _s3_options() -> dict[str, Any]:
    """What obstore takes from the environment by itself, for tensorstore."""
    known = os.environ
    options: dict[str, Any] = {
        "aws_region": known.get("AWS_REGION") or known.get("AWS_DEFAULT_REGION") or "us-east-1"
    }
    if known.get("AWS_ENDPOINT_URL"):
        options["endpoint"] = known["AWS_ENDPOINT_URL"]
    if known.get("AWS_SKIP_SIGNATURE", "").lower() in ("true", "1"):
        options["aws_credentials"] = {"type": "anonymous"}
    elif known.get("AWS_ACCESS_KEY_ID"):
        options["aws_credentials"] = {"type": "environment"}
    return options
