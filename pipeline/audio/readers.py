"""Readers: sample ranges of one audio file, the same bits wherever a read begins.

Unreadable samples come back as NaN, never as other numbers and never as a
shorter array.
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError
from typing import Protocol
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt
import soundfile

from pipeline.audio.arrays import HDF5_SUFFIXES, ArrayReader, check_chunks, open_hdf5, open_npy
from pipeline.audio.sound_files import count_announced, open_sequential
from pipeline.audio.sound_readers import ForwardReader, reader_class
from pipeline.paths import AnyPath

Samples = npt.NDArray[np.float32]

HIGHEST_RATE = 10_000_000
# What libraries raise for files that are damaged; anything else is a fault of our own.
DAMAGE = (ValueError, KeyError, EOFError, RuntimeError, SyntaxError, TokenError, BadZipFile)


class Reader(Protocol):
    """An open file."""

    @property
    def remark(self) -> str:
        """What may be behind the place where reading ends, for people."""

    def read(self, start: int, stop: int) -> Samples:
        """Samples start to stop - 1, shape (sample, channel).

        A reader is read forwards. NaN stands for what cannot be read.
        """

    def has(self, sample: int) -> bool:
        """Whether a sample can be read, be it a number or not."""

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


def probe(path: AnyPath, samplerate: int | None = None) -> Header:
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
    with as_os_error(path):
        if suffix == ".npy" or suffix in HDF5_SUFFIXES:
            with closing(_open_array(path)) as array:
                rate = array.samplerate or samplerate or 0
                header = Header(rate, array.channels, array.n_samples)
            if suffix in HDF5_SUFFIXES and isinstance(path, Path):
                check_chunks(path)
        else:
            header = _probe_soundfile(path)
        if header.n_samples < 1 or header.channels < 1:
            raise OSError("it holds no samples")
        if not 1 <= header.samplerate <= HIGHEST_RATE:
            raise OSError(
                f"its samplerate is {header.samplerate}; it must be from 1 to {HIGHEST_RATE} Hz"
            )
        return header


def open_reader(path: AnyPath) -> Reader:
    """Open a file for reading.

    Raises
    ------
    OSError
        If it cannot be opened; the message says why.
    """
    with as_os_error(path):
        if path.suffix.lower() in (".npy", *HDF5_SUFFIXES):
            return _open_array(path)
        return _soundfile_reader(path)


@contextmanager
def as_os_error(path: AnyPath) -> Iterator[None]:
    """Libraries raise what they like; a broken file is an OSError here.

    Parameters
    ----------
    path : path
        Of the file that is worked on.

    Raises
    ------
    OSError
        In place of what was raised; the message says why.
    """
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


def _probe_soundfile(path: AnyPath) -> Header:
    with open_sequential(path) as file:
        if file.format == "RAW":  # guessed from the name alone, as of a damaged AU
            raise OSError("it has no header that says what it is")
        seekable = reader_class(file) is not ForwardReader
        return Header(file.samplerate, file.channels, count_announced(file, path), seekable)


def _soundfile_reader(path: AnyPath) -> Reader:
    kept = getattr(_kept, "reader", None)
    if isinstance(kept, ForwardReader) and kept.is_of(path):
        return kept
    file = open_sequential(path)
    reader = reader_class(file)(file, path)
    if isinstance(reader, ForwardReader):
        _kept.reader = reader
    return reader


_kept = threading.local()
