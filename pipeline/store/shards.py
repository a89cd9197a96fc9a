"""Shards: the files of a Zarr array of features, made whole, and read window by window.

Any Zarr library reads them, and writes the like. The fastest found takes twice the
processor time for either, for a checksum in portable code and for copies: see
scripts/measure/choices. How many windows a chunk and a shard have is in `pipeline.layout`.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from itertools import groupby
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.paths import AnyPath, RemotePath
from pipeline.store.checksums import CHECKSUM_BYTES, Bytes, Piece, checksum_bytes, data_of, sum_up
from pipeline.store.encoding import Array, Encoding

Numbers = npt.NDArray[np.int64]
File = str | RemotePath | npt.NDArray[np.uint8]  # where it is, or all of it

LEVEL = 1
BLOCK = 1 << 17  # bytes that Blosc works on at a time
ABSENT = 2**64 - 1
INDEXED = 1 << 22  # chunks whose places are kept in memory
REQUESTS = 16  # at a time, of a server
# Without O_BINARY, Windows opens files as text.
READ = os.O_RDONLY | getattr(os, "O_BINARY", 0)


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
        file = _received(path) if isinstance(path, RemotePath) else path
        end = bytes(_read_end(file, self._index_bytes))
        for data in _read_spans(file, _spans(_index_in(end))):
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
        with ThreadPoolExecutor(REQUESTS) as pool:
            read = partial(self._read, windows, result=result)
            waiting = pool.map(read, whole)
            # First, so that several parts do not ask for the same.
            list(pool.map(self._ask_for_index, shards[~is_whole].tolist()))
            list(pool.map(read, np.array_split(others, min(REQUESTS, len(others) or 1))))
            list(waiting)

    def _read(self, windows: Numbers, rows: npt.NDArray[np.intp], result: Array) -> None:
        """Fill rows of a result, given in the order of their windows, all of which differ."""
        pairs = zip(windows[rows].tolist(), rows.tolist(), strict=True)
        for shard, group in groupby(pairs, lambda pair: pair[0] // self.length):
            wanted = [*group]
            try:
                self._read_shard(shard, wanted, result)
            except FileNotFoundError:
                result[[row for _, row in wanted]] = self.encoding.fill_value

    def _read_shard(self, shard: int, wanted: list[tuple[int, int]], result: Array) -> None:
        """Fill rows from one file, given pairs of window and row."""
        file: File = self._file(shard)
        if isinstance(file, RemotePath) and self._are_all(shard, len(wanted)):
            file = _received(file)
            index = _index_in(_read_end(file, self._index_bytes))
        else:
            index = self._index(shard)
        spans, filled = [], []
        for chunk, group in groupby(wanted, lambda pair: pair[0] % self.length // self.chunk):
            rows = [(window % self.chunk, row) for window, row in group]
            if span := _spans(index[chunk : chunk + 1]):
                spans += span
                filled.append(rows)
            else:
                result[[row for _, row in rows]] = self.encoding.fill_value
        if self.chunk == 1 and self.compression == "none" and isinstance(file, str):
            _read_plain(file, spans, [result[row] for ((_, row),) in filled])
            return
        values = np.empty((self.chunk, *self.shape), self._stored)
        for rows, data in zip(filled, _read_spans(file, spans), strict=True):
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
        with suppress(FileNotFoundError):
            self._index(shard)

    @cached_property
    def _index(self) -> Callable[[int], npt.NDArray[np.uint64]]:
        """Offset and size of each chunk of a shard, as stored at its end, by shard."""

        def read(shard: int) -> npt.NDArray[np.uint64]:
            return _index_in(_read_end(self._file(shard), self._index_bytes))

        return lru_cache(maxsize=max(1, INDEXED * 16 // self._index_bytes))(read)

    @property
    def _index_bytes(self) -> int:
        return self.length // self.chunk * 16 + CHECKSUM_BYTES


def _received(path: RemotePath) -> npt.NDArray[np.uint8]:
    """All of an object, by one request."""
    return np.frombuffer(path.read_whole(), np.uint8)


def _read_end(path: File, size: int) -> Bytes:
    """The last bytes of a file."""
    if isinstance(path, RemotePath):
        return path.read_end(size)
    if isinstance(path, np.ndarray):
        return path[-size:]
    file = os.open(path, READ)
    try:
        buffer = np.empty(size, np.uint8)
        _read_at(file, os.fstat(file).st_size - size, buffer)
        return buffer
    finally:
        os.close(file)


def _read_spans(path: File, spans: list[tuple[int, int]]) -> Iterator[Bytes]:
    """Parts of a file, each of which is there until the next is asked for."""
    if isinstance(path, RemotePath):
        parts = path.read_spans(spans) if spans else ()
        yield from (np.frombuffer(part, np.uint8) for part in parts)
        return
    if isinstance(path, np.ndarray):
        yield from (path[start:stop] for start, stop in spans)
        return
    buffer = np.empty(max((stop - start for start, stop in spans), default=0), np.uint8)
    file = os.open(path, READ)
    try:
        for start, stop in spans:
            part = buffer[: stop - start]
            _read_at(file, start, part)
            yield part
    finally:
        os.close(file)


def _read_plain(path: str, spans: list[tuple[int, int]], results: list[Array]) -> None:
    """Parts of a file that are numbers and their checksum, right to where they go."""
    checksum = np.empty(CHECKSUM_BYTES, np.uint8)
    file = os.open(path, READ)
    try:
        for (start, stop), result in zip(spans, results, strict=True):
            if stop - start != result.nbytes + CHECKSUM_BYTES:
                raise ValueError("the file was cut off")
            _read_at(file, start, result.reshape(-1).view(np.uint8), checksum)
            if checksum_bytes(result) != checksum.tobytes():
                raise ValueError("the checksum does not fit")
    finally:
        os.close(file)


def _index_in(end: Bytes) -> npt.NDArray[np.uint64]:
    """The index that a shard ends with."""
    return np.frombuffer(data_of(end), "<u8").reshape(-1, 2)


def _spans(index: npt.NDArray[np.uint64]) -> list[tuple[int, int]]:
    """Where chunks that were written begin and end."""
    return [(offset, offset + size) for offset, size in index.tolist() if offset != ABSENT]


def _read_at(file: int, offset: int, *buffers: npt.NDArray[np.uint8]) -> None:
    """Fill buffers, one after the other, with what is in a file from an offset on."""
    if offset < 0:
        raise ValueError("the file was cut off")
    place = offset
    if hasattr(os, "preadv"):
        place += os.preadv(file, [buffer.data for buffer in buffers], offset)
    for buffer in buffers:  # a network file system may give less than was asked for
        end = offset + len(buffer)
        while place < end:
            os.lseek(file, place, os.SEEK_SET)
            piece = os.read(file, end - place)
            if not piece:
                raise ValueError("the file was cut off")
            buffer[place - offset : place - offset + len(piece)] = np.frombuffer(piece, np.uint8)
            place += len(piece)
        offset = end
