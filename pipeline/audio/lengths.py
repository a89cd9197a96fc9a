"""Lengths: how many samples a sound file should hold, those included that are not there."""

import io
import re
from contextlib import suppress
from typing import Any, BinaryIO

import numpy as np
import soundfile

from pipeline.audio.arrays import is_believable
from pipeline.audio.mpeg import count_samples, ends_as_announced, find_start
from pipeline.audio.ogg import begins_whole, granules_joined, last_granule
from pipeline.audio.riff import chunks
from pipeline.audio.sound_files import BUFFER, WAV, SequentialFile, empty_piece, open_bytes
from pipeline.paths import AnyPath, open_binary

# What libsndfile logs of a header that announces more than there is: in bytes,
# then in samples, which the header of NIST tells. Of Ogg, IRCAM, PAF, PVF, VOC and XI it says
# nothing.
BYTES_LOGGED = (
    r"^ *(?:RIFF|RIFX|riff|Riff size|FORM|data|Data Size|BODY) *: (\d+) \(should be (\d+)\)",
    r"^Data length (\d+) should be (\d+)",
    r"^\*\*\* File seems to be truncated\. (\d+) <--> (\d+)",
)
SAMPLES_TOLD = {
    "NIST": r"sample_count -i (\d+)",
    "AVR": r"^  Frames +: (\d+)",
    "MPC2K": r"^  Frames +: (\d+)",
    "MAT5": r"Cols : (\d+)\n.*\n    Name : wavedata",
}
UNKNOWN_BYTES = (1 << 31, 1 << 32)
PCM_BYTES = {"PCM_16": 2, "PCM_24": 3, "PCM_32": 4, "FLOAT": 4, "DOUBLE": 8}
ID3V1 = 128  # bytes of a tag at the end
MPEG_PADDING = 1 << 13  # samples at most that are decoded and not delivered
UNKNOWN_SAMPLES = np.iinfo(np.int64).max  # or more, where libsndfile does not know


def count_announced(file: SequentialFile, path: AnyPath) -> int:
    """Samples that a file should hold in each channel, those that are not there included.

    The file is at its beginning. If nothing says its length, it is decoded.
    """
    if file.format == "MP3":
        return _count_mpeg(file, path)
    if file.format == "OGG":
        known = file.frames < UNKNOWN_SAMPLES
        n_samples = int(file.frames) + count_cut_off(file, path) if known else _count(file)
        return n_samples + _from_granules(file, granules_joined(path))
    if file.frames >= UNKNOWN_SAMPLES:
        return _count(file)
    return max(int(file.frames), _announced(file, path)) + _count_unannounced(file, path)


def _count_unannounced(file: SequentialFile, path: AnyPath) -> int:
    """Samples that would be in the bytes of a WAV file behind the end that its header announces."""
    if file.format not in WAV:
        return 0
    with open_binary(path) as opened:
        announced, more = _unannounced_bytes(opened, path.stat().st_size)
    if announced > 0:
        return int(file.frames) * more // announced
    width = PCM_BYTES.get(file.subtype, 1) * file.channels
    return more // width if file.frames == 0 else 0


def _unannounced_bytes(file: BinaryIO, size: int) -> tuple[int, int]:
    """Bytes of samples by the header of a WAV file, and those behind that it does not announce.

    Chunks, tags and zeros are none of them.
    """
    file.seek(0)
    if file.read(4) == b"RIFF":
        for name, start, length in chunks(file, 12, size):
            if name == b"data":
                end = start + length
                whole = end >= size or any(_has_no_samples(file, end + pad, size) for pad in (0, 1))
                return length, 0 if whole else size - end
    return 0, 0


def _has_no_samples(file: BinaryIO, place: int, size: int) -> bool:
    """Whether only chunks, a tag or zeros follow up to the end."""
    file.seek(place)
    if size - place == ID3V1 and file.read(3) == b"TAG":
        return True
    for _, start, length in chunks(file, place, size):
        place = start + length
        if place >= size:
            return place <= size + 1
        place += length % 2
    file.seek(place)
    return not any(any(piece) for piece in iter(lambda: file.read(BUFFER), b""))


def _from_granules(file: SequentialFile, granules: int) -> int:
    """Samples of so many granules of Ogg; Opus counts at 48 kHz, whatever it is decoded to."""
    return granules * file.samplerate // 48000 if file.subtype == "OPUS" else granules


