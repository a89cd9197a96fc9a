"""Sound files, as libsndfile opens and decodes them: always forwards, unless told to seek."""

import io
import os
import re
import threading
from contextlib import suppress
from functools import cached_property
from typing import Any, BinaryIO

import numpy as np
import soundfile

from pipeline.audio.header import Samples
from pipeline.audio.mpeg import find_start, whole_frames
from pipeline.audio.riff import ENDINGS
from pipeline.paths import AnyPath, RemoteFile, RemotePath

BUFFER = 1 << 16  # bytes, or samples, read at a time
SIXTEEN_BITS = np.float32(1 / (1 << 15))  # full scale is 1
WAV = ("WAV", "WAVEX")
PLAIN = (*WAV, "RF64")
BLOCK_CUT = "*** Warning : short read ("
WITHOUT_BLOCKS = ("PCM_", "FLOAT", "DOUBLE", "ULAW", "ALAW")
IN_BLOCKS = ("PAF", "SDS")  # whatever the subtype
BLOCK_LOGGED = r"Samples/Block *: (\d+)"
LONGEST_BLOCK = 320  # of those that do not log it
GSM_BLOCK, GSM_BYTES = 320, 65  # samples, and bytes, of those in WAV
SDS_LOGGED = r"Frames +: (\d+)"


