"""Shards: the files of a Zarr array of features, made whole, and read window by window.

Any Zarr library reads them, and writes the like. The fastest found takes twice the
processor time for either, for a checksum in portable code and for copies: see
scripts/measure/choices. How many windows a chunk and a shard have is in `pipeline.layout`.
"""

import math
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import groupby
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.paths import PART, AnyPath, RemotePath, read_parts
from pipeline.store.checksums import CHECKSUM_BYTES, Bytes, Piece, checksum_bytes, data_of, sum_up
from pipeline.store.encoding import Array, Encoding
from pipeline.store.file_parts import File, Received, opened, read_end, read_plain, read_spans

Numbers = npt.NDArray[np.int64]
Index = npt.NDArray[np.uint64]  # offset and size of each chunk

LEVEL = 1
BLOCK = 1 << 17  # bytes that Blosc works on at a time
ABSENT = 2**64 - 1
INDEXED = 1 << 22  # chunks whose places are kept in memory
REQUESTS = 16  # at a time, of a server
RECEIVED = 1 << 26  # bytes, about, of whole shards at a time, but at least one


def shuffle(itemsize: int) -> str:
    """Whether Blosc sorts bytes, or bits, which for small numbers is as fast, and smaller."""
    return "shuffle" if itemsize > 2 else "bitshuffle"