def _count(file: SequentialFile) -> int:
    """Samples that a file holds, by decoding it."""
    piece, n_samples = empty_piece(file), 0
    with suppress(soundfile.LibsndfileError):
        while got := len(file.read(out=piece)):
            n_samples += got
    file.check_remote()
    return n_samples


def _count_mpeg(file: SequentialFile, path: AnyPath) -> int:
    """Samples of all MPEG frames, in place of those that are decoded if these are far fewer."""
    n_samples = int(file.frames)
    with open_binary(path) as opened:
        start = find_start(opened)
        if n_samples >= UNKNOWN_SAMPLES:
            n_samples = _count(file)
        elif start is None or ends_as_announced(opened, start, path.stat().st_size):
            return n_samples
        opened.seek(start or 0)
        there = count_samples(opened)
    return there if there > n_samples + MPEG_PADDING else n_samples


def _announced(file: SequentialFile, path: AnyPath) -> int:
    """Samples that the header announces, where there are fewer; 0 where it does not say.

    libsndfile goes by what is there, and notes in its log how many bytes there should be.
    How many samples these make it says when it opens a file that pretends to have them.
    """
    size = path.stat().st_size
    if file.format in SAMPLES_TOLD:
        said = file.extra_info
        if file.format == "NIST":  # its own header is text
            with open_binary(path) as text:
                said = text.read(1024).decode("latin-1")
        found = re.search(SAMPLES_TOLD[file.format], said, re.MULTILINE)
        n_samples = int(found[1]) if found else 0
        _believe(n_samples * file.channels, size, "samples", file)
        return n_samples
    missing = _missing_bytes(file, size)
    if not missing or file.subtype.startswith("DWVW"):  # it has no constant rate
        return 0
    opened, remote = open_bytes(path)
    longer = _Extended(opened, size + missing)
    with opened, suppress(soundfile.LibsndfileError), SequentialFile(longer, remote) as whole:
        return int(whole.frames)
    return 0


def _believe(announced: int, there: int, what: str, file: SequentialFile) -> None:
    """Refuse what only a damaged number announces, as too little of it is there."""
    minute = 60 * file.samplerate * file.channels * (8 if what == "bytes" else 1)
    if not is_believable(announced, there, minute):
        raise OSError(
            f"its header announces {announced} {what}, but it has {there} bytes; correct the header"
        )


def count_cut_off(file: SequentialFile, path: AnyPath) -> int:
    """Samples before the first page of Ogg that is whole.

    Where the first is damaged or missing, the decoder counts from 0 all the same. Other
    formats have none.
    """
    if file.format != "OGG" or begins_whole(path):
        return 0
    n_samples = last_granule(path)
    if file.subtype == "OPUS":  # its count includes what is skipped at the beginning
        with open_binary(path) as opened:
            head = opened.read(BUFFER)
        place = head.find(b"OpusHead")
        skipped = int.from_bytes(head[place + 10 : place + 12], "little") if place >= 0 else 0
        n_samples = _from_granules(file, n_samples - skipped)
    return max(0, n_samples - int(file.frames))


def _missing_bytes(file: SequentialFile, size: int) -> int:
    """How many bytes a file lacks, by the log of libsndfile.

    A program that writes to a pipe does not know the length and announces the most there
    can be: 4 GiB or 2 GiB, less a header, a block or 16 MiB. Such a file lacks nothing.
    """
    missing = 0
    for pattern in BYTES_LOGGED:
        for found in re.finditer(pattern, file.extra_info, re.MULTILINE):
            low, high = sorted(map(int, found.groups()))
            unknown = any(-(1 << 24) <= high - limit <= 1 << 16 for limit in UNKNOWN_BYTES)
            if not unknown:
                _believe(high, size, "bytes", file)
                missing = max(missing, high - low)
    return missing


class _Extended(io.RawIOBase):
    """A file that pretends to be as long as its header says, with zeros where nothing is.

    It ends after so many reads, for a damaged header may make libsndfile search all of it.
    """

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._size, self._place, self._left = size, 0, 10_000

    def seek(self, offset: int, whence: int = 0) -> int:
        self._place = (0, self._place, self._size)[whence] + offset
        return self._place

    def tell(self) -> int:
        return self._place if self._left > 0 else self._size

    def readinto(self, buffer: Any) -> int:
        self._left -= 1
        if self._left < 0 or not 0 <= self._place < self._size:
            return 0
        self._file.seek(self._place)
        wanted = min(len(buffer), self._size - self._place)
        buffer[:wanted] = self._file.read(wanted).ljust(wanted, b"\0")
        self._place += wanted
        return wanted
