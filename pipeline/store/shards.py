"""Shards: the files of a Zarr array of features, encoded whole, and read window by window.

Any Zarr library reads them, and writes the like. The fastest found takes twice
the processor time for either, most of it for a checksum in portable code and for
copies: see scripts/measure/choices.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import groupby
from typing import Any, Final, Literal

import google_crc32c
import numpy as np
import numpy.typing as npt
from numcodecs import blosc

from pipeline.paths import AnyPath, RemotePath

Array = npt.NDArray[Any]
Bytes = bytes | npt.NDArray[np.uint8]
Piece = bytes | memoryview

LEVEL = 1
BLOCK = 1 << 17  # bytes that Blosc works on at a time
# Of bytes, or of bits, by the bytes of a number: for float16 that is as fast, and smaller.
SHUFFLE: Final[dict[int, Literal["shuffle", "bitshuffle"]]] = {4: "shuffle", 2: "bitshuffle"}
CHECKSUM_BYTES = 4
# The CRC-32C of anything that ends with its own CRC-32C.
RESIDUE = 0x48674BC7
ABSENT = 2**64 - 1
INDEXED = 1 << 22  # chunks of which is kept where they are
REQUESTS = 16  # at a time, of a server
CHECKSUM: dict[str, Any] = {"name": "crc32c"}
# Of arrays that zarr itself writes.
CHECKED = [{"name": "zstd", "configuration": {"level": 0, "checksum": True}}, CHECKSUM]


def compressors(compression: str, itemsize: int) -> list[dict[str, Any]]:
    """What is done to the bytes of a chunk, as Zarr's metadata name it."""
    configuration = {
        "cname": compression,
        "clevel": LEVEL,
        "shuffle": SHUFFLE[itemsize],
        "typesize": itemsize,
        "blocksize": 0,
    }
    if compression == "none":
        return [CHECKSUM]
    return [{"name": "blosc", "configuration": configuration}, CHECKSUM]


