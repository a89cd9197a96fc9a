"""RIFF: bytes behind the samples of a WAV file that no header announces."""

from collections.abc import Iterator
from typing import BinaryIO

READ_BYTES = 1 << 20  # at a time
ID3V1 = 128  # bytes


def count_unannounced_bytes(file: BinaryIO, size: int) -> tuple[int, int]:
    """Bytes of samples by the header of a WAV file, and those behind that it does not announce.

    Chunks, tags and zeros are none of them.
    """
    file.seek(0)
    if file.read(4) == b"RIFF":
        for name, start, length in _chunks(file, 12, size):
            if name == b"data":
                end = start + length
                whole = end >= size or any(_has_no_samples(file, end + pad, size) for pad in (0, 1))
                return length, 0 if whole else size - end
    return 0, 0


def _chunks(file: BinaryIO, place: int, size: int) -> Iterator[tuple[bytes, int, int]]:
    """Name, place and bytes of each chunk, whether or not it ends in the file."""
    while place + 8 <= size:
        file.seek(place)
        head = file.read(8)
        name, length = head[:4], int.from_bytes(head[4:], "little")
        if len(head) < 8 or not all(0x20 <= byte < 0x7F for byte in name):
            return
        yield name, place + 8, length
        place += 8 + length + length % 2


def _has_no_samples(file: BinaryIO, place: int, size: int) -> bool:
    """Whether only chunks, a tag or zeros follow up to the end."""
    file.seek(place)
    if size - place == ID3V1 and file.read(3) == b"TAG":
        return True
    for _, start, length in _chunks(file, place, size):
        place = start + length
        if place >= size:
            return place <= size + 1
        place += length % 2
    file.seek(place)
    return not any(any(piece) for piece in iter(lambda: file.read(READ_BYTES), b""))
