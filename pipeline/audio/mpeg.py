"""MPEG frames: those that follow each other without a break, which its decoder ignores."""

from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

AHEAD = 1 << 16  # bytes read at a time
ROOM = 64  # bytes that a tag, or what a frame is known by, takes at most
FRAMES_IN_A_ROW = 3  # so many are no accident,
LONGEST = 1 << 14  # and take no more bytes
INFO = (b"Xing", b"Info")
KBITS = {  # by MPEG-1 or not, and layer
    (True, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}


class _Kind(NamedTuple):
    """What all frames of a stream have in common."""

    version: int  # 1 is MPEG-1, 2 MPEG-2, 4 MPEG-2.5
    layer: int
    samplerate: int
    mono: bool

    @property
    def samples(self) -> int:
        """Samples in a frame."""
        return {1: 384, 2: 1152, 3: 1152 if self.version == 1 else 576}[self.layer]

    @property
    def info(self) -> int:
        """Where the mark lies in a frame that holds no audio but announces the length."""
        return 4 + ((9, 17), (17, 32))[self.version == 1][not self.mono]

    def length(self, head: bytes) -> int:
        """Bytes of the frame with this head; 0 if it is none, or of another stream."""
        if _kind(head) != self:
            return 0
        kbits = KBITS[self.version == 1, self.layer][(head[2] >> 4) - 1]
        slot = 4 if self.layer == 1 else 1
        slots = self.samples // 8 * kbits * 1000 // (self.samplerate * slot)
        return (slots + (head[2] >> 1 & 1)) * slot


def _kind(head: bytes) -> _Kind | None:
    """The stream that the frame with this head is of; None if it is none, or tells no length."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version, layer = (4, 0, 2, 1)[head[1] >> 3 & 3], 4 - (head[1] >> 1 & 3)
    kbits, rate = head[2] >> 4, head[2] >> 2 & 3
    if not version or layer == 4 or kbits in (0, 15) or rate == 3:
        return None
    return _Kind(version, layer, (44100, 48000, 32000)[rate] // version, head[3] >> 6 == 3)


def find_start(file: BinaryIO) -> int | None:
    """Where MPEG audio begins, behind its tags; None if the file is something else."""
    start = file.seek(0)
    while length := _tag_length(head := file.read(ROOM)):
        start = file.seek(start + length)
    # Eleven bits of sync, and a layer: AAC has the same sync without one.
    mpeg = len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0 and head[1] & 0x06
    return start if mpeg else None


def _tag_length(head: bytes) -> int:
    """Bytes of a tag that begins so; 0 if it is none."""
    if head[:3] == b"ID3" and len(head) >= 10:
        shifts = zip(head[6:10], (21, 14, 7, 0), strict=True)
        footer = 10 if head[5] & 0x10 else 0
        return 10 + sum((byte & 0x7F) << shift for byte, shift in shifts) + footer
    if head[:8] == b"APETAGEX" and len(head) >= 32:
        return 32 + int.from_bytes(head[12:16], "little")
    return 128 if head[:3] == b"TAG" else 0


def ends_as_announced(file: BinaryIO, start: int, size: int) -> bool:
    """Whether a file ends, but for tags, where its first frame (at `start`) says, or earlier.

    Not, if that frame does not say it.
    """
    file.seek(start)
    head = file.read(ROOM)
    kind = _kind(head)
    said = head[kind.info :] if kind else b""
    if len(said) < 16 or said[:4] not in INFO or said[7] & 3 != 3:
        return False
    end = start + int.from_bytes(said[12:16], "big")
    while end < size:
        file.seek(end)
        if not (length := _tag_length(file.read(ROOM))):
            return False
        end += length
    return True


def whole_frames(file: BinaryIO) -> Iterator[bytes]:
    """The bytes of frames that follow each other, from where a file is, without tags.

    Behind the first break, audio may be shifted in time; the last frame before it may be
    damaged. Both are left out. If frames do not tell their length, all bytes come.
    """
    return _Walk(file).chain()


def count_samples(file: BinaryIO) -> int:
    """Samples in each channel of all frames from where a file is, also behind breaks.

    They are counted at the rate of the first frame; 0 if frames do not tell their length.
    """
    walk, n_samples = _Walk(file), 0.0
    first = walk.kind
    while first and (kind := walk.kind):
        for _ in walk.chain():
            pass
        n_samples += walk.n_frames * kind.samples * first.samplerate / kind.samplerate
    return round(n_samples)


class _Walk:
    """A walk through a file along its frames.

    Frames that follow each other, tags between them aside, are a chain. Where a chain breaks
    the next is searched for: a place from which a few frames follow each other.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._data, self._place = file, file.read(AHEAD), 0
        self.kind, self.n_frames = _kind(self._data), 0

    def chain(self) -> Iterator[bytes]:
        """The bytes of this chain; then `n_frames` is their count, and `kind` that of the next."""
        if (kind := self.kind) is None:
            yield self._data
            yield from iter(lambda: self._file.read(AHEAD), b"")
            return
        last, self.n_frames = self._place, 0
        lengths, info = {b"": 0}, self._data[self._place + kind.info :][:4] in INFO
        while True:
            if self._place + ROOM > len(self._data) and (more := self._file.read(AHEAD)):
                yield self._data[:last]
                self._data, self._place, last = self._data[last:] + more, self._place - last, 0
                continue
            head = self._data[self._place : self._place + 4]
            if (length := lengths.get(head)) is None:
                length = lengths[head] = kind.length(head)
            at = self._place + kind.info
            if length and (info or self._data[at : at + 4] not in INFO):
                self.n_frames, info = self.n_frames + (not info), False
                last, self._place = self._place, self._place + length
            elif not length and (tag := _tag_length(self._data[self._place :][:ROOM])):
                yield self._data[: self._place]
                self._skip(tag)
                last = 0
            else:
                break
        with_last, without = self._data[: self._place], self._data[:last]
        incomplete, shift = self._place > len(self._data), self._find()
        yield without if incomplete or shift else with_last

    def _skip(self, n: int) -> None:
        """Go on by n bytes."""
        self._place += n
        while self._place > len(self._data) and (more := self._file.read(AHEAD)):
            self._place, self._data = self._place - len(self._data), more
        self._data, self._place = self._data[self._place :], 0

    def _find(self) -> int:
        """Go to the next chain, and return how many bytes further on it is; 0 if there is none."""
        shift, self.kind = 0, None
        while True:
            data, place = self._data, self._data.find(b"\xff", self._place)
            place = len(data) if place < 0 else place
            if place + LONGEST > len(data) and (more := self._file.read(AHEAD)):
                shift += place - self._place
                self._data, self._place = data[place:] + more, 0
            elif place >= len(data):
                return 0
            elif kind := _stream(data, place):
                shift, self._place, self.kind = shift + place - self._place, place, kind
                return shift
            else:
                shift, self._place = shift + place + 1 - self._place, place + 1


def _stream(data: bytes, place: int) -> _Kind | None:
    """The stream at a place, if some frames follow each other there."""
    if kind := _kind(data[place : place + 4]):
        for _ in range(FRAMES_IN_A_ROW):
            if not (length := kind.length(data[place : place + 4])):
                return None
            place += length
    return kind
