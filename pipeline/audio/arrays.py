"""Arrays on disk as audio: NumPy files and HDF5."""

import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from pipeline.audio.header import Samples
from pipeline.paths import AnyPath, RemoteFile, RemotePath

Array = npt.NDArray[Any]

HDF5_SUFFIXES = (".h5", ".hdf5")
MINUTE = 60 * 48000  # rows of an array that does not tell its rate
MOST_CHUNK_BYTES = 64 * 10**6
BUFFER = 1 << 16  # bytes read at a time of what is remote
AUDIO_DTYPES = ("int16", "int32", "float32", "float64")  # labels are often int64


class ArrayReader:
    """An array on disk, (sample, channel) or (sample,), that is sliced as an h5py.Dataset is.

    It may announce more samples than are there; a `samplerate` of 0 is not known. `file` is
    closed with it, and `remote` knows how reading a remote one went.
    """

    remark = ""

    def __init__(
        self,
        audio: Any,
        n_samples: int,
        samplerate: int = 0,
        file: h5py.File | io.RawIOBase | None = None,
        remote: RemoteFile | None = None,
    ) -> None:
        if audio.dtype.name not in AUDIO_DTYPES or len(audio.shape) not in (1, 2):
            raise OSError(
                f"it has shape {audio.shape} and dtype {audio.dtype}; audio has shape "
                f"(sample, channel) and dtype {', '.join(AUDIO_DTYPES)}"
            )
        self.channels = 1 if len(audio.shape) == 1 else int(audio.shape[1])
        if self.channels > audio.shape[0] > 0:  # the axes the other way round
            raise OSError(f"it has shape {audio.shape}; audio has shape (sample, channel)")
        self._audio, self._file, self._remote = audio, file, remote
        self.n_samples, self.samplerate = n_samples, samplerate

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
        """Whether a sample can be read, though it may be NaN."""
        try:
            return len(self._audio[sample : sample + 1]) == 1
        except (OSError, RuntimeError):
            return False

    def close(self) -> None:
        """Close the file."""
        self._audio = None
        if self._file is not None:
            self._file.close()


def open_npy(path: AnyPath) -> ArrayReader:
    """Open a NumPy array; OSError or ValueError if it is none, or no audio.

    It is not mapped into memory, where an error of the disk would end the process.
    """
    remote = RemoteFile(path) if isinstance(path, RemotePath) else None
    file = remote or io.FileIO(path)
    try:
        rows = _read_header(file, path.stat().st_size)
        return ArrayReader(rows, rows.shape[0], file=file, remote=remote)
    except BaseException:
        file.close()
        raise


@dataclass(frozen=True)
class _NpyRows:
    """A NumPy array on disk, the rows of which are read when they are sliced."""

    file: io.RawIOBase
    offset: int  # of the first value, in bytes
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    by_columns: bool
    n_there: int  # rows that the file has

    def __getitem__(self, rows: slice) -> Array:
        start, stop, _ = rows.indices(self.n_there)
        n, width = max(0, stop - start), math.prod(self.shape[1:])
        if self.by_columns:
            columns = [self._read(i * self.shape[0] + start, n) for i in range(width)]
            return np.stack(columns, axis=1).reshape(n, *self.shape[1:])
        return self._read(start * width, n * width).reshape(n, *self.shape[1:])

    def _read(self, first: int, n: int) -> Array:
        values = np.empty(n, self.dtype)
        if not n:
            return values
        view, place = values.data.cast("B"), 0
        self.file.seek(self.offset + first * self.dtype.itemsize)
        while got := self.file.readinto(view[place:]):
            place += got
        if place < len(view):
            raise OSError("it ends before its end")
        return values


