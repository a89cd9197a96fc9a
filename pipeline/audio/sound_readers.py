"""Readers of sound files, by format: where a seek is exact, and how damage is kept out.

The same bits come wherever a read begins, and NaN where nothing can be read. Where
libsndfile does not seek exactly, what lies before is decoded.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import soundfile

from pipeline.audio.header import Samples
from pipeline.audio.lengths import count_cut_off
from pipeline.audio.ogg import find_gaps
from pipeline.audio.sound_files import (
    BUFFER,
    SIXTEEN_BITS,
    WAV,
    SequentialFile,
    empty_piece,
    open_sequential,
)
from pipeline.paths import AnyPath

# Seeking was compared, read by read, with decoding from the start; only these
# proved exact. FLAC and the PCM of PAF differ from what their subtype says.
EXACT_SUBTYPES = ("PCM_", "FLOAT", "DOUBLE", "ULAW", "ALAW", "IMA_ADPCM", "MS_ADPCM")
PREROLL_SECONDS = 10
OGG_PAGE_BYTES = 65307  # the longest page there can be
FLAC_PIECE = 4096
VORBIS_BLOCK = 8192  # the longest, too
WAV_REMARK = "there it ends by its header, but more bytes follow; correct the sizes in its header"
OGG_REMARK = "there its Ogg pages are damaged or missing, or another recording begins"
MPEG_REMARK = "there its MPEG frames are damaged or missing, or another recording begins"


def reader_class(
    file: SequentialFile,
) -> type[_SeekingReader | PlainReader | _FlacReader | _PrerollReader | ForwardReader]:
    """The reader for the format of a file."""
    if file.plain_from is not None:
        return PlainReader
    if file.format == "FLAC":
        return _FlacReader
    if file.subtype.startswith(EXACT_SUBTYPES) and file.format != "PAF":
        return _SeekingReader
    return _PrerollReader if file.format == "OGG" else ForwardReader


class _SoundReader:
    """What the readers have in common; `has` is false, as decoders yield numbers or nothing."""

    _place = 0  # of the next sample that the file would decode; -1 if it must be sought first

    def __init__(self, file: SequentialFile, path: AnyPath) -> None:
        self._file, self._path = file, path

    @property
    def remark(self) -> str:
        return MPEG_REMARK if self._file.format == "MP3" else ""

    def has(self, sample: int) -> bool:
        return False

    def _reopen(self) -> None:
        """Open the file anew, as a handle that met damage reads no more."""
        self._file.close()
        self._file, self._place = open_sequential(self._path), type(self)._place

    def close(self) -> None:
        self._file.close()


class _SeekingReader(_SoundReader):
    """Formats in which a seek is exact."""

    @property
    def remark(self) -> str:
        by_header = self._file.format in WAV and "should be" not in self._file.extra_info
        return WAV_REMARK if by_header else ""

    def read(self, start: int, stop: int) -> Samples:
        samples = np.full((stop - start, self._file.channels), np.nan, np.float32)
        with suppress(soundfile.LibsndfileError):  # a seek may fail, too
            if start != self._place:
                self._file.seek_to(start)
            self._file.fill(samples, start)
            self._place = stop
        return samples

    def has(self, sample: int) -> bool:
        self._place = -1
        with suppress(soundfile.LibsndfileError):
            self._file.seek_to(sample)
            return self._file.decode(np.empty((1, self._file.channels), np.float32))
        return False


class PlainReader(_SeekingReader):
    """WAV of 16 bits on a disk, whose bytes are the samples: they are read where they are.

    libsndfile would be called several times a read, and each time a thread waits for its turn.
    """

    def __init__(self, file: SequentialFile, path: AnyPath) -> None:
        super().__init__(file, path)
        self._begin = file.plain_from or 0

    def read(self, start: int, stop: int) -> Samples:
        samples = np.empty((stop - start, self._file.channels), np.float32)
        step = max(1, BUFFER // self._file.channels)
        for low in range(0, len(samples), step):
            self._read_rows([start + low], samples[None, low : low + step])
        return samples

    def read_apart(self, firsts: Sequence[int], length: int) -> Samples:
        """Rows of samples, shape (row, sample, channel), each from a first sample on."""
        samples = np.empty((len(firsts), length, self._file.channels), np.float32)
        step = max(1, BUFFER // max(1, length * self._file.channels))
        for low in range(0, len(firsts), step):
            self._read_rows(firsts[low : low + step], samples[low : low + step])
        return samples

    def _read_rows(self, firsts: Sequence[int], samples: Samples) -> None:
        """Read as many rows as may be held twice."""
        raw = np.empty(samples.shape, "<i2")
        got = [self._read_raw(first, row) for first, row in zip(firsts, raw, strict=True)]
        np.multiply(raw, SIXTEEN_BITS, out=samples)
        for n, row in zip(got, samples, strict=True):
            row[n:] = np.nan

    def _read_raw(self, first: int, row: npt.NDArray[np.int16]) -> int:
        """Read what there is of a row; how many samples."""
        assert self._file.descriptor is not None
        width = 2 * self._file.channels
        left = max(0, min(len(row), int(self._file.frames) - first))
        there = row[:left].view(np.uint8).reshape(-1)
        place, got = self._begin + width * first, 0
        while got < len(there):
            some = os.preadv(self._file.descriptor, [there[got:].data], place + got)
            if not some:
                break
            got += some
        return int(got // width)


class _FlacReader(_SoundReader):
    """FLAC: seeks are exact where they succeed, and a read tells of damage.

    A damaged frame comes as zeros, and the error only after the whole read: so
    no read is long, and one that fails yields nothing. The first frame is decoded
    as the file is opened, which tells of no damage; a seek to it does. Where the
    header is damaged, seeks may fail among frames that are whole; these are
    decoded from the beginning.
    """

    _place = -1

    def read(self, start: int, stop: int) -> Samples:
        samples = np.full((stop - start, self._file.channels), np.nan, np.float32)
        if start != self._place and not self._go_to(start):
            return samples
        there = max(0, min(stop, self._file.frames) - start)
        step = max(1, BUFFER // self._file.channels)
        for low in range(0, there, step):
            piece = samples[low : min(low + step, there)]
            if not self._file.decode(piece):
                self._read_up_to_damage(start + low, piece)
                return samples
        self._place = stop
        return samples

    def _read_up_to_damage(self, start: int, samples: Samples) -> None:
        """Read the samples before the first damaged one, found by halving: one decode a step."""
        good, bad = 0, len(samples)
        while bad - good > 1:
            middle = (good + bad) // 2
            part = np.empty_like(samples[:middle])
            self._reopen()
            with suppress(soundfile.LibsndfileError):
                self._file.seek_to(start)
                if self._file.decode(part):
                    samples[:middle], good = part, middle
                    continue
            bad = middle
        self._reopen()

    def _go_to(self, start: int) -> bool:
        """Go to a sample, if nothing before it is damaged where seeking fails."""
        try:
            self._file.seek_to(start)
            return True
        except soundfile.LibsndfileError:
            self._reopen()
        if start >= _count_whole(*_identity(self._path)):
            return False
        self._file.seek_to(0)
        _skip(self._file, start)
        return True


@lru_cache(maxsize=256)
def _count_whole(path: AnyPath, size: int, modified: int) -> int:
    """Samples of FLAC up to the first that is damaged."""
    with open_sequential(path) as file, suppress(soundfile.LibsndfileError):
        file.seek_to(0)
        piece, n_samples = np.empty((FLAC_PIECE, file.channels), np.float32), 0
        while n_samples < file.frames and file.decode(piece[: file.frames - n_samples]):
            n_samples = min(n_samples + FLAC_PIECE, int(file.frames))
        return n_samples
    return 0


class _PrerollReader(_SoundReader):
    """Ogg: one seek by a fresh handle, to some seconds before, and forwards from there.

    A second seek, or one into the last page, may land elsewhere. Vorbis is exact
    one block after a seek; Opus forgets its past within seconds. Behind a damaged
    page the decoder counts on as if nothing were missing: so the gaps are found
    from the pages, left out, and reading begins anew behind each.
    """

    _place = -1
    remark = OGG_REMARK

    def __init__(self, file: SequentialFile, path: AnyPath) -> None:
        super().__init__(file, path)
        self._ahead = PREROLL_SECONDS * file.samplerate
        self._cut_off = count_cut_off(file, path)
        last_page = 2 * OGG_PAGE_BYTES / max(1, path.stat().st_size) * file.frames
        self._latest = file.frames - int(max(last_page, self._ahead)) - self._ahead + self._cut_off
        self._lost = [self._samples_lost(*gap) for gap in find_gaps(*_identity(path))]

    def _samples_lost(self, first: int, _: int, behind: int) -> tuple[int, int, int]:
        """Where a gap begins, from where on one may seek behind it, and where reading is exact.

        A seek into the first page behind a gap would begin before the gap.
        """
        if self._file.subtype != "OPUS":
            return first, behind + 1, behind + 1 + VORBIS_BLOCK
        rate = self._file.samplerate  # Opus counts at 48 kHz, whatever it is decoded to
        behind = behind * rate // 48000 + 1
        return first * rate // 48000 - rate // 10, behind, behind + self._ahead

    def read(self, start: int, stop: int) -> Samples:
        samples = np.full((stop - start, self._file.channels), np.nan, np.float32)
        begin, clean_from = start, self._cut_off
        for first, behind, exact in [*self._lost, (stop, stop, stop)]:
            if first >= begin:
                end = min(first, stop)
                self._read_clean(begin, clean_from, samples[begin - start : end - start])
            begin, clean_from = max(begin, exact), behind
            if begin >= stop:
                break
        return samples

    def _read_clean(self, start: int, clean_from: int, out: Samples) -> None:
        """Read samples with no damage between `clean_from` and their end."""
        if not len(out):
            return
        begin = max(clean_from, min(start - self._ahead, self._latest))
        if not max(clean_from, begin - self._ahead) <= self._place <= start:
            if self._place >= 0:
                self._reopen()
            self._place = begin
            if self._place > self._cut_off:
                self._file.seek_to(self._place - self._cut_off)
        _skip(self._file, start - self._place)
        self._file.fill(out, start - self._cut_off)
        self._place = start + len(out)
        # Opus leaves denormal numbers in silence, which do depend on the past.
        out[np.abs(out) < np.finfo(np.float32).tiny] = 0


class ForwardReader(_SoundReader):
    """Formats that must be decoded from their beginning, MP3 above all.

    Each thread keeps its last one open: blocks are mostly read in order, and a
    file is then decoded once a thread instead of once a block. The last samples
    are kept, too, for the next read may overlap with them.
    """

    def __init__(self, file: SequentialFile, path: AnyPath) -> None:
        super().__init__(file, path)
        self._last = np.empty((0, file.channels), np.float32)
        self._identity = _identity(path)

    def is_of(self, path: AnyPath) -> bool:
        """Whether it reads this file as it is now, and still can."""
        return self._file.is_usable and self._identity == _identity(path)

    def read(self, start: int, stop: int) -> Samples:
        kept = self._last[max(0, len(self._last) - max(0, self._place - start)) :]
        if start < self._place - len(kept):
            self._reopen()
            kept = kept[:0]
        _skip(self._file, start - self._place)
        samples = np.empty((stop - start, self._file.channels), np.float32)
        samples[: len(kept)] = kept[: len(samples)]
        if stop > self._place:
            self._file.fill(samples[len(kept) :], start + len(kept))
            self._place, self._last = stop, samples
        return samples

    def close(self) -> None:
        """Stays open for the next block; the next file takes its place."""


def _identity(path: AnyPath) -> tuple[AnyPath, int, int]:
    status = path.stat()
    return path, status.st_size, status.st_mtime_ns


def _skip(file: SequentialFile, n: int) -> None:
    piece = empty_piece(file)
    while n > 0:
        file.fill(piece[:n], 0)
        n -= len(piece)
