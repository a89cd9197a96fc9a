"""Arrays on disk as audio: NumPy files and HDF5."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import numpy.typing as npt

from pipeline.remote import AnyPath, RemotePath
from pipeline.remote_file import RemoteFile, open_binary

__all__ = ["HDF5_SUFFIXES", "ArrayReader", "open_hdf5", "open_npy"]

Array = npt.NDArray[Any]
Samples = npt.NDArray[np.float32]

HDF5_SUFFIXES = (".h5", ".hdf5")
PIECE = 1 << 16  # bytes read at a time of what is remote
AUDIO_DTYPES = ("int16", "int32", "float32", "float64")  # labels are often int64


class ArrayReader:
    """An array on disk, (sample, channel) or (sample,).

    Parameters
    ----------
    audio : numpy.ndarray or h5py.Dataset
        The samples that are there.
    n_samples : int
        How many the file announces in each channel.
    samplerate : int
        In Hz; 0 where the file does not tell it.
    file : h5py.File, optional
        What is to be closed with the reader.
    remote : RemoteFile, optional
        What the array is in, if that is remote.

    Raises
    ------
    OSError
        If the array has not the shape and dtype of audio.
    """

    remark = ""

    def __init__(
        self,
        audio: Any,
        n_samples: int,
        samplerate: int = 0,
        file: h5py.File | None = None,
        remote: RemoteFile | None = None,
    ) -> None:
        if audio.dtype.name not in AUDIO_DTYPES or audio.ndim not in (1, 2):
            raise OSError(
                f"it has shape {audio.shape} and dtype {audio.dtype}; audio has shape "
                f"(sample, channel) and dtype {', '.join(AUDIO_DTYPES)}"
            )
        self._audio, self._file, self._remote = audio, file, remote
        self.n_samples, self.samplerate = n_samples, samplerate
        self.channels = 1 if audio.ndim == 1 else int(audio.shape[1])

    def read(self, start: int, stop: int) -> Samples:
        """Samples start to stop - 1, shape (sample, channel); NaN where there are none."""
        samples = np.full((stop - start, self.channels), np.nan, np.float32)
        try:
            values = np.asarray(self._audio[start:stop])
        except (OSError, RuntimeError):  # h5py raises either
            if self._remote is not None and (error := self._remote.error) is not None:
                raise error from None
            return samples
        # Whole numbers are scaled to -1 up to 1, as soundfile does.
        scale = -float(np.iinfo(values.dtype).min) if values.dtype.kind == "i" else 1.0
        values = values.reshape(len(values), self.channels)
        with np.errstate(over="ignore"):  # what is no float32 is not finite, and masked
            samples[: len(values)] = values / scale if scale > 1 else values
        return samples

    def has(self, sample: int) -> bool:
        """Whether a sample can be read, be it a number or not."""
        try:
            return len(self._audio[sample : sample + 1]) == 1
        except (OSError, RuntimeError):
            return False

    def close(self) -> None:
        """Give the file back."""
        self._audio = None
        if self._file is not None:
            self._file.close()


def open_npy(path: AnyPath) -> ArrayReader:
    """Map a NumPy array.

    Raises
    ------
    OSError, ValueError
        If it is none, or no audio.
    """
    if isinstance(path, RemotePath):
        return _open_remote_npy(path)
    try:
        loaded = np.load(path, mmap_mode="r")
        n_samples = len(loaded)
    except ValueError:
        n_samples, loaded = _map_cut(path)
    if not isinstance(loaded, np.ndarray):
        loaded.close()
        raise OSError("it is damaged, or not what its name says: it holds several arrays")
    _check_shape((n_samples, *loaded.shape[1:]))
    return ArrayReader(loaded, n_samples)


def _check_shape(shape: tuple[int, ...]) -> None:
    """Refuse an array that has its axes the other way round."""
    if len(shape) == 2 and shape[1] > shape[0] > 0:
        raise OSError(f"it has shape {shape}; audio has shape (sample, channel)")


class _Npy(NamedTuple):
    """What the header of a NumPy array says, and how many of its rows there are."""

    shape: tuple[int, ...]
    by_columns: bool
    dtype: np.dtype[Any]
    offset: int
    rows: int


class _RemoteArray:
    """A NumPy array that is remote, of which rows are read as they are asked for."""

    def __init__(self, remote: RemoteFile, npy: _Npy) -> None:
        self._remote, self._npy = remote, npy
        self.shape, self.dtype, self.ndim = npy.shape, npy.dtype, len(npy.shape)

    def __getitem__(self, rows: slice) -> Array:
        start, stop, _ = rows.indices(self._npy.rows)
        n, width = max(0, stop - start), math.prod(self.shape[1:])
        if self._npy.by_columns:
            columns = [self._read(i * self.shape[0] + start, n) for i in range(width)]
            return np.stack(columns, axis=1).reshape(n, *self.shape[1:])
        return self._read(start * width, n * width).reshape(n, *self.shape[1:])

    def _read(self, first: int, n: int) -> Array:
        values = np.empty(n, self.dtype)
        if not n:
            return values
        view, place = values.data.cast("B"), 0
        self._remote.seek(self._npy.offset + first * self.dtype.itemsize)
        while got := self._remote.readinto(view[place:]):
            place += got
        if place < len(view):
            raise OSError("it ends before its end")
        return values


def _open_remote_npy(path: RemotePath) -> ArrayReader:
    npy = _read_header(path)
    _check_shape(npy.shape)
    remote = RemoteFile(path)
    return ArrayReader(_RemoteArray(remote, npy), npy.shape[0], remote=remote)


def _map_cut(path: Path) -> tuple[int, Array]:
    """What is there of an array that is shorter than its header says, which is believed.

    Raises
    ------
    ValueError
        If that is not what is wrong with it.
    """
    npy = _read_header(path)
    there = np.memmap(path, npy.dtype, "r", npy.offset, (npy.rows, *npy.shape[1:]))
    return npy.shape[0], there


def _read_header(path: AnyPath) -> _Npy:
    """Read the header of a NumPy array, and see how much of it there is.

    Raises
    ------
    ValueError
        If it is none, or cannot be believed.
    """
    with open_binary(path) as file:
        versions = {(1, 0): np.lib.format.read_array_header_1_0}
        versions[2, 0] = np.lib.format.read_array_header_2_0
        version = np.lib.format.read_magic(file)
        if version not in versions:
            raise ValueError(f"its format is {version}")
        shape, fortran, dtype = versions[version](file)
        offset = file.tell()
    if dtype.hasobject:
        raise ValueError("it holds objects")
    row = int(np.prod(shape[1:], dtype=object)) * dtype.itemsize
    size = path.stat().st_size
    there = min((size - offset) // row, shape[0]) if row and shape else 0
    # Columns that follow each other are not cut row by row.
    by_columns = fortran and shape[1:] not in ((), (1,))
    if (by_columns and there < shape[0]) or there < 1:
        raise ValueError(f"it has {size} bytes, too few for the shape {shape}")
    if not is_believable(shape[0] * row, size):
        raise ValueError(f"it has {size} bytes, but announces the shape {shape}")
    return _Npy(shape, by_columns, dtype, offset, there)


def is_believable(announced: int, there: int) -> bool:
    """Whether a file of so many bytes may be the rest of one that was so much longer.

    More than 4 GiB of which not a hundredth is there comes from a damaged
    number: it would mask years that nobody recorded.
    """
    return announced <= max(1 << 32, 100 * there)


def open_hdf5(path: AnyPath) -> ArrayReader:
    """Open the dataset ``audio`` of an HDF5 file.

    Raises
    ------
    OSError, KeyError, TypeError, ValueError
        If it has none, or one that is no audio.
    """
    remote = RemoteFile(path) if isinstance(path, RemotePath) else None
    file = h5py.File(path if remote is None else io.BufferedReader(remote, PIECE), "r")
    try:
        if "audio" not in file:
            raise OSError("it has no dataset 'audio'")
        audio = file["audio"]
        rate = audio.attrs.get("sampling_rate", file.attrs.get("sampling_rate"))
        if rate is None:
            raise OSError("its dataset 'audio' has no attribute 'sampling_rate'")
        number = float(np.asarray(rate).item()) if np.size(rate) == 1 else 0.0
        if number < 1 or not number.is_integer():
            raise OSError(f"its sampling_rate is {rate}; it must be one whole number of Hz")
        return ArrayReader(audio, audio.shape[0] if audio.shape else 0, int(number), file, remote)
    except BaseException:
        file.close()
        raise
