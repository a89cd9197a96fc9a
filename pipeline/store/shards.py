"""Shards: the files of a Zarr array of features, made whole, and read window by window.

Any Zarr library reads them, and writes the like. The fastest found takes twice the
processor time for either, for a checksum in portable code and for copies: see
scripts/measure/choices. How many windows a chunk and a shard have is in `pipeline.layout`.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import groupby
from typing import Any

import google_crc32c
import numpy as np
import numpy.typing as npt

from pipeline.paths import AnyPath, RemotePath
from pipeline.store.encoding import Array, Encoding

Bytes = bytes | npt.NDArray[np.uint8]
Piece = bytes | memoryview

LEVEL = 1
BLOCK = 1 << 17  # bytes that Blosc works on at a time
CHECKSUM_BYTES = 4
# The CRC-32C of anything that ends with its own CRC-32C.
RESIDUE = 0x48674BC7
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
            pieces += [data.data, _checksum(data)]
            index[number] = place, len(data) + CHECKSUM_BYTES
            place += len(data) + CHECKSUM_BYTES
        end = index.tobytes()
        end += _checksum(end)
        return [*pieces, end], _sum_up(pieces[1::2], end)

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
        end = bytes(_read_end(path, self._index_bytes))
        spans = _spans(np.frombuffer(_data_of(end), "<u8").reshape(-1, 2))
        for data in _read_spans(path, spans):
            _data_of(data)
            checksums.append(bytes(data[-CHECKSUM_BYTES:]))
        return _sum_up(checksums, end)

    def read(self, windows: npt.NDArray[np.int64], empty: Callable[..., Array] = np.empty) -> Array:
        """Encoded features of windows, in any order; missing where none were written."""
        rows = np.argsort(windows, kind="stable")
        result = empty((len(windows), *self.shape), self._stored)
        if not np.diff(windows[rows]).all():
            different, places = np.unique(windows, return_inverse=True)
            found = self.read(different, empty)
            return np.take(found, places, axis=0, out=result, mode="clip")
        if not isinstance(self.folder, RemotePath):
            self._read(windows, rows, result)
            return result
        # A pool of its own costs little, and is there again after a fork.
        with ThreadPoolExecutor(REQUESTS) as pool:
            # First, so that several parts do not ask for the same.
            list(pool.map(self._ask_for_index, np.unique(windows // self.length).tolist()))
            parts = np.array_split(rows, REQUESTS)
            list(pool.map(lambda part: self._read(windows, part, result), parts))
        return result

    def _read(
        self, windows: npt.NDArray[np.int64], rows: npt.NDArray[np.intp], result: Array
    ) -> None:
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
        index, path, spans, filled = self._index(shard), self._file(shard), [], []
        for chunk, group in groupby(wanted, lambda pair: pair[0] % self.length // self.chunk):
            rows = [(window % self.chunk, row) for window, row in group]
            if span := _spans(index[chunk : chunk + 1]):
                spans += span
                filled.append(rows)
            else:
                result[[row for _, row in rows]] = self.encoding.fill_value
        if self.chunk == 1 and self.compression == "none" and isinstance(path, str):
            _read_plain(path, spans, [result[row] for ((_, row),) in filled])
            return
        values = np.empty((self.chunk, *self.shape), self._stored)
        for rows, data in zip(filled, _read_spans(path, spans), strict=True):
            if self.chunk == 1:
                self._decode(_data_of(data), result[rows[0][1]])
                continue
            self._decode(_data_of(data), values)
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
            data = _data_of(_read_end(self._file(shard), self._index_bytes))
            return np.frombuffer(data, "<u8").reshape(-1, 2)

        return lru_cache(maxsize=max(1, INDEXED * 16 // self._index_bytes))(read)

    @property
    def _index_bytes(self) -> int:
        return self.length // self.chunk * 16 + CHECKSUM_BYTES


def _read_end(path: str | RemotePath, size: int) -> Bytes:
    """The last bytes of a file."""
    if isinstance(path, RemotePath):
        return path.read_end(size)
    file = os.open(path, READ)
    try:
        buffer = np.empty(size, np.uint8)
        _read_at(file, os.fstat(file).st_size - size, buffer)
        return buffer
    finally:
        os.close(file)


def _read_spans(path: str | RemotePath, spans: list[tuple[int, int]]) -> Iterator[Bytes]:
    """Parts of a file, each of which is there until the next is asked for."""
    if isinstance(path, RemotePath):
        yield from path.read_spans(spans) if spans else ()
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
            if _checksum(result) != checksum.tobytes():
                raise ValueError("the checksum does not fit")
    finally:
        os.close(file)


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


def _sum_up(checksums: Sequence[Piece], end: bytes) -> int:
    """The CRC-32C of the checksums of the chunks and of the index.

    That of the whole file would be the same for all shards of the same lengths, as each
    piece ends with its own CRC-32C.
    """
    return checksum_of(b"".join([*checksums, end]))


def checksum_of(data: bytes | Array) -> int:
    """The CRC-32C of all of it."""
    return int(google_crc32c.value(data))


def own_checksum(data: bytes) -> int:
    """The CRC-32C at the end of a chunk, after it was compared; that of all is always the same."""
    return int.from_bytes(data[len(_data_of(data)) :], "little")


def _checksum(data: bytes | Array) -> bytes:
    return checksum_of(data).to_bytes(CHECKSUM_BYTES, "little")


def _data_of(data: Bytes) -> Bytes:
    """The bytes before their checksum, after that was compared."""
    if google_crc32c.value(data) != RESIDUE:
        raise ValueError("the checksum does not fit")
    return data[:-CHECKSUM_BYTES]