@dataclass(frozen=True)
class Shards:
    """A Zarr array in shards, each of several chunks, which have checksums of their own."""

    folder: AnyPath
    n_windows: int
    shape: tuple[int, ...]  # of one window
    encoding: Encoding
    chunk: int  # windows in a chunk
    length: int  # windows in a shard
    compression: str = "none"  # or "lz4" or "zstd", by Blosc

    def name_of(self, shard: int) -> str:
        """Name of a shard's file in the folder."""
        return f"c.{shard}" + ".0" * len(self.shape)

    def encode(self, block: Array) -> tuple[list[Piece], int]:
        """What the file of a shard holds, in pieces, and the checksum of its checksums.

        Of a block of encoded windows; the last of an array may be shorter. Not to be called
        by the main thread: there Blosc starts others, and the bytes come in any order.
        """
        pieces: list[Piece] = []
        index, place = np.full((self.length // self.chunk, 2), ABSENT, "<u8"), 0
        for number, first in enumerate(range(0, len(block), self.chunk)):
            values = block[first : first + self.chunk]
            if lacking := self.chunk - len(values):
                blank = np.full((lacking, *self.shape), self.encoding.fill_value, block.dtype)
                values = np.concatenate([values, blank])
            data = self._encode_chunk(np.ascontiguousarray(values, self._stored))
            pieces += [data.data, checksum_bytes(data)]
            index[number] = place, len(data) + CHECKSUM_BYTES
            place += len(data) + CHECKSUM_BYTES
        end = index.tobytes()
        end += checksum_bytes(end)
        return [*pieces, end], sum_up(pieces[1::2], end)

    def _encode_chunk(self, values: Array) -> npt.NDArray[np.uint8]:
        if self.compression == "none":
            return values.reshape(-1).view(np.uint8)
        from numcodecs import blosc

        kind = getattr(blosc, shuffle(values.itemsize).upper())
        data = blosc.compress(values, self.compression.encode(), LEVEL, kind, BLOCK)
        return np.frombuffer(data, np.uint8)

    def checksum(self, shard: int) -> int:
        """The checksum of the checksums of a shard's file, after each was compared."""
        path, checksums = self._file(shard), []
        with opened(path) as file:
            if isinstance(path, RemotePath):
                file = Received([path.read_whole()])
            end = bytes(read_end(file, self._index_bytes))
            for data in read_spans(file, _spans(_index_in(end))):
                data_of(data)
                checksums.append(bytes(data[-CHECKSUM_BYTES:]))
        return sum_up(checksums, end)

    def read(self, windows: Numbers, empty: Callable[..., Array] = np.empty) -> Array:
        """Encoded features of windows, in any order; missing where none were written."""
        rows = np.argsort(windows, kind="stable")
        result = empty((len(windows), *self.shape), self._stored)
        if not np.diff(windows[rows]).all():
            different, places = np.unique(windows, return_inverse=True)
            found = self.read(different, empty)
            return np.take(found, places, axis=0, out=result, mode="clip")
        if isinstance(self.folder, RemotePath):
            self._read_at_once(windows, rows, result)
        else:
            self._read(windows, rows, result)
        return result

    def _read_at_once(self, windows: Numbers, rows: npt.NDArray[np.intp], result: Array) -> None:
        """Fill rows as `_read` does, by several requests at a time; a whole shard is one."""
        shards, starts, counts = np.unique(
            windows[rows] // self.length, return_index=True, return_counts=True
        )
        is_whole = self._are_all(shards, counts)
        whole = [rows[a : a + n] for a, n in zip(starts[is_whole], counts[is_whole], strict=True)]
        others = rows[~np.repeat(is_whole, counts)]
        # A pool of its own costs little, and is there again after a fork.
        at_once = min(REQUESTS, max(1, RECEIVED // self._most_bytes(self.length)))
        with ThreadPoolExecutor(REQUESTS) as pool, ThreadPoolExecutor(at_once) as waiting:
            read = partial(self._read, windows, result=result)
            found = waiting.map(partial(read, pool=pool), whole)
            # First, so that several parts do not ask for the same.
            list(pool.map(self._ask_for_index, shards[~is_whole].tolist()))
            list(pool.map(read, self._shares(windows[others], others)))
            list(found)

    def _shares(self, windows: Numbers, rows: npt.NDArray[np.intp]) -> list[npt.NDArray[np.intp]]:
        """Rows in as many shares as there are requests at a time, or that are worth one.

        Windows that follow each other in a shard are one request.
        """
        if not len(rows):
            return []
        follows = (np.diff(windows) == 1) & (windows[1:] % self.length > 0)
        run = np.append(0, np.cumsum(~follows))
        first = np.flatnonzero(np.append(True, ~follows))
        most = max(1, PART * self.length // self._most_bytes(self.length))
        within = (np.arange(len(rows)) - first[run]) % most  # of as many as are worth a request
        starts = np.flatnonzero(within == 0)
        n_shares = min(REQUESTS, len(starts))
        chosen = starts[np.arange(1, n_shares) * len(starts) // n_shares]
        return np.split(rows, chosen)

    def _read(
        self,
        windows: Numbers,
        rows: npt.NDArray[np.intp],
        result: Array,
        pool: Executor | None = None,
    ) -> None:
        """Fill rows of a result, given in the order of their windows, all of which differ."""
        pairs = zip(windows[rows].tolist(), rows.tolist(), strict=True)
        for shard, group in groupby(pairs, lambda pair: pair[0] // self.length):
            wanted = [*group]
            try:
                self._read_shard(shard, wanted, result, pool)
            except FileNotFoundError:
                result[[row for _, row in wanted]] = self.encoding.fill_value

    def _read_shard(
        self, shard: int, wanted: list[tuple[int, int]], result: Array, pool: Executor | None
    ) -> None:
        """Fill rows from one file, given pairs of window and row."""
        with opened(self._file(shard)) as file:
            if pool and isinstance(file, RemotePath) and self._are_all(shard, len(wanted)):
                file = Received(read_parts(file, self._most_bytes(len(wanted)), pool))
                index = _index_in(read_end(file, self._index_bytes))
            else:
                index = self._index(shard, file)
            self._fill(file, index, wanted, result)

    def _fill(self, file: File, index: Index, wanted: list[tuple[int, int]], result: Array) -> None:
        """Fill rows from an open file."""
        spans, filled = [], []
        for chunk, group in groupby(wanted, lambda pair: pair[0] % self.length // self.chunk):
            rows = [(window % self.chunk, row) for window, row in group]
            if span := _spans(index[chunk : chunk + 1]):
                spans += span
                filled.append(rows)
            else:
                result[[row for _, row in rows]] = self.encoding.fill_value
        if self.chunk == 1 and self.compression == "none" and isinstance(file, int):
            read_plain(file, spans, [result[row] for ((_, row),) in filled])
            return
        values = np.empty((self.chunk, *self.shape), self._stored)
        for rows, data in zip(filled, read_spans(file, spans), strict=True):
            if self.chunk == 1:
                self._decode(data_of(data), result[rows[0][1]])
                continue
            self._decode(data_of(data), values)
            for place, row in rows:
                result[row] = values[place]

    def _decode(self, data: Bytes, result: Array) -> None:
        if self.compression == "none":
            result[...] = np.frombuffer(data, self._stored).reshape(result.shape)
            return
        from numcodecs import blosc

        try:
            blosc.decompress(data, result)
        except RuntimeError as error:
            raise ValueError(f"it cannot be decoded: {error}") from error

    def _file(self, shard: int) -> str | RemotePath:
        name = self.name_of(shard)
        if isinstance(self.folder, RemotePath):
            return self.folder / name
        return f"{self.folder}/{name}"  # a path takes a tenth of the time of reading a window

    def _are_all(
        self, shard: int | Numbers, count: int | npt.NDArray[np.intp]
    ) -> npt.NDArray[np.bool_]:
        """Whether so many windows are all of a shard, of which the last may have fewer."""
        return np.asarray(count == np.minimum(self.length, self.n_windows - shard * self.length))

    @cached_property
    def _stored(self) -> np.dtype[Any]:
        """The dtype as it is stored, whatever this machine's order of bytes."""
        return np.dtype(self.encoding.dtype).newbyteorder("<")

    def _ask_for_index(self, shard: int) -> None:
        with suppress(FileNotFoundError), opened(self._file(shard)) as file:
            self._index(shard, file)

    def _index(self, shard: int, file: File) -> Index:
        """Offset and size of each chunk of a shard, as stored at its end; read once."""
        found = self._indices.get(shard)
        if found is None:
            found = _index_in(read_end(file, self._index_bytes))
            if len(self._indices) >= max(1, INDEXED * 16 // self._index_bytes):
                self._indices.clear()
            self._indices[shard] = found
        return found

    @cached_property
    def _indices(self) -> dict[int, Index]:
        """Those that are known, by shard."""
        return {}

    def _most_bytes(self, n_windows: int) -> int:
        """The size of the file of a shard of so many windows, if nothing makes it smaller."""
        chunk_bytes = self.chunk * math.prod(self.shape) * self._stored.itemsize + CHECKSUM_BYTES
        return -(-n_windows // self.chunk) * chunk_bytes + self._index_bytes

    @property
    def _index_bytes(self) -> int:
        return self.length // self.chunk * 16 + CHECKSUM_BYTES


def _index_in(end: Bytes) -> Index:
    """The index that a shard ends with."""
    return np.frombuffer(data_of(end), "<u8").reshape(-1, 2)


def _spans(index: Index) -> list[tuple[int, int]]:
    """Where chunks that were written begin and end."""
    return [(offset, offset + size) for offset, size in index.tolist() if offset != ABSENT]
