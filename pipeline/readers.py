"""Readers: sample ranges of one audio file, the same bits wherever a read begins.

Unreadable samples come back as NaN, never as other numbers and never as a
shorter array. What libsndfile does not seek in exactly is decoded on the way.
"""

from __future__ import annotations

import csv
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import h5py
import numpy as np
import numpy.typing as npt
import soundfile

from pipeline.ogg import find_gaps

__all__ = ["Header", "Reader", "load_labels", "open_reader", "probe", "read_label", "suffixes"]

Array = npt.NDArray[Any]
Samples = npt.NDArray[np.float32]

HDF5_SUFFIXES = (".h5", ".hdf5")
AUDIO_DTYPES = ("int16", "int32", "float32", "float64")  # labels are often int64
# Seeking was compared, read by read, with decoding from the start; only these
# proved exact. FLAC and the PCM of PAF differ from what their subtype says.
EXACT_SUBTYPES = ("PCM_", "FLOAT", "DOUBLE", "ULAW", "ALAW", "IMA_ADPCM", "MS_ADPCM")
PREROLL_SECONDS = 10
OGG_PAGE_BYTES = 65307  # the longest page there can be
PIECE = 1 << 16


class Reader(Protocol):
    """An open file."""

    def read(self, start: int, stop: int) -> Samples:
        """Samples start to stop - 1, shape (sample, channel).

        A reader is read forwards. NaN stands for what cannot be read.
        """

    def close(self) -> None:
        """Give the file back."""


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says of itself.

    Parameters
    ----------
    samplerate : int
        In Hz.
    channels : int
        How many.
    n_samples : int
        Samples in each channel.
    seekable : bool
        Whether reading may begin anywhere, also behind a damaged place;
        false where a file must be decoded from its beginning.
    """

    samplerate: int
    channels: int
    n_samples: int
    seekable: bool = True


def suffixes() -> frozenset[str]:
    """Endings, in lower case, of the files that a folder is searched for."""
    known = {f".{name.lower()}" for name in soundfile.available_formats()}
    other = {".aif", ".aifc", ".oga", ".opus", ".rf64", ".snd", ".npy", *HDF5_SUFFIXES}
    return frozenset(known | other) - {".raw", ".mat4", ".mat5"}


def probe(path: Path, samplerate: int | None = None) -> Header:
    """Read what a file says of itself; audio only where it does not say.

    Parameters
    ----------
    path : path
        Of an audio file, an HDF5 file with ``audio``, or a NumPy array.
    samplerate : int, optional
        Of a NumPy array, which does not tell it.

    Returns
    -------
    Header

    Raises
    ------
    OSError
        If the file cannot be read as audio; the message says why.
    ValueError
        If it is a NumPy array, and `samplerate` is not given.
    """
    suffix = path.suffix.lower()
    if suffix == ".npy" and samplerate is None:
        raise ValueError(
            f"{path} is a NumPy array, which does not tell its rate; give --samplerate"
        )
    with _as_os_error(path):
        if suffix == ".npy":
            audio = _map_array(path)
            if audio.shape[1] > audio.shape[0] > 0:
                raise OSError(f"it has shape {audio.shape}; audio has shape (sample, channel)")
            header = Header(samplerate or 0, audio.shape[1], audio.shape[0])
        elif suffix in HDF5_SUFFIXES:
            header = _probe_hdf5(path)
        else:
            header = _probe_soundfile(path)
        if header.n_samples < 1 or header.channels < 1:
            raise OSError("it holds no samples")
        return header


def open_reader(path: Path) -> Reader:
    """Open a file for reading.

    Raises
    ------
    OSError
        If it cannot be opened; the message says why.
    """
    with _as_os_error(path):
        suffix = path.suffix.lower()
        if suffix == ".npy":
            return _ArrayReader(_map_array(path))
        if suffix in HDF5_SUFFIXES:
            file = h5py.File(path, "r")
            return _ArrayReader(file["audio"], file)
        return _soundfile_reader(path)


def read_label(path: Path) -> Array | None:
    """The labels stored with a recording: HDF5 ``label``, or ``NAME-lbl.npy``.

    Returns
    -------
    numpy.ndarray of shape (window,) or (window, class), or None
        None if there are none.

    Raises
    ------
    OSError
        If they cannot be read.
    """
    with _as_os_error(path):
        if path.suffix.lower() in HDF5_SUFFIXES:
            with h5py.File(path, "r") as file:
                return _hdf5_labels(file) if "label" in file else None
        beside = path.with_name(f"{path.stem}-lbl.npy")
        if path.suffix.lower() == ".npy" and beside.exists():
            return np.asarray(np.load(beside))
        return None


def load_labels(path: Path) -> Array | list[str]:
    """Read a file of labels, one for each window.

    Parameters
    ----------
    path : path
        ``.npy``; HDF5 with a dataset ``label``; or text with one label a row:
        a single column, or a CSV file with a column ``label``.

    Returns
    -------
    numpy.ndarray of shape (window,) or (window, class), or list of str

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If there are no labels in it.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; give a file of labels")
    try:
        with _as_os_error(path):
            if path.suffix.lower() == ".npy":
                return np.asarray(np.load(path))
            if path.suffix.lower() in HDF5_SUFFIXES:
                with h5py.File(path, "r") as file:
                    return _hdf5_labels(file)
            with open(path, newline="", encoding="utf-8-sig") as file:
                rows = list(csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise OSError(
            f"{path} cannot be read as labels ({error}); give .npy, HDF5 with 'label', or CSV"
        ) from None
    while rows and not any(rows[-1]):
        rows.pop()
    header = [name.strip().lower() for name in rows[0]] if rows else []
    column = header.index("label") if "label" in header else 0
    if "label" not in header and any(len(row) > 1 for row in rows):
        raise ValueError(
            f"{path} has several columns, but none is named 'label'; name one of them so"
        )
    labels = [row[column].strip() if column < len(row) else "" for row in rows["label" in header :]]
    if not labels or "" in labels:
        where = f"in row {labels.index('') + 1}" if labels else "at all"
        raise ValueError(f"{path} has no label {where}; give one for each window")
    return labels


@contextmanager
def _as_os_error(path: Path) -> Iterator[None]:
    """Libraries raise what they like; a broken file is an OSError here."""
    try:
        yield
    except soundfile.LibsndfileError as error:
        raise OSError(f"libsndfile: {error.error_string.rstrip('.')}") from None
    except FileNotFoundError:
        raise FileNotFoundError("it does not exist") from None
    except (KeyError, EOFError, ValueError, TypeError, AttributeError, IndexError) as error:
        raise OSError(f"it is damaged, or not what its name says: {error}") from None


def _hdf5_labels(file: h5py.File) -> Array:
    label = file["label"]
    return np.asarray(label.asstr()[...] if h5py.check_string_dtype(label.dtype) else label)


class _ArrayReader:
    """An array on disk, (sample, channel) or (sample,)."""

    def __init__(self, audio: Any, file: h5py.File | None = None) -> None:
        self._audio, self._file = audio, file

    def read(self, start: int, stop: int) -> Samples:
        channels = 1 if self._audio.ndim == 1 else self._audio.shape[1]
        samples = np.full((stop - start, channels), np.nan, np.float32)
        try:
            values = _as_columns(np.asarray(self._audio[start:stop]))
        except OSError:
            return samples
        # Whole numbers are scaled to -1 up to 1, as soundfile does.
        scale = -float(np.iinfo(values.dtype).min) if values.dtype.kind == "i" else 1.0
        samples[: len(values)] = values / scale if scale > 1 else values
        return samples

    def close(self) -> None:
        self._audio = None
        if self._file is not None:
            self._file.close()


def _map_array(path: Path) -> Array:
    loaded = np.load(path, mmap_mode="r")
    if isinstance(loaded, np.ndarray):
        return _as_columns(loaded)
    loaded.close()
    raise OSError("it is damaged, or not what its name says: it holds several arrays")


def _as_columns(audio: Array) -> Array:
    if audio.dtype.name not in AUDIO_DTYPES or audio.ndim not in (1, 2):
        raise OSError(
            f"it has shape {audio.shape} and dtype {audio.dtype}; audio has shape "
            f"(sample, channel) and dtype {', '.join(AUDIO_DTYPES)}"
        )
    return audio[:, None] if audio.ndim == 1 else audio


def _probe_hdf5(path: Path) -> Header:
    with h5py.File(path, "r") as file:
        if "audio" not in file:
            raise OSError("it has no dataset 'audio'")
        audio = file["audio"]
        rate = audio.attrs.get("sampling_rate", file.attrs.get("sampling_rate"))
        if rate is None:
            raise OSError("its dataset 'audio' has no attribute 'sampling_rate'")
        number = float(np.asarray(rate).item()) if np.size(rate) == 1 else 0.0
        if number < 1 or not number.is_integer():
            raise OSError(f"its sampling_rate is {rate}; it must be one whole number of Hz")
        channels = _as_columns(np.empty((0, *audio.shape[1:]), audio.dtype)).shape[1]
        return Header(int(number), channels, audio.shape[0])


class _Sequential(soundfile.SoundFile):  # type: ignore[misc]
    """A sound file that is not sought in behind the reader's back.

    `soundfile.SoundFile` seeks after every read of a seekable file, which
    costs MP3 its exactness and FLAC the samples before a damaged place.
    """

    def seekable(self) -> bool:
        return False

    def seek_to(self, start: int) -> None:
        soundfile.SoundFile.seek(self, start)

    def fill(self, samples: Samples) -> None:
        """Read into `samples`; what cannot be read is NaN."""
        samples[...] = np.nan
        with suppress(soundfile.LibsndfileError):
            # Behind its end libsndfile may have filled up with zeros.
            samples[len(self.read(out=samples)) :] = np.nan


def _mpeg_start(file: BinaryIO) -> int | None:
    """Where MPEG audio begins, behind its tags; None if this is something else."""
    head, start = file.read(10), 0
    while head[:3] == b"ID3" and len(head) == 10:
        size = sum(
            (byte & 0x7F) << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True)
        )
        start = file.seek(start + 10 + size + (10 if head[5] & 0x10 else 0))
        head = file.read(10)
    # Eleven bits of sync, and a layer: AAC has the same sync without one.
    mpeg = len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0 and head[1] & 0x06
    return start if mpeg else None


