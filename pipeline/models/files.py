"""The files of a model: its own, and those beside it that hold its weights."""

import hashlib
import mmap
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

Stamp = tuple[str, int, int]  # path, size, time of the last change

# Where in the messages of an ONNX file (onnx.proto) a tensor may be: by message, the numbers
# of the fields that lead to it. A tensor whose values are elsewhere says so in field 13, as
# pairs of a key and a value, of which "location" is a path beside the model.
LEADS: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "pair"},
}
KEY, VALUE = 1, 2


@dataclass(frozen=True)
class ModelFiles:
    """The files of a model as they were when looked at."""

    stamps: tuple[Stamp, ...]  # the model's own file first

    @classmethod
    def find(cls, path: str) -> "ModelFiles":
        """The files of the model at a path; a ValueError or OSError if there is none."""
        own = _stamp(path)
        beside = (_stamp(str(Path(path).parent / name)) for name in _locations(own))
        return cls((own, *beside))

    @property
    def path(self) -> str:
        """The model's own file."""
        return self.stamps[0][0]

    @property
    def n_bytes(self) -> int:
        """Of all files together."""
        return sum(size for _, size, _ in self.stamps)

    @property
    def digest(self) -> str:
        """SHA-256 of the file; of several, that of the digests of each."""
        digests = [_digest(stamp) for stamp in self.stamps]
        return hashlib.sha256("".join(digests).encode()).hexdigest() if digests[1:] else digests[0]


def _stamp(path: str) -> Stamp:
    try:
        found = os.stat(path)
    except OSError as error:
        raise FileNotFoundError(
            f"{path}, a file of the model, cannot be read ({error.strerror}); pass the path of an "
            f"ONNX model that is whole"
        ) from error
    return path, found.st_size, found.st_mtime_ns


@lru_cache(maxsize=64)
def _digest(stamp: Stamp) -> str:
    with open(stamp[0], "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@lru_cache(maxsize=64)
def _locations(stamp: Stamp) -> tuple[str, ...]:
    """Names of the files beside a model that hold its weights."""
    try:
        with open(stamp[0], "rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        found = {*_locations_in(memoryview(mapped), "model")}
    except (IndexError, ValueError) as error:
        raise ValueError(f"{stamp[0]} is no ONNX model; pass the path of one") from error
    return tuple(sorted(found))


def _locations_in(message: memoryview, kind: str) -> Iterator[str]:
    for number, value in _fields(message):
        lead = LEADS[kind].get(number)
        if lead == "pair":
            pair = {key: bytes(text).decode() for key, text in _fields(value)}
            if pair.get(KEY) == "location":
                yield pair[VALUE]
        elif lead is not None:
            yield from _locations_in(value, lead)


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Numbers and contents of the fields of a Protocol Buffers message that have a length."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            _, at = _varint(message, at)
        elif wire in (1, 5):
            at += 8 if wire == 1 else 4
        elif wire == 2:
            length, at = _varint(message, at)
            yield number, message[at : at + length]
            at += length
        else:
            raise ValueError(f"wire type {wire}")
    if at > len(message):
        raise ValueError("it ends within a field")


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """A number of seven bits a byte, the lowest first, and where it ends."""
    value = shift = 0
    while True:
        byte = message[at]
        value, shift, at = value | (byte & 127) << shift, shift + 7, at + 1
        if byte < 128:
            return value, at
