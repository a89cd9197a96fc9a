"""Placement: where the frames of a window lie in the recording, and what they see beyond it."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from pipeline.kernels.frames import Counts, Floats, Frames, Singles
from pipeline.kernels.padding import PadMode, padded

Center = bool | Literal["hop"]
Context = Literal["recording", "window"]


@dataclass(frozen=True)
class Placement:
    """Where frames lie: as those of the whole recording, or of each window as a clip of its own.

    Frame j is centred at ``j * hop_length``, begins there, or is centred half a hop later. So many
    frames `before` and `after` those of the window are cut too.
    """

    frames: Frames
    center: Center = True
    pad_mode: PadMode = "constant"
    context: Context = "recording"
    last_frame: bool = True
    before: int = 0
    after: int = 0

    @property
    def n_frames(self) -> int:
        """Frames of a window."""
        n, hop = self.frames.n_samples, self.frames.hop_length
        if self.context == "recording" or not self.last_frame:
            return n // hop
        return max(0, int(self._complete(np.array(n))))

    @property
    def n_cut(self) -> int:
        """Frames that are cut: those of a window, and those before and after them."""
        return self.before + self.n_frames + self.after

    @property
    def middles(self) -> Floats:
        """Of each frame, in samples from the window's start."""
        middle = 0.0 if self.center is True else self.frames.frame_length / 2 - self._lead
        return np.arange(self.n_frames) * self.frames.hop_length + middle

    @property
    def margins(self) -> tuple[int, int]:
        """Samples of the recording that come with each window, before and after it."""
        return self._padding if self.context == "recording" else (0, 0)

    @property
    def _lead(self) -> int:
        """How many samples the first frame begins before its window."""
        length, n_fft, hop = self.frames.frame_length, self.frames.n_fft, self.frames.hop_length
        if self.center == "hop":
            return length // 2 - hop // 2
        return n_fft // 2 - (n_fft - length) // 2 if self.center else 0

    @property
    def _padding(self) -> tuple[int, int]:
        """Samples before and after a window that its frames are cut from, or mirrored in."""
        hop, n, lead = self.frames.hop_length, self.frames.n_samples, self._lead
        behind = (self.n_frames - 1) * hop + self.frames.frame_length - lead - n
        before, after = max(0, lead, behind), max(0, behind, lead + 1 - n)
        return before + self.before * hop, after + self.after * hop

    def _complete(self, n_samples: Counts) -> Counts:
        """How many frames so many samples have, with what is padded."""
        hop, length = self.frames.hop_length, self.frames.frame_length
        if self.center == "hop":
            return np.asarray((n_samples + hop // 2) // hop)
        return np.asarray(n_samples // hop + 1 if self.center else (n_samples - length) // hop + 1)

    def present(self, inside: Counts) -> Counts:
        """Which frames are of the recording: the first and the one after the last, (window, 2).

        Counted from the first that is cut.
        """
        margin = self.margins[0]
        first = self.before - (margin - inside[:, 0]) // self.frames.hop_length
        last = self.before + self._complete(inside[:, 1] - margin)
        return np.clip(np.stack([first, last], axis=1), 0, self.n_cut)

    def cut(self, rows: Singles, inside: Counts) -> Singles:
        """The frames (window, frame, sample) of windows with their margins."""
        before, after = self._padding
        if self.context == "window":
            alone = np.zeros((len(rows), before + rows.shape[1] + after), np.float32)
            alone[:, before : before + rows.shape[1]] = rows
            rows, inside = alone, inside + before
        rows = padded(rows, inside, self.pad_mode)
        hop = self.frames.hop_length
        first = before - self._lead - self.before * hop
        view = np.lib.stride_tricks.sliding_window_view(rows, self.frames.frame_length, axis=1)
        return view[:, first::hop][:, : self.n_cut]
