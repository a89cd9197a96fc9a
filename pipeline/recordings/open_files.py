"""Open files: recordings that stay open, to be read in any order."""

from __future__ import annotations

import errno
import os
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from pipeline.process import most_open_files
from pipeline.recordings.recording import OpenRecording, Recording
from pipeline.recordings.recordings import Recordings

MOST = 256  # of which none is read from
SHARE = 4  # of the files that the system lets a process have open, one in so many is ours
TOO_MANY = errno.EMFILE, errno.ENFILE


class OpenFiles:
    """Recordings of which the ones last read stay open, at most `most` and those being read.

    Threads share it: a file that is open belongs to the thread that reads from it until it is
    done. A forked process, or one that this was sent to, opens its own. Files that are decoded
    from their beginning stay open with the thread that reads them, as they always do.
    """

    def __init__(self, recordings: Recordings, most: int | None = None) -> None:
        self.recordings = recordings
        self.most = min(MOST, most_open_files() // SHARE) if most is None else most
        self._idle = _Idle()

    @contextmanager
    def open(self, number: int) -> Iterator[OpenRecording | None]:
        """Open a recording, or use it as it is open; None if it is lost.

        OSError if it cannot be opened, or has changed since it was scanned.
        """
        audio = self._of_this_process().take(number)
        if audio is None:
            recording = self.recordings[number]
            if recording.lost:
                yield None
                return
            audio = self._opened(recording)
        try:
            audio.recording.check_unchanged()
            yield audio
        except BaseException:
            audio.close()
            raise
        if audio.recording.header.seekable:
            self._of_this_process().keep(number, audio, self.most)
        else:
            audio.close()

    def forget(self, number: int) -> None:
        """Close a recording, where it met damage: it may read no more."""
        idle = self._of_this_process()
        while audio := idle.take(number):
            audio.close()

    def close(self) -> None:
        """Close all."""
        self._of_this_process().close()

    def _opened(self, recording: Recording) -> OpenRecording:
        try:
            return recording.opened()
        except OSError as error:
            if error.errno not in TOO_MANY:
                raise
        self.close()
        return recording.opened()

    def _of_this_process(self) -> _Idle:
        inherited = self._idle
        if inherited.process != os.getpid():
            self._idle = _Idle()
            inherited.close_all()
        return self._idle

    def __del__(self) -> None:
        if idle := getattr(self, "_idle", None):
            idle.close_all()

    def __reduce__(self) -> tuple[type[OpenFiles], tuple[Recordings, int]]:
        return OpenFiles, (self.recordings, self.most)


class _Idle:
    """Recordings that are open while nobody reads from them, the one last read last."""

    def __init__(self) -> None:
        self.process, self._lock = os.getpid(), Lock()
        self._files: OrderedDict[int, list[OpenRecording]] = OrderedDict()
        self._count = 0

    def take(self, number: int) -> OpenRecording | None:
        with self._lock:
            return self._pop(number) if number in self._files else None

    def keep(self, number: int, audio: OpenRecording, most: int) -> None:
        with self._lock:
            self._files.setdefault(number, []).append(audio)
            self._files.move_to_end(number)
            self._count += 1
            beyond = [self._pop(next(iter(self._files))) for _ in range(self._count - most)]
        for old in beyond:
            old.close()

    def _pop(self, number: int) -> OpenRecording:
        some = self._files[number]
        audio = some.pop()
        self._count -= 1
        if not some:
            del self._files[number]
        return audio

    def close(self) -> None:
        with self._lock:
            self.close_all()

    def close_all(self) -> None:
        """Close all, where no other thread can be within; a forked process has none."""
        for audio in [audio for some in self._files.values() for audio in some]:
            audio.close()
        self._files.clear()
        self._count = 0
