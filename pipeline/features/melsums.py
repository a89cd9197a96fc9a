"""What features of mel bands share: the sums of frames in these bands."""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pipeline.features.feature import Axis, check_length, spectral_axes
from pipeline.features.melparameters import MelParameters
from pipeline.kernels import (
    Counts,
    Floats,
    MelKernel,
    Placement,
    Singles,
    groups,
    limited,
    mel_kernel,
)

# Of the DFTs of a few windows, which should stay in the cache.
GROUP_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class MelSums(MelParameters, ABC):
    """Sums of the frames of windows in mel bands, of which a feature is made."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.samplerate is not None:
            self._check_bands()
            if self.window is not None:
                self._check_window()

    def _check_bands(self) -> None:
        bands, half = self._bands, self._rate / 2
        if not bands.fmin < bands.fmax <= half:
            raise ValueError(
                f"fmin is {self.fmin} and fmax {self.fmax} Hz at a samplerate of {self._rate}; "
                f"pass an fmax above fmin, of at most {half:g}"
            )
        silent = int((self._kernel.filters.max(axis=1).toarray() == 0).sum())
        if silent:
            warnings.warn(
                f"{silent} of the {self.n_mels} bands lie between two frequencies of the DFT and "
                f"are always silent; pass fewer n_mels, or a larger n_fft",
                RuntimeWarning,
                stacklevel=4,
            )

    def _check_window(self) -> None:
        n, hop = self._window_samples, self._frames.hop_length
        if self.context == "recording" and n % hop:
            below = next(d for d in range(hop, 0, -1) if n % d == 0)
            above = next(d for d in range(hop, n + 1) if n % d == 0)
            raise ValueError(
                f"hop_length is {hop}, which does not divide the {n} samples of a window, so that "
                f"frames would not go on from one window to the next; pass hop_length {below} or "
                f"{above}, or context 'window'"
            )
        if not self.shape[-1]:
            raise ValueError(
                f"no frame of {self._frames.frame_length} samples fits in the {n} of a window; "
                f"pass a shorter frame_length, or center true"
            )

    @property
    @abstractmethod
    def _exponent(self) -> float:
        """Of the magnitude that is summed."""

    @property
    def _kernel(self) -> MelKernel:
        return mel_kernel(self._frames, self._bands, self._rate, self._exponent, self.full_scale)

    @property
    def _beside(self) -> tuple[int, int]:
        """Frames before and after those of a window that its features hang on."""
        return 0, 0

    @property
    def _placement(self) -> Placement:
        before, after = self._beside if self.context == "recording" else (0, 0)
        return Placement(
            self._frames, self.center, self.pad_mode, self.context, self.last_frame, before, after
        )

    @property
    def margins(self) -> tuple[int, int]:
        """Samples of the recording before and after each window that its features hang on."""
        return self._placement.margins

    @property
    def shape(self) -> tuple[int, int]:
        """(frequency, time) of one window's features."""
        return self.n_mels, self._placement.n_frames

    @property
    def frequencies(self) -> Floats:
        """Centre of each band, in Hz, shape (frequency,)."""
        return self._bands.edges[1:-1]

    @property
    def times(self) -> Floats:
        """Centre of each frame, in seconds from the window's start, shape (time,)."""
        return self._placement.middles / self._rate

    @property
    def axes(self) -> tuple[Axis, ...]:
        """Frequency and time."""
        return spectral_axes(self.frequencies, self.times)

    def _checked(self, windows: Floats, inside: Counts | None) -> Counts:
        """Which samples of windows are in the recording, if the windows are as they must be."""
        length = self._window_samples + sum(self._placement.margins)
        check_length(windows, length)
        return np.tile([0, length], (len(windows), 1)) if inside is None else inside

    @property
    def _loudest(self) -> float:
        """What the samples of a frame add up to at most."""
        return self._frames.frame_length * self.full_scale

    def _cut(
        self, windows: Floats, inside: Counts | None
    ) -> Iterator[tuple[slice, Singles, Counts]]:
        """Frames of a few windows at a time, and which of them each really has."""
        placement, inside = self._placement, self._checked(windows, inside)
        present = placement.present(inside)
        few = GROUP_BYTES // (4 * self._frames.n_fft * placement.n_cut)
        for rows in groups(len(windows), few):
            samples = limited(windows[rows], self._loudest)
            yield rows, placement.cut(samples, inside[rows]), present[rows]

    def _sums(self, cut: Singles, present: Counts) -> Singles:
        """Sums (band, window, frame); they are 0 behind the recording's end."""
        n_windows, n_frames, _ = cut.shape
        most = GROUP_BYTES // (4 * self._frames.n_fft * n_windows)
        if n_frames <= most or n_windows > 1:
            sums = self._kernel(cut)
        else:  # the DFTs of a long window would take much memory
            sums = np.empty((self.n_mels, 1, n_frames), np.float32)
            for some in groups(n_frames, most):
                sums[..., some] = self._kernel(cut[:, some])
        silence(sums, present)
        return sums


def silence(sums: Singles, present: Counts) -> None:
    """Have 0 in the sums (band, window, frame) of frames behind those that are present."""
    for row, stop in enumerate(present[:, 1].tolist()):
        sums[:, row, stop:] = 0
