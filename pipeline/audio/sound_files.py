"""Sound files, as libsndfile opens them: never sought in unasked, and their true length."""

from __future__ import annotations

import io
import os
import re
import threading
from contextlib import suppress
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import soundfile

from pipeline.audio.arrays import is_believable
from pipeline.audio.mpeg import count_samples, ends_as_announced, find_start, whole_frames
from pipeline.audio.ogg import begins_whole, granules_joined, last_granule
from pipeline.audio.riff import untold
from pipeline.paths import AnyPath, RemoteFile, RemotePath, open_binary

Samples = npt.NDArray[np.float32]

PIECE = 1 << 16
# What libsndfile logs of a header that announces more than there is: in bytes,
# then in samples. It says nothing of Ogg, IRCAM, PAF, PVF, VOC and XI.
BYTES_LOGGED = (
    r"^ *(?:RIFF|RIFX|riff|Riff size|FORM|data|Data Size|BODY) *: (\d+) \(should be (\d+)\)",
    r"^Data length (\d+) should be (\d+)",
    r"^\*\*\* File seems to be truncated\. (\d+) <--> (\d+)",
)
SAMPLES_LOGGED = {
    "AVR": r"^  Frames +: (\d+)",
    "MPC2K": r"^  Frames +: (\d+)",
    "MAT5": r"Cols : (\d+)\n.*\n    Name : wavedata",
}
WAV = ("WAV", "WAVEX")
UNKNOWN_BYTES = (1 << 31, 1 << 32)
BLOCK_CUT = "*** Warning : short read ("
BLOCK_LOGGED = r"Samples/Block *: (\d+)"
PCM_BYTES = {"PCM_16": 2, "PCM_24": 3, "PCM_32": 4, "FLOAT": 4, "DOUBLE": 8}
MPEG_PADDING = 1 << 13  # samples that are decoded, and not given, at most
LONGEST_BLOCK = 320  # of those that do not log it
GSM_BLOCK, GSM_BYTES = 320, 65  # samples, and bytes, of those in WAV
SDS_LOGGED = r"Frames +: (\d+)"


class SequentialFile(soundfile.SoundFile):  # type: ignore[misc]
    """A sound file that is not sought in behind the reader's back.

    `soundfile.SoundFile` seeks after every read of a seekable file, which
    costs MP3 its exactness and FLAC the samples before a damaged place.
    """

    ended = False

    def __init__(
        self, file: Any, remote: RemoteFile | None = None, pipe: int | None = None
    ) -> None:
        self._remote, self._process, self._pipe = remote, os.getpid(), pipe
        try:
            super().__init__(file, closefd=pipe is None)
        except BaseException:
            self.close()
            raise
        finally:
            self.check_remote()

    def close(self) -> None:
        super().close()
        if self._pipe is not None:
            pipe, self._pipe = self._pipe, None
            _close_end(pipe)

    @property
    def is_own(self) -> bool:
        """Whether this process opened it: its place in the file is shared by those forked since."""
        return self._process == os.getpid()

    def seekable(self) -> bool:
        return False

    def seek_to(self, start: int) -> None:
        self.ended = False
        try:
            soundfile.SoundFile.seek(self, start)
        finally:
            self.check_remote()

    @property
    def lost(self) -> bool:
        """Whether reading a remote file has failed, which to libsndfile is its end."""
        return self._remote is not None and self._remote.error is not None

    def check_remote(self) -> None:
        """Raise what reading a remote file has failed with."""
        if self._remote is not None and (error := self._remote.error) is not None:
            raise error

    def decode(self, samples: Samples) -> bool:
        """Read all of `samples`; if that fails they are NaN."""
        with suppress(soundfile.LibsndfileError):
            if len(self.read(out=samples)) == len(samples):
                return True
        self.check_remote()
        samples[...] = np.nan
        return False

    def fill(self, samples: Samples, start: int) -> None:
        """Read from sample `start` on, where the file is; what cannot be read is NaN."""
        samples[...] = np.nan
        if self.ended:  # MPEG may go on behind damage, but not at the place where it was
            return
        self.ended = len(samples) > 0
        with suppress(soundfile.LibsndfileError):
            got = len(self.read(out=samples))
            # Behind its end libsndfile may have filled up with zeros.
            samples[got:], self.ended = np.nan, got < len(samples)
        self.check_remote()
        samples[max(0, self._whole_blocks() - start) :] = np.nan

    @property
    def frames(self) -> int:
        """Samples in each channel; the byte that a chunk of GSM is padded with is no block."""
        return int(super().frames) - (GSM_BLOCK if self._is_padded else 0)

    @property
    def _is_padded(self) -> bool:
        if self.subtype != "GSM610" or self.format not in WAV:
            return False
        found = re.search(r"^data : (\d+)$", self.extra_info, re.MULTILINE)
        return found is not None and int(found[1]) % (2 * GSM_BYTES) == GSM_BYTES

    def _whole_blocks(self) -> int:
        """Samples up to a block that is cut, which libsndfile fills up with what was before."""
        there = int(self.frames)
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
    """A remote file for libsndfile, to which nothing can be raised through C."""

    def readinto(self, buffer: Any) -> int:
        try:
            return super().readinto(buffer)
        except OSError:  # kept by the remote file
            return 0