@dataclass(frozen=True)
class Shards:
    """A Zarr array in shards of chunks with checksums.

    Parameters
    ----------
    folder : path
        Of the array.
    shape : tuple of int
        Of one window.
    dtype : str
        Of the array.
    n_windows, chunk, length : int
        Windows in all, in a chunk, and in a shard.
    compression : {"none", "lz4", "zstd"}
        Of the chunks, by Blosc.
    """

    folder: AnyPath
    n_windows: int
    shape: tuple[int, ...]
    dtype: str
    chunk: int
    length: int
    compression: str = "none"

    def name_of(self, shard: int) -> str:
        """Name of a shard's file in the folder."""
        return f"c.{shard}" + ".0" * len(self.shape)

    def encode(self, block: Array) -> tuple[list[Piece], int]:
        r"""What the file of a shard holds, in pieces, and the checksum of its checksums.

        Not to be called by the main thread: there Blosc starts others, and the bytes
        come in any order.

        Parameters
        ----------
        block : numpy.ndarray, shape (window, \*shape)
            The windows of one shard; the last of an array may be shorter.
        """
        pieces: list[Piece] = []
        index, place = np.full((self.length // self.chunk, 2), ABSENT, "<u8"), 0
        for number, first in enumerate(range(0, len(block), self.chunk)):
            values = block[first : first + self.chunk]
            if lacking := self.chunk - len(values):
                blank = np.full((lacking, *self.shape), np.nan, block.dtype)
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
        shuffle = {"shuffle": blosc.SHUFFLE, "bitshuffle": blosc.BITSHUFFLE}
        kind = LEVEL, shuffle[SHUFFLE[values.itemsize]], BLOCK
        return np.frombuffer(blosc.compress(values, self.compression.encode(), *kind), np.uint8)

    def checksum(self, shard: int) -> int:
        """The checksum of the checksums of a shard's file, all of which fit.

        Raises
        ------
        OSError, ValueError
            If the file cannot be read, or is damaged.
        """
        path, checksums = self._file(shard), []
        end = bytes(_read_end(path, self._index_bytes))
        spans = _spans(np.frombuffer(_checked(end), "<u8").reshape(-1, 2))
        for data in _read_spans(path, spans):
            _checked(data)
            checksums.append(bytes(data[-CHECKSUM_BYTES:]))
        return _sum_up(checksums, end)

    def read(self, windows: npt.NDArray[np.int64], empty: Callable[..., Array] = np.empty) -> Array:
        r"""Features of windows; NaN where none were written.

        Parameters
        ----------
        windows : numpy.ndarray of int, shape (window,)
            Their numbers, in any order.
        empty : callable
            Makes the array, as `numpy.empty` does.

        Returns
        -------
        numpy.ndarray, shape (window, \*shape)
            A new array.

        Raises
        ------
        OSError, ValueError
            If a file cannot be read, or is damaged.
        """
        rows = np.argsort(windows, kind="stable")
        if not np.diff(windows[rows]).all():
            different, places = np.unique(windows, return_inverse=True)
            return self.read(different, empty)[places]
        result = empty((len(windows), *self.shape), self._stored)
        if not isinstance(self.folder, RemotePath):
            self._read(windows, rows, result)
            return result
        # A pool of its own costs little, and is there again after a fork.
        with ThreadPoolExecutor(REQUESTS) as pool:
            for _ in pool.map(self._ask_for_index, np.unique(windows // self.length).tolist()):
                pass  # that several parts do not ask for the same
            parts = np.array_split(rows, REQUESTS)
            for _ in pool.map(lambda part: self._read(windows, part, result), parts):
                pass
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
                result[[row for _, row in wanted]] = np.nan

    def _read_shard(self, shard: int, wanted: list[tuple[int, int]], result: Array) -> None:
        """Fill rows from one file, given pairs of window and row."""
        index, path, spans, filled = self._index(shard), self._file(shard), [], []
        for chunk, group in groupby(wanted, lambda pair: pair[0] % self.length // self.chunk):
            rows = [(window % self.chunk, row) for window, row in group]
            if span := _spans(index[chunk : chunk + 1]):
                spans += span
                filled.append(rows)
            else:
                result[[row for _, row in rows]] = np.nan
        if self.chunk == 1 and self.compression == "none" and isinstance(path, str):
            _read_plain(path, spans, [result[row] for ((_, row),) in filled])
            return
        values = np.empty((self.chunk, *self.shape), self._stored)
        for rows, data in zip(filled, _read_spans(path, spans), strict=True):
            if self.chunk == 1:
                self._decode(_checked(data), result[rows[0][1]])
                continue
            self._decode(_checked(data), values)
            for place, row in rows:
                result[row] = values[place]

    def _decode(self, data: Bytes, result: Array) -> None:
        try:
            if self.compression == "none":
                result[...] = np.frombuffer(data, self._stored).reshape(result.shape)
            else:
                blosc.decompress(data, result)
        except RuntimeError as error:
            raise ValueError(f"it cannot be decoded: {error}") from error

    def _file(self, shard: int) -> str | RemotePath:
        name = self.name_of(shard)
        if isinstance(self.folder, RemotePath):
            return self.folder / name
        return f"{self._root}/{name}"  # a path takes a tenth of the time of reading a window

    @cached_property
    def _stored(self) -> np.dtype[Any]:
        """The dtype as it is stored, whatever this machine's order of bytes."""
        return np.dtype(self.dtype).newbyteorder("<")

    @cached_property
    def _root(self) -> str:
        return os.fspath(self.folder)

    def _ask_for_index(self, shard: int) -> None:
        with suppress(FileNotFoundError):
            self._index(shard)

    @cached_property
    def _index(self) -> Callable[[int], npt.NDArray[np.uint64]]:
        """Gives offset and size of each chunk of a shard, which stand at its end."""

        def read(shard: int) -> npt.NDArray[np.uint64]:
            data = _checked(_read_end(self._file(shard), self._index_bytes))
            return np.frombuffer(data, "<u8").reshape(-1, 2)

        return lru_cache(maxsize=max(1, INDEXED * 16 // self._index_bytes))(read)

    @property
    def _index_bytes(self) -> int:
        return self.length // self.chunk * 16 + CHECKSUM_BYTES


def _read_end(path: str | RemotePath, size: int) -> Bytes:
    """The last bytes of a file."""
    if isinstance(path, RemotePath):
        return path.read_end(size)
    file = os.open(path, os.O_RDONLY)
    try:
        return _read_into(np.empty(size, np.uint8), file, os.fstat(file).st_size - size)
    finally:
        os.close(file)


def _read_spans(path: str | RemotePath, spans: list[tuple[int, int]]) -> Iterator[Bytes]:
    """Parts of a file, each of which is there until the next is asked for."""
    if isinstance(path, RemotePath):
        yield from path.read_spans(spans) if spans else ()
        return
    buffer = np.empty(max((stop - start for start, stop in spans), default=0), np.uint8)
    file = os.open(path, os.O_RDONLY)
    try:
        for start, stop in spans:
            yield _read_into(buffer[: stop - start], file, start)
    finally:
        os.close(file)


def _read_plain(path: str, spans: list[tuple[int, int]], results: list[Array]) -> None:
    """Parts of a file that are numbers and their checksum, right to where they go."""
    checksum = np.empty(CHECKSUM_BYTES, np.uint8)
    file = os.open(path, os.O_RDONLY)
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


def _read_into(buffer: npt.NDArray[np.uint8], file: int, offset: int) -> Bytes:
    if offset < 0:
        raise ValueError("the file was cut off")
    _read_at(file, offset, buffer)
    return buffer


def _read_at(file: int, offset: int, *buffers: npt.NDArray[np.uint8]) -> None:
    """Fill buffers, one after the other, with what is in a file from an offset on."""
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
    """The CRC-32C of those of the chunks and of the index.

    That of all of the file would be the same for all shards of the same lengths, for
    it ends each piece with its own CRC-32C.
    """
    return int(google_crc32c.value(b"".join([*checksums, end])))


def own_checksum(data: bytes) -> int:
    """The CRC-32C that stands at the end of a chunk; that of all of it is always the same.

    Raises
    ------
    ValueError
        If it does not fit.
    """
    return int.from_bytes(data[len(_checked(data)) :], "little")


def _checksum(data: bytes | Array) -> bytes:
    return int(google_crc32c.value(data)).to_bytes(CHECKSUM_BYTES, "little")


def _checked(data: Bytes) -> Bytes:
    """What stands before its checksum."""
    if google_crc32c.value(data) != RESIDUE:
        raise ValueError("the checksum does not fit")
    return data[:-CHECKSUM_BYTES]