def _open_sequential(path: Path) -> _Sequential:
    """Open a file; MPEG through a pipe, where libsndfile does not guess its length."""
    file = open(path, "rb")  # noqa: SIM115 - a thread will close it
    start = _mpeg_start(file)
    if start is None:
        file.close()
        return _Sequential(path)
    file.seek(start)
    out, into = os.pipe()

    def feed() -> None:
        with file, suppress(BrokenPipeError), open(into, "wb", buffering=0) as pipe:
            while piece := file.read(PIECE):
                pipe.write(piece)

    threading.Thread(target=feed, daemon=True).start()
    try:
        return _Sequential(out, closefd=True)  # it is closed also where it cannot be opened
    except soundfile.LibsndfileError:
        return _Sequential(path)


def _probe_soundfile(path: Path) -> Header:
    with _open_sequential(path) as file:
        n_samples = file.frames
        if n_samples >= np.iinfo(np.int64).max:  # no Xing or Info header says it
            piece = np.empty((PIECE, file.channels), np.float32)
            n_samples = 0
            with suppress(soundfile.LibsndfileError):
                while got := len(file.read(out=piece)):
                    n_samples += got
        return Header(
            file.samplerate, file.channels, n_samples, _reader_class(file) is not _ForwardReader
        )


def _soundfile_reader(path: Path) -> Reader:
    kept = getattr(_kept, "reader", None)
    if isinstance(kept, _ForwardReader) and kept.identity == _identity(path):
        return kept
    file = _open_sequential(path)
    reader = _reader_class(file)(file, path)
    if isinstance(reader, _ForwardReader):
        _kept.reader = reader
    return reader


