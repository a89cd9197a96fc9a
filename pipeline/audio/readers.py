"""Readers: which one opens a file, by its ending, and reads ranges of its samples.

The same bits come wherever a read begins. Samples that cannot be read come as NaN, never as
other numbers nor as a shorter array.
"""

import errno
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tokenize import TokenError
from typing import Protocol
from zipfile import BadZipFile

import soundfile

from pipeline.audio.arrays import HDF5_SUFFIXES, ArrayReader, check_chunks, open_hdf5, open_npy
from pipeline.audio.header import HIGHEST_RATE, Header, Samples
from pipeline.audio.lengths import count_announced
from pipeline.audio.sound_files import open_sequential
from pipeline.audio.sound_readers import ForwardReader, reader_class
from pipeline.paths import AnyPath

# What libraries raise for damaged files; anything else is a fault of our own.
DAMAGE = (ValueError, KeyError, EOFError, RuntimeError, SyntaxError, TokenError, BadZipFile)
OGG_SUFFIXES = (".oga", ".ogg", ".opus")
ARRAYS = (".npy", *HDF5_SUFFIXES)
_kept = threading.local()  # its last reader that stays open


class Reader(Protocol):
    """An open file."""

    @property
    def remark(self) -> str:
        """Why reading may end before the end, for people."""

    def read(self, start: int, stop: int) -> Samples:
        """Samples start to stop - 1, shape (sample, channel); NaN where they cannot be read.

        Reads go forwards.
        """

    def has(self, sample: int) -> bool:
        """Whether a sample can be read, though it may be NaN."""

    def close(self) -> None:
        """Close the file, or keep it for the next block."""


def suffixes() -> frozenset[str]:
    """Endings, in lower case, of the files that a folder is searched for."""
    known = {f".{name.lower()}" for name in soundfile.available_formats()}
    other = {".aif", ".aifc", ".rf64", ".snd", *OGG_SUFFIXES, *ARRAYS}
    return frozenset(known | other) - {".raw", ".mat4", ".mat5"}


def probe(path: AnyPath, samplerate: int | None = None) -> Header:
    """Read the header of an audio file, an HDF5 file with ``audio``, or a NumPy array.

    OSError says why a file is no audio. A NumPy array does not tell its samplerate. Audio is
    read only where the header does not tell its length.
    """
    suffix = path.suffix.lower()
    if suffix == ".npy" and samplerate is None:
        raise ValueError(
            f"{path} is a NumPy array, which does not tell its rate; pass --samplerate"
        )
    with as_os_error(path):
        if suffix in ARRAYS:
            with closing(_open_array(path)) as array:
                rate = array.samplerate or samplerate or 0
                header = Header(rate, array.channels, array.n_samples)
            if suffix in HDF5_SUFFIXES and isinstance(path, Path):
                check_chunks(path)
        else:
            header = _probe_sound_file(path)
        if header.n_samples < 1 or header.channels < 1:
            raise OSError("it holds no samples")
        if not 1 <= header.samplerate <= HIGHEST_RATE:
            raise OSError(
                f"its samplerate is {header.samplerate}; it must be from 1 to {HIGHEST_RATE} Hz"
            )
        return header


def open_reader(path: AnyPath) -> Reader:
    """Open a file for reading; OSError says why it cannot be opened."""
    with as_os_error(path):
        if path.suffix.lower() in ARRAYS:
            return _open_array(path)
        kept = getattr(_kept, "reader", None)
        if isinstance(kept, ForwardReader) and kept.is_of(path):
            return kept
        file = open_sequential(path)
        reader = reader_class(file)(file, path)
        if isinstance(reader, ForwardReader):
            _kept.reader = reader
        return reader


@contextmanager
def as_os_error(path: AnyPath) -> Iterator[None]:
    """Raise OSError in place of the errors by which libraries tell of a damaged file."""
    try:
        yield
    except soundfile.LibsndfileError as error:
        raise OSError(f"libsndfile: {error.error_string.rstrip('.')}") from error
    except FileNotFoundError as error:
        raise FileNotFoundError(errno.ENOENT, "it does not exist") from error
    except DAMAGE as error:
        reason = " ".join(str(error).split())
        raise OSError(f"it is damaged, or not what its name says: {reason}") from error


def _open_array(path: AnyPath) -> ArrayReader:
    return open_npy(path) if path.suffix.lower() == ".npy" else open_hdf5(path)


def _probe_sound_file(path: AnyPath) -> Header:
    with open_sequential(path) as file:
        if file.format == "RAW":  # a guess from the name alone, where the header is damaged
            raise OSError("it has no header that says what it is")
        seekable = reader_class(file) is not ForwardReader
        return Header(file.samplerate, file.channels, count_announced(file, path), seekable)
