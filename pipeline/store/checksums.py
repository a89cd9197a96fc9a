"""Checksums of features: a CRC-32C at the end of each chunk, and of each shard's index."""

from collections.abc import Sequence

import google_crc32c
import numpy as np
import numpy.typing as npt

from pipeline.store.encoding import Array

Bytes = bytes | npt.NDArray[np.uint8]
Piece = bytes | memoryview

CHECKSUM_BYTES = 4
# The CRC-32C of anything that ends with its own CRC-32C.
RESIDUE = 0x48674BC7


def sum_up(checksums: Sequence[Piece], end: bytes) -> int:
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
    return int.from_bytes(data[len(data_of(data)) :], "little")


def checksum_bytes(data: bytes | Array) -> bytes:
    """The CRC-32C as it is stored."""
    return checksum_of(data).to_bytes(CHECKSUM_BYTES, "little")


def data_of(data: Bytes) -> Bytes:
    """The bytes before their checksum, after that was compared."""
    if google_crc32c.value(data) != RESIDUE:
        raise ValueError("the checksum does not fit")
    return data[:-CHECKSUM_BYTES]