class _Extended(io.RawIOBase):
    """A file that says it is as long as its header says.

    Zeros are where nothing is; as a damaged header may have libsndfile search
    through all of them, it ends after so many reads.
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


def open_sequential(path: AnyPath) -> SequentialFile:
    """Open a file; MPEG through a pipe, where libsndfile does not guess its length.

    Parameters
    ----------
    path : path
        Of a file that libsndfile reads.

    Returns
    -------
    SequentialFile

    Raises
    ------
    OSError, soundfile.LibsndfileError
        If it cannot be opened.
    """
    if path.suffix.lower() == ".raw":  # of which soundfile wants to be told all
        raise OSError("it has no header that says what it is")
    file, remote = _open(path)
    start = find_start(file)
    if start is not None:
        file.seek(start)
        with suppress(soundfile.LibsndfileError):
            return _open_piped(file, remote)
        file, remote = _open(path)
    if remote is None:
        file.close()
        opened = SequentialFile(path)
    else:
        file.seek(0)
        opened = SequentialFile(file, remote)
    if opened.format == "MP3":  # libsndfile goes to the first frame that it can decode
        opened.close()
        raise OSError("the first of its MPEG frames is damaged or missing")
    return opened


def _open(path: AnyPath) -> tuple[BinaryIO, RemoteFile | None]:
    """Open a file, and what tells of a remote one how reading it went."""
    if not isinstance(path, RemotePath):
        return open(path, "rb"), None
    remote = RemoteFile(path)
    return _Quiet(remote, PIECE), remote


def _open_piped(file: BinaryIO, remote: RemoteFile | None) -> SequentialFile:
    """Open MPEG frames through a pipe, from where a file is."""
    with _forking:
        out, into = os.pipe()
        _ends.update((out, into))

    def feed() -> None:
        # What a remote file fails with is asked for when the pipe has ended.
        lost = OSError if remote else BrokenPipeError
        try:
            with file, suppress(lost), open(into, "wb", buffering=0, closefd=False) as pipe:
                for piece in whole_frames(file):
                    pipe.write(piece)
        finally:
            _close_end(into)

    threading.Thread(target=feed, daemon=True).start()
    return SequentialFile(out, remote, out)


# The open ends of pipes, and what is held while one is opened or closed, or the process forks.
_ends: set[int] = set()
_forking = threading.RLock()


def _close_end(pipe: int) -> None:
    with _forking:
        _ends.discard(pipe)
        os.close(pipe)


def _leave_pipes() -> None:
    """In a child, put nothing in the place of pipes: who has them open keeps the parent waiting.

    And free what soundfile locks while it opens a file, as another thread may have.
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


def count_announced(file: SequentialFile, path: AnyPath) -> int:
    """Samples that a file should hold.

    Parameters
    ----------
    file : SequentialFile
        At its beginning; where nothing says how long it is, it is decoded.
    path : path
        Of the same file.

    Returns
    -------
    int
        In each channel, those that are not there included.
    """
    if file.format == "MP3":
        return _count_mpeg(file, path)
    if file.format == "OGG":
        known = file.frames < np.iinfo(np.int64).max
        n_samples = int(file.frames) + count_cut_off(file, path) if known else _count(file)
        return n_samples + _samples(file, granules_joined(path))
    if file.frames >= np.iinfo(np.int64).max:
        return _count(file)
    return max(int(file.frames), _announced(file, path)) + _count_untold(file, path)