class SequentialFile(soundfile.SoundFile):  # type: ignore[misc]
    """A sound file that seeks only when told to.

    `soundfile.SoundFile` seeks after every read of a seekable file, which
    costs MP3 its exactness and FLAC the samples before a damaged place.
    """

    ended = False

    def __init__(
        self, file: Any, remote: RemoteFile | None = None, pipe: int | None = None
    ) -> None:
        self._remote, self._process, self._pipe = remote, os.getpid(), pipe
        self.descriptor = file if isinstance(file, int) and pipe is None else None
        try:
            super().__init__(file, closefd=pipe is None)
        except BaseException:
            self.close()
            raise
        finally:
            self.check_remote()

    # libsndfile is asked once: to ask takes the thread out of its turn at Python.

    @cached_property
    def format(self) -> str:
        return str(super().format)

    @cached_property
    def subtype(self) -> str:
        return str(super().subtype)

    def close(self) -> None:
        super().close()
        if self._pipe is not None:
            pipe, self._pipe = self._pipe, None
            _close_end(pipe)

    def seekable(self) -> bool:
        return False

    def seek_to(self, start: int) -> None:
        self.ended = False
        try:
            soundfile.SoundFile.seek(self, start)
        finally:
            self.check_remote()

    @property
    def is_usable(self) -> bool:
        """Whether this process opened it, and no read of a remote file has failed.

        Forked processes share, and move, its place in the file.
        """
        return self._process == os.getpid() and not (self._remote and self._remote.error)

    def check_remote(self) -> None:
        """Raise the error that reading a remote file failed with: to libsndfile it is the end."""
        if self._remote and (error := self._remote.error):
            raise error

    @cached_property
    def plain_from(self) -> int | None:
        """The byte of the first sample, if samples of 16 bits follow it as a processor has them.

        To be asked for before anything is read: it leaves the file at its first sample.
        """
        sixteen = self.format in PLAIN and self.subtype == "PCM_16" and self.frames > 0
        if self.descriptor is None or not sixteen or not hasattr(os, "preadv"):  # Windows
            return None
        second, first = self._byte_of(1), self._byte_of(0)
        return first if self.endian != "BIG" and second - first == 2 * self.channels else None

    def _byte_of(self, sample: int) -> int:
        self.seek_to(sample)
        assert self.descriptor is not None
        return os.lseek(self.descriptor, 0, os.SEEK_CUR)

    def decode(self, samples: Samples) -> bool:
        """Fill `samples`, and say whether that went well; if not, they are NaN."""
        with suppress(soundfile.LibsndfileError):
            if self._read_into(samples) == len(samples):
                return True
        self.check_remote()
        samples[...] = np.nan
        return False

    def fill(self, samples: Samples, start: int) -> None:
        """Read from sample `start` on, where the file is; what cannot be read is NaN."""
        samples[...] = np.nan
        if self.ended:  # MPEG may go on behind damage, but elsewhere than it should
            return
        self.ended = len(samples) > 0
        with suppress(soundfile.LibsndfileError):
            got = self._read_into(samples)
            # Behind its end libsndfile may have filled up with zeros.
            samples[got:], self.ended = np.nan, got < len(samples)
        self.check_remote()
        samples[max(0, self._whole_blocks() - start) :] = np.nan

    def _read_into(self, samples: Samples) -> int:
        """Decode as many samples as there are room and samples for; how many these are.

        Those of 16 bits become the same floats as by libsndfile, which takes longer.
        """
        if self.subtype != "PCM_16":
            return len(self.read(out=samples))
        wanted, got = len(samples), 0
        piece = np.empty((min(wanted, max(1, BUFFER // self.channels)), self.channels), np.int16)
        while got < wanted:
            some = self.read(out=piece[: wanted - got])
            np.multiply(some, SIXTEEN_BITS, out=samples[got : got + len(some)])
            got += len(some)
            if len(some) < len(piece):
                break
        return got

    @property
    def frames(self) -> int:
        """Samples in each channel; of GSM without the block that libsndfile makes of a pad byte."""
        return int(super().frames) - (GSM_BLOCK if self._is_padded else 0)

    @property
    def _is_padded(self) -> bool:
        if self.subtype != "GSM610" or self.format not in WAV:
            return False
        found = re.search(r"^data : (\d+)$", self.extra_info, re.MULTILINE)
        return found is not None and int(found[1]) % (2 * GSM_BYTES) == GSM_BYTES

    def _whole_blocks(self) -> int:
        """Samples before a block that is cut, which libsndfile would fill up with older ones."""
        there = int(self.frames)
        if self.subtype.startswith(WITHOUT_BLOCKS) and self.format not in IN_BLOCKS:
            return there
        if self.format == "SDS" and (found := re.search(SDS_LOGGED, self.extra_info)):
            there = min(there, int(found[1]))
        # Of MS_ADPCM only whole blocks are counted, whatever is logged.
        if self._is_padded:
            return there
        if there < self.frames or (self.subtype != "MS_ADPCM" and BLOCK_CUT in self.extra_info):
            block = re.search(BLOCK_LOGGED, self.extra_info)
            there -= int(block[1]) if block else LONGEST_BLOCK
        return there


class _Quiet(io.BufferedReader):
    """A remote file for libsndfile; it ends where reading fails, as C cannot take an error."""

    def readinto(self, buffer: Any) -> int:
        try:
            return super().readinto(buffer)
        except OSError:  # the remote file remembers it
            return 0


def open_sequential(path: AnyPath) -> SequentialFile:
    """Open a file for decoding; OSError or soundfile.LibsndfileError if it cannot be opened.

    MPEG goes through a pipe, in which libsndfile does not guess the length.
    """
    if path.suffix.lower() == ".raw":  # soundfile would ask for its rate and format
        raise OSError("it has no header that says what it is")
    file, remote = open_bytes(path)
    start = find_start(file)
    if start is not None:
        file.seek(start)
        with suppress(soundfile.LibsndfileError):
            return _open_piped(file, remote)
        file, remote = open_bytes(path)
    if remote is None:
        with file:
            named = path.suffix.lower() in ENDINGS
            opened = SequentialFile(_own_descriptor(file) if named else path)
    else:
        file.seek(0)
        opened = SequentialFile(file, remote)
    if opened.format == "MP3":  # libsndfile has passed over frames that it cannot decode
        opened.close()
        raise OSError("the first of its MPEG frames is damaged or missing")
    return opened


def _own_descriptor(file: BinaryIO) -> int:
    """A descriptor of a file, at its beginning, that whoever gets it closes."""
    os.lseek(file.fileno(), 0, os.SEEK_SET)
    return os.dup(file.fileno())


def open_bytes(path: AnyPath) -> tuple[BinaryIO, RemoteFile | None]:
    """Open a file as libsndfile can use it, and, of a remote one, what knows its errors."""
    if not isinstance(path, RemotePath):
        return open(path, "rb"), None
    remote = RemoteFile(path)
    return _Quiet(remote, BUFFER), remote


def _open_piped(file: BinaryIO, remote: RemoteFile | None) -> SequentialFile:
    """Open the MPEG frames of a file, from where it is, through a pipe that a thread feeds."""
    with _forking:
        out, into = os.pipe()
        _ends.update((out, into))

    def feed() -> None:
        # A remote file's error is asked for when the pipe has ended.
        lost = OSError if remote else BrokenPipeError
        try:
            with file, suppress(lost), open(into, "wb", buffering=0, closefd=False) as pipe:
                for piece in whole_frames(file):
                    pipe.write(piece)
        finally:
            _close_end(into)

    threading.Thread(target=feed, daemon=True).start()
    return SequentialFile(out, remote, out)


# The ends of pipes that are open; the lock is held while one is opened or closed, and by a fork.
_ends: set[int] = set()
_forking = threading.RLock()


def _close_end(pipe: int) -> None:
    with _forking:
        _ends.discard(pipe)
        os.close(pipe)


def _leave_pipes() -> None:
    """Close the parent's pipes in a child, or the parent would wait for their end.

    They become the null device, so that what still refers to them reads nothing. A lock of
    soundfile that another thread may have held goes, too.
    """
    nothing = os.open(os.devnull, os.O_RDWR)
    for end in _ends:
        os.dup2(nothing, end)
    os.close(nothing)
    _ends.clear()
    SequentialFile._sf_error_lock = threading.Lock()
    _forking.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_forking.acquire, after_in_parent=_forking.release, after_in_child=_leave_pipes
    )


def empty_piece(file: SequentialFile) -> Samples:
    """Room for some samples of a file, and for few of them where there are many channels."""
    return np.empty((max(1, BUFFER // file.channels), file.channels), np.float32)