def _read_header(file: io.RawIOBase, size: int) -> _NpyRows:
    """Read the header of a NumPy array; ValueError if it is none, or cannot be believed."""
    versions = {(1, 0): np.lib.format.read_array_header_1_0}
    versions[2, 0] = np.lib.format.read_array_header_2_0
    version = np.lib.format.read_magic(file)
    if version not in versions:
        raise ValueError(f"its format is {version}")
    shape, fortran, dtype = versions[version](file)
    offset = file.tell()
    if not shape or dtype.hasobject:
        raise ValueError(f"it has the shape {shape} and the dtype {dtype}")
    row = int(np.prod(shape[1:], dtype=object)) * dtype.itemsize
    there = min((size - offset) // row, shape[0]) if row else 0
    # Of columns that follow each other, a file that is cut has none whole but the first.
    by_columns = fortran and shape[1:] not in ((), (1,))
    if (by_columns and there < shape[0]) or there < min(1, shape[0]):
        raise ValueError(f"it has {size} bytes, too few for the shape {shape}")
    if not is_believable(shape[0] * row, size, MINUTE * row):
        raise ValueError(f"it has {size} bytes, but announces the shape {shape}")
    return _NpyRows(file, offset, shape, dtype, by_columns, there)


def is_believable(announced: int, there: int, minute: int) -> bool:
    """Whether a file of so many bytes may be the rest of a longer one.

    More than a minute, of which not a hundredth is there, comes from a damaged
    number: it would mask hours that nobody recorded.
    """
    return announced <= max(minute, 100 * there)


def open_hdf5(path: AnyPath) -> ArrayReader:
    """Open the dataset ``audio`` of an HDF5 file; OSError, KeyError or ValueError if it is none."""
    remote = RemoteFile(path) if isinstance(path, RemotePath) else None
    file = h5py.File(path if remote is None else io.BufferedReader(remote, BUFFER), "r")
    try:
        if "audio" not in file:
            raise OSError("it has no dataset 'audio'")
        audio = file["audio"]
        if not isinstance(audio, h5py.Dataset):
            raise ValueError("its 'audio' is no dataset")
        rate = audio.attrs.get("sampling_rate", file.attrs.get("sampling_rate"))
        if rate is None:
            raise OSError("its dataset 'audio' has no attribute 'sampling_rate'")
        number = _number(rate)
        if number < 1 or not number.is_integer():
            raise OSError(f"its sampling_rate is {rate}; it must be one whole number of Hz")
        _check_parts(audio, path)
        return ArrayReader(audio, audio.shape[0] if audio.shape else 0, int(number), file, remote)
    except TypeError as error:  # NumPy does not know its dtype
        file.close()
        raise ValueError(str(error)) from error
    except BaseException:
        file.close()
        raise


def check_chunks(path: Path) -> None:
    """Refuse HDF5 audio with chunks that were never written, or are too large.

    HDF5 reads zeros in place of the former, and a whole chunk for any part of it. This is
    asked once of a file, as it takes time where there are many chunks.
    """
    with h5py.File(path, "r") as file:
        audio = file["audio"]
        if audio.chunks is None or not audio.size:
            return
        pairs = zip(audio.shape, audio.chunks, strict=True)
        expected = math.prod(-(-length // chunk) for length, chunk in pairs)
        there = audio.id.get_num_chunks()
        if there < expected:
            raise OSError(
                f"{expected - there} of the {expected} chunks of its 'audio' were never written; "
                f"write them, or cut it to what is there"
            )
        size = math.prod(audio.chunks) * audio.dtype.itemsize
        if size > MOST_CHUNK_BYTES and audio.id.get_create_plist().get_nfilters():
            raise OSError(
                f"its 'audio' is compressed in chunks of {size / 1e6:.0f} MB, each of which would "
                f"be read whole for every part of it; store it in chunks of "
                f"{MOST_CHUNK_BYTES / 1e6:.0f} MB at most"
            )


def _number(value: Any) -> float:
    """The number that an attribute is; 0 if it is none."""
    try:
        return float(np.asarray(value).item()) if np.size(value) == 1 else 0.0
    except (TypeError, ValueError):
        return 0.0


def _check_parts(dataset: h5py.Dataset, path: AnyPath) -> None:
    """Refuse a dataset in other files, or datasets, not all of which are there.

    HDF5 would read zeros in their place.
    """
    for name, offset, size in dataset.external or ():
        there = _find_part(name, path)
        if size != h5py.h5s.UNLIMITED and there.stat().st_size < offset + size:
            raise OSError(f"its samples are in {name}, which is too short; put the whole one there")
    if not dataset.is_virtual:
        return
    covered = 0
    for part in dataset.virtual_sources():
        n = part.vspace.get_select_npoints()
        covered += n
        if part.file_name in (".", str(path)):
            _check_part(dataset.file, part, path, n)
        else:
            where = _find_part(part.file_name, path)
            with h5py.File(where, "r") as file:
                _check_part(file, part, where, n)
    if covered != dataset.size:
        raise OSError(f"its parts hold {covered} of {dataset.size} samples; add the others")


def _check_part(file: h5py.File, part: Any, path: AnyPath, n: int) -> None:
    source = file.get(part.dset_name)
    if not isinstance(source, h5py.Dataset) or source.size < n:
        raise OSError(
            f"its samples are in {part.dset_name} of {part.file_name}, which has fewer; put the "
            f"whole one there"
        )
    _check_parts(source, path)


def _find_part(name: str, path: AnyPath) -> Path:
    """Where HDF5 finds another file: beside the first, or in the working folder."""
    if isinstance(path, Path):
        for there in (path.resolve().parent / name, Path(name), path.parent / name):
            if there.is_file():
                return there
    raise OSError(f"its samples are in {name}, which is not there; put it beside the file")