def _count_untold(file: SequentialFile, path: AnyPath) -> int:
    """Samples that would be in the bytes behind the end that the header of a WAV file tells."""
    if file.format not in WAV:
        return 0
    with open_binary(path) as opened:
        told, more = untold(opened, path.stat().st_size)
    if told > 0:
        return int(file.frames) * more // told
    width = PCM_BYTES.get(file.subtype, 1) * file.channels
    return more // width if file.frames == 0 else 0


def _samples(file: SequentialFile, granules: int) -> int:
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
        if n_samples >= np.iinfo(np.int64).max:
            n_samples = _count(file)
        elif start is None or ends_as_announced(opened, start, path.stat().st_size):
            return n_samples
        opened.seek(start or 0)
        there = count_samples(opened)
    return there if there > n_samples + MPEG_PADDING else n_samples


def _announced(file: SequentialFile, path: AnyPath) -> int:
    """Samples that the header announces, where there are fewer; 0 where it does not say.

    libsndfile goes by what is there, and notes in its log what should be.
    How many samples that makes it is asked again, of a file of that length.
    """
    size = path.stat().st_size
    if file.format == "NIST":
        with open_binary(path) as text:
            found = re.search(rb"sample_count -i (\d+)", text.read(1024))
        n_samples = int(found[1]) if found else 0
    elif file.format in SAMPLES_LOGGED:
        found_text = re.search(SAMPLES_LOGGED[file.format], file.extra_info, re.MULTILINE)
        n_samples = int(found_text[1]) if found_text else 0
    else:
        missing = _missing_bytes(file, size)
        if not missing or file.subtype.startswith("DWVW"):  # it has no constant rate
            return 0
        opened, remote = _open(path)
        with (
            opened,
            suppress(soundfile.LibsndfileError),
            SequentialFile(_Extended(opened, size + missing), remote) as whole,
        ):
            return int(whole.frames)
        return 0
    _believe(n_samples * file.channels, size, "samples", file)
    return n_samples


def _believe(announced: int, there: int, what: str, file: SequentialFile) -> None:
    """Refuse what a damaged number announces.

    Raises
    ------
    OSError
        If too little of it is there.
    """
    minute = 60 * file.samplerate * file.channels * (8 if what == "bytes" else 1)
    if not is_believable(announced, there, minute):
        raise OSError(
            f"its header announces {announced} {what}, but it has {there} bytes; correct the header"
        )


def count_cut_off(file: SequentialFile, path: AnyPath) -> int:
    """Samples before the first page of Ogg that is whole.

    Where the first is damaged or missing, the decoder counts from 0 all the same.

    Parameters
    ----------
    file : SequentialFile
        Any.
    path : path
        Of the same file.

    Returns
    -------
    int
        In each channel; 0 of other formats.
    """
    if file.format != "OGG" or begins_whole(path):
        return 0
    n_samples = last_granule(path)
    if file.subtype == "OPUS":  # its count includes what is skipped at the beginning
        with open_binary(path) as opened:
            head = opened.read(PIECE)
        place = head.find(b"OpusHead")
        skipped = int.from_bytes(head[place + 10 : place + 12], "little") if place >= 0 else 0
        n_samples = _samples(file, n_samples - skipped)
    return max(0, n_samples - int(file.frames))


def _missing_bytes(file: SequentialFile, size: int) -> int:
    """How much longer a file should be, by the log of libsndfile.

    A writer that cannot go back, as to a pipe, does not know the length, and
    gives the highest that there can be: 4 GiB or 2 GiB, less a header, a block
    or 16 MiB. That says nothing; such a file is as long as it is.
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


def empty_piece(file: SequentialFile) -> Samples:
    """Room for some samples, and for few of them where there are many channels.

    Parameters
    ----------
    file : SequentialFile
        That is to be read.

    Returns
    -------
    numpy.ndarray of float32, shape (sample, channel)
    """
    return np.empty((max(1, PIECE // file.channels), file.channels), np.float32)