def _reader_class(file: _Sequential) -> type[_SeekingReader | _PrerollReader | _ForwardReader]:
    exact = file.subtype.startswith(EXACT_SUBTYPES) and file.format != "PAF"
    if exact or file.format == "FLAC":
        return _SeekingReader
    return _PrerollReader if file.format == "OGG" else _ForwardReader


class _SeekingReader:
    """Formats in which a seek is exact."""

    def __init__(self, file: _Sequential, path: Path) -> None:
        self._file, self._place = file, 0

    def read(self, start: int, stop: int) -> Samples:
        samples = np.full((stop - start, self._file.channels), np.nan, np.float32)
        with suppress(soundfile.LibsndfileError):  # a seek may fail, too
            if start != self._place:
                self._file.seek_to(start)
            self._file.fill(samples)
            self._place = stop
        return samples

    def close(self) -> None:
        self._file.close()


class _PrerollReader:
    """Ogg: one seek from a fresh handle, some time ahead, then forwards.

    A second seek, or one into the last page, may land elsewhere. Vorbis is
    exact one block after a seek; Opus forgets its past within seconds. Behind
    a damaged page the decoder counts on as if there were none: what it lost is
    left out, and behind it reading begins afresh.
    """

    def __init__(self, file: _Sequential, path: Path) -> None:
        self._file, self._path, self._place = file, path, -1
        self._ahead = PREROLL_SECONDS * file.samplerate
        last_page = 2 * OGG_PAGE_BYTES / max(1, path.stat().st_size) * file.frames
        self._latest = file.frames - int(max(last_page, self._ahead)) - self._ahead
        self._lost = [self._samples_lost(*gap) for gap in find_gaps(*_identity(path))]

    def _samples_lost(self, first: int, last: int) -> tuple[int, int]:
        if self._file.subtype != "OPUS":
            return first, last
        rate = self._file.samplerate  # Opus counts at 48 kHz, whatever it is decoded to
        return first * rate // 48000 - rate // 10, last * rate // 48000 + self._ahead

    def read(self, start: int, stop: int) -> Samples:
        samples = np.full((stop - start, self._file.channels), np.nan, np.float32)
        begin, clean_from = start, 0
        for first, last in [*self._lost, (stop, stop)]:
            if first >= begin:
                end = min(first, stop)
                self._read_clean(begin, clean_from, samples[begin - start : end - start])
            begin, clean_from = max(begin, last), last
            if begin >= stop:
                break
        return samples

    def _read_clean(self, start: int, clean_from: int, out: Samples) -> None:
        """Read what has no damage between `clean_from` and its end."""
        if not len(out):
            return
        if not clean_from <= self._place <= start:
            if self._place >= 0:
                self._file.close()
                self._file = _open_sequential(self._path)
            self._place = max(clean_from, min(start - self._ahead, self._latest), 0)
            if self._place:
                self._file.seek_to(self._place)
        _skip(self._file, start - self._place)
        self._file.fill(out)
        self._place = start + len(out)
        # Opus leaves denormal numbers in silence, which do depend on the past.
        out[np.abs(out) < np.finfo(np.float32).tiny] = 0

    def close(self) -> None:
        self._file.close()


