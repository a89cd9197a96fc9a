"""RIFF: the chunks of WAV files, and what those of recorders say of the time.

Chunks may come after the samples, and a file above 4 GiB (RF64) has the length of its samples in
a chunk of its own. GUANO is text, a field in a line; WAMD numbers its fields, and may have hours
of voice notes among them; AudioMoth writes a sentence as the comment of LIST INFO.
"""

import os
import struct
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import BinaryIO

ENDINGS = (".wav", ".wave", ".wavex", ".bwf", ".rf64")
LONG = 0xFFFFFFFF  # the length of samples that 32 bits cannot tell
MOST_CHUNKS, MOST_BYTES = 100, 1 << 16  # that are looked at
WAMD_TIME, WAMD_EXPANSION = 0x05, 0x0F


def chunks(
    file: BinaryIO, place: int, size: int, long_length: int = LONG
) -> Iterator[tuple[bytes, int, int]]:
    """Name, place and bytes of each chunk, whether or not it ends in the file.

    `long_length` are those of the samples, where they are too many for their own header.
    """
    while place + 8 <= size:
        file.seek(place)
        head = file.read(8)
        name, length = head[:4], int.from_bytes(head[4:], "little")
        if len(head) < 8 or not all(0x20 <= byte < 0x7F for byte in name):
            return
        if length == LONG:
            length = long_length
        yield name, place + 8, length
        place += 8 + length + length % 2


def time_texts(path: Path) -> dict[str, str]:
    """What the chunks of a WAV file say of when it was recorded, as it is written there.

    That is "guano", "wamd" and "comment"; and "expansion", how much slower the file is than what
    was recorded. Nothing where the file is damaged, or no WAV.
    """
    if path.suffix.lower() not in ENDINGS:
        return {}
    with suppress(OSError), open(path, "rb") as file:
        return _texts(file, os.fstat(file.fileno()).st_size)
    return {}


def _texts(file: BinaryIO, size: int) -> dict[str, str]:
    head = file.read(36)
    if head[:4] not in (b"RIFF", b"RF64") or head[8:12] != b"WAVE":
        return {}
    long_length = LONG
    if head[:4] == b"RF64" and head[12:16] == b"ds64" and len(head) == 36:
        long_length = int.from_bytes(head[28:36], "little")
    found: dict[str, str] = {}
    for name, start, length in islice(chunks(file, 12, size, long_length), MOST_CHUNKS):
        if name == b"guan":
            found |= _of_guano(_read(file, start, length))
        elif name == b"wamd":
            found |= _of_wamd(_read(file, start, length))
        elif name == b"LIST":
            found |= _of_list(file, start, length, size)
    return found


def _read(file: BinaryIO, start: int, length: int) -> bytes:
    file.seek(start)
    return file.read(min(length, MOST_BYTES))


def _of_guano(data: bytes) -> dict[str, str]:
    lines = (line.partition(":") for line in _text(data).splitlines())
    fields = {name.strip(): value.strip() for name, _, value in lines}
    names = {"guano": "Timestamp", "expansion": "TE"}
    return {kind: fields[name] for kind, name in names.items() if fields.get(name)}


def _of_wamd(data: bytes) -> dict[str, str]:
    found, place = dict[str, str](), 0
    while place + 6 <= len(data):
        number, length = struct.unpack_from("<HI", data, place)
        value = data[place + 6 : place + 6 + length]
        if number == WAMD_TIME:
            found["wamd"] = _text(value)
        elif number == WAMD_EXPANSION and length == 2:
            found["expansion"] = str(int.from_bytes(value, "little"))
        place += 6 + length
    return found


def _of_list(file: BinaryIO, start: int, length: int, size: int) -> dict[str, str]:
    end = min(start + length, size)
    if _read(file, start, 4) == b"INFO":
        for name, place, n_bytes in islice(chunks(file, start + 4, end), MOST_CHUNKS):
            if name == b"ICMT":
                return {"comment": _text(_read(file, place, min(n_bytes, end - place)))}
    return {}


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace").strip(" \t\r\n\0\ufeff")
