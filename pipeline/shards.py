"""Shards: windows read straight out of the files of a Zarr array, by several threads.

Any Zarr library reads them, too. The fastest found takes twice the processor
time, most of it for a checksum in portable code and for copies: see
scripts/benchmark-choices.
"""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import numpy.typing as npt
from numcodecs import blosc

__all__ = ["Shards"]

Array = npt.NDArray[Any]
Bytes = npt.NDArray[np.uint8]

CHECKSUM_BYTES = 4
ROOM = 1024  # more than Blosc adds to what it cannot compress, and the checksum
# The CRC-32C of anything that ends with its own CRC-32C.
RESIDUE = 0x48674BC7
ABSENT = 2**64 - 1
BYTES = {"name": "bytes", "configuration": {"endian": "little"}}
CHECKSUM = {"name": "crc32c"}
INDEX = {"index_codecs": [BYTES, CHECKSUM], "index_location": "end"}


@dataclass(frozen=True)
class Shards:
    """A Zarr array of one window a chunk, compressed by Blosc, with checksums.

    Parameters
    ----------
    folder : path
        Of the array.
    shape : tuple of int
        Of one window.
    dtype : str
        Of the array.
    length : int
        Windows in a shard.
    """

    folder: Path
    shape: tuple[int, ...]
    dtype: str
    length: int

    @classmethod
    def of(cls, folder: Path) -> Shards | None:
        """The array in a folder; None if it is not stored as this project does."""
        try:
            metadata = json.loads((folder / "zarr.json").read_bytes())
            length, *shape = metadata["chunk_grid"]["configuration"]["chunk_shape"]
            compressor = metadata["codecs"][0]["configuration"]["codecs"][1]
            inner = {"chunk_shape": [1, *shape], "codecs": [BYTES, compressor, CHECKSUM], **INDEX}
            ours = {
                "codecs": [{"name": "sharding_indexed", "configuration": inner}],
                "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
                "fill_value": "NaN",
            }
            if compressor["name"] == "blosc" and ours.items() <= metadata.items():
                return cls(folder, tuple(shape), metadata["data_type"], length)
        except (OSError, ValueError, LookupError, TypeError):
            pass  # who reads it with a library will be told what is wrong with it
        return None

    def read(self, windows: npt.NDArray[np.int64]) -> Array:
        r"""Features of windows; NaN where none were written.

        Parameters
        ----------
        windows : numpy.ndarray of int, shape (window,)
            Their numbers, in any order.

        Returns
        -------
        numpy.ndarray, shape (window, \*shape)
            A new array.

        Raises
        ------
        OSError, ValueError
            If a file cannot be read, or is damaged.
        """
        result = np.empty((len(windows), *self.shape), self.dtype)
        threads = min(len(os.sched_getaffinity(0)), len(windows))
        if threads < 2:
            self._read(windows, result)
            return result
        # A pool of its own costs little, and is there again after a fork.
        with ThreadPoolExecutor(threads) as pool:
            parts = np.array_split(windows, threads), np.array_split(result, threads)
            for _ in pool.map(self._read, *parts):
                pass
        return result

    def _read(self, windows: npt.NDArray[np.int64], result: Array) -> None:
        shards, places = np.divmod(windows, self.length)
        buffer = np.empty(result[:1].nbytes + ROOM, np.uint8)
        for shard in np.unique(shards):
            rows = np.flatnonzero(shards == shard)
            try:
                file = open(f"{self.folder}/c/{shard}{self._suffix}", "rb", buffering=0)  # noqa: SIM115
            except FileNotFoundError:
                result[rows] = np.nan
                continue
            with file:
                index = _index(file.fileno(), self.length)
                for row, (offset, size) in zip(rows, index[places[rows]].tolist(), strict=True):
                    if offset == ABSENT:
                        result[row] = np.nan
                    else:
                        data = _read_whole(file.fileno(), offset, buffer[:size])
                        _decode(data, result[row])

    @property
    def _suffix(self) -> str:
        return "/0" * len(self.shape)


def _index(file: int, length: int) -> npt.NDArray[np.uint64]:
    """Offset and size of each chunk of a shard, which stand at its end."""
    buffer = np.empty(16 * length + CHECKSUM_BYTES, np.uint8)
    data = _read_whole(file, os.fstat(file).st_size - len(buffer), buffer)
    return data.view("<u8").reshape(length, 2)


def _read_whole(file: int, offset: int, buffer: Bytes) -> Bytes:
    """A part of a file that ends with its checksum, without that."""
    if offset < 0 or os.preadv(file, [buffer.data], offset) < len(buffer):
        raise ValueError("the file was cut off")
    if google_crc32c.value(buffer) != RESIDUE:
        raise ValueError("the checksum does not fit")
    return buffer[:-CHECKSUM_BYTES]


def _decode(data: Bytes, result: Array) -> None:
    try:
        blosc.decompress(data, result)
    except RuntimeError as error:
        raise ValueError(f"it cannot be decoded: {error}") from None