class _ForwardReader:
    """Formats that must be decoded from their beginning, MP3 above all.

    Each thread keeps the last one open: blocks are mostly read in order, and
    a file is then decoded once a thread instead of once a block. It keeps the
    last samples, too, for the next read may overlap with them.
    """

    def __init__(self, file: _Sequential, path: Path) -> None:
        self._file, self._path, self._place = file, path, 0
        self._last = np.empty((0, file.channels), np.float32)
        self.identity = _identity(path)

    def read(self, start: int, stop: int) -> Samples:
        kept = self._last[max(0, len(self._last) - max(0, self._place - start)) :]
        if start < self._place - len(kept):
            self._file.close()
            self._file, self._place, kept = _open_sequential(self._path), 0, kept[:0]
        _skip(self._file, start - self._place)
        samples = np.empty((stop - start, self._file.channels), np.float32)
        samples[: len(kept)] = kept[: len(samples)]
        if stop > self._place:
            self._file.fill(samples[len(kept) :])
            self._place, self._last = stop, samples
        return samples

    def close(self) -> None:
        """Stays open for the next block; the next file takes its place."""


_kept = threading.local()


def _identity(path: Path) -> tuple[str, int, int]:
    status = path.stat()
    return os.fspath(path), status.st_size, status.st_mtime_ns


def _skip(file: _Sequential, n: int) -> None:
    piece = np.empty((PIECE, file.channels), np.float32)
    while n > 0:
        file.fill(piece[: min(n, PIECE)])
        n -= PIECE
