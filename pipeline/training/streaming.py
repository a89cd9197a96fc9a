"""Streaming: batches computed as a training loop asks for them."""

from __future__ import annotations

import warnings
from collections import Counter, deque
from collections.abc import Generator, Iterable, Mapping, Sequence
from itertools import pairwise
from math import prod
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.checks import whole
from pipeline.features import (
    Axis,
    Feature,
    Spectrogram,
    axes_of,
    feature_name,
    identify,
    margins_of,
    shape_of,
)
from pipeline.inputs import Inputs
from pipeline.labels import LabelsLike, LabelSource
from pipeline.process import one_blas_thread
from pipeline.record import digest_lines, fingerprint
from pipeline.recordings import OpenFiles, PathLike, Recordings, why_unreadable
from pipeline.scattered import compute_at
from pipeline.settings import Settings
from pipeline.store import Encoding
from pipeline.training.batches import Batches, check_batch_size
from pipeline.training.order import Indices
from pipeline.training.reading import Batch
from pipeline.training.sources import Empty

Array = npt.NDArray[Any]
# What `stream` takes of the parameters of `Batches`.
OF_BATCHES = (
    *("shuffle", "seed", "drop_last", "mix", "windows", "weights", "rank", "world_size", "uneven"),
    *("normalize", "annotated", "decode", "augment", "prefetch_bytes"),
)
# Of what must be decoded on the way: some hundred MB of the default feature, from so many places.
MIX = 8
HELD_BYTES = 1 << 28  # of labels that are held, at most
LABEL_BLOCK = 4096  # windows whose labels are made together


def stream(
    sources: PathLike | Iterable[PathLike],
    features: Feature = Spectrogram(),  # noqa: B008 - it is frozen
    labels: LabelsLike = None,
    batch_size: int | None = 64,
    *,
    threads: int | None = None,
    **settings: Any,
) -> Stream:
    """Batches of features, computed on all cores while the caller works.

    Parameters
    ----------
    sources, features, labels, **settings
        As for `extract`.
    batch_size : int or None
        Windows in a batch; None gives single windows, without that axis.
    threads : int, optional
        How many compute; one a core if not given.
    shuffle, seed, drop_last, mix, windows, weights, rank, world_size, uneven, normalize, annotated,
    decode, augment, prefetch_bytes
        As for `Batches`, also among `settings`.

    Returns
    -------
    Batches
        In the order of the windows, or shuffled: the same order and the same
        bits as `Batches` of a store that `extract` makes of the same. Also an
        iterator: ``next`` goes through it once.

    Raises
    ------
    ValueError, OSError
        At once, if the inputs or the settings will not do. With
        ``on_error="stop"`` an OSError where audio cannot be read; otherwise a
        RuntimeWarning, and X is the feature's floor.
    """
    if threads is not None:
        threads = whole("threads", threads, 1, "above 0, or None")
    own = {name: settings.pop(name) for name in OF_BATCHES if name in settings}
    check_batch_size(batch_size)
    checked = Settings.from_mapping(settings)
    inputs = Inputs.find(sources, features, labels, checked)
    for path, reason in inputs.recordings.unreadable:
        complain(f"{path}: {reason}", checked, stacklevel=3)
    made = Stream(ComputedSource(inputs, checked, threads), batch_size, **own)
    _tell_of_sequential(inputs.recordings, made, own)
    return made


class Stream(Batches):
    """Batches that are computed as they are asked for; also an iterator over them."""

    _next: Generator[Batch, None, None] | None = None

    def __next__(self) -> Batch:
        if self._next is None:
            self._next = iter(self)
        return next(self._next)

    def close(self) -> None:
        """Stop computing what `next` would give."""
        if self._next is not None:
            self._next.close()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_next"}


class _MadeLabels:
    """Labels of windows in any order: made once, if they are not too large, or when asked for."""

    def __init__(self, labels: LabelSource) -> None:
        self._labels, self._made, self._lock = labels, dict[str, Array](), Lock()
        self._none = labels.block(0, 0)
        n_bytes = sum(item.itemsize * prod(item.shape[1:]) for item in self._none.values())
        self._held = n_bytes * labels.shape[0] <= HELD_BYTES

    def of(self, name: str, windows: Indices) -> Array | None:
        """What is known by a name of windows."""
        if name not in self._none:
            return None
        if self._held:
            with self._lock:
                if not self._made:
                    self._made = self._make(0, self._labels.shape[0])
            return np.asarray(self._made[name][windows])
        none = self._none[name]
        result = np.empty((len(windows), *none.shape[1:]), none.dtype)
        starts = np.flatnonzero(np.diff(windows, prepend=-2) != 1)
        for a, b in pairwise([*starts, len(windows)]):
            result[a:b] = self._labels.block(int(windows[a]), int(windows[a]) + b - a)[name]
        return result

    def _make(self, start: int, stop: int) -> dict[str, Array]:
        edges = range(start, stop, LABEL_BLOCK)
        blocks = [self._labels.block(a, min(a + LABEL_BLOCK, stop)) for a in edges]
        return {name: np.concatenate([block[name] for block in blocks]) for name in self._none}

    def __getstate__(self) -> LabelSource:
        return self._labels

    def __setstate__(self, labels: LabelSource) -> None:
        self.__init__(labels)  # type: ignore[misc]


class ComputedSource:
    """Windows of recordings, whose features are computed when they are read."""

    together = 16

    def __init__(self, inputs: Inputs, settings: Settings, threads: int | None) -> None:
        self._inputs, self._settings, self.threads = inputs, settings, threads
        self.encoding = Encoding.of(settings.dtype, inputs.feature, settings.limits)
        self._files = OpenFiles(inputs.recordings)
        self._problems: deque[tuple[int, str]] = deque()
        self._warned: set[int] = set()  # numbers of recordings
        labels = inputs.labels
        self._labels = None if labels is None else _MadeLabels(labels)
        self.classes = None if labels is None or labels.classes is None else [*labels.classes]
        self.valid = np.ones(len(inputs.grid), np.bool_)
        more = len(inputs.recordings) - 1
        self.path = inputs.recordings.paths[0] + (f" and {more:,} more" if more else "")
        # As of a store of the same windows, so that both mix them alike.
        self.shard = inputs.layout(settings, region_is_file=False).shard
        self.mix = MIX if len(inputs.recordings.sequential()) else None

    def read(self, windows: Indices, empty: Empty = np.empty, decode: bool = True) -> Array:
        """Features of windows, or their codes; `tell` tells of those that cannot be read."""
        inputs, decode = self._inputs, decode and self.encoding.coded
        with one_blas_thread():
            shape = len(windows), *shape_of(inputs.feature)
            out = (np.empty if decode else empty)(shape, self._settings.dtype)
            X, valid = compute_at(
                *(self._files, inputs.grid, inputs.feature, windows, self._settings.dtype),
                *(self.encoding.encode, out),
            )
        if not valid.all():
            self._note(windows[~valid])
        return self.encoding.decode(X, empty) if decode else X

    def _note(self, bad: Indices) -> None:
        """Remember what is wrong with each recording that was not warned of."""
        inputs = self._inputs
        self.valid[bad] = False
        margins = margins_of(inputs.feature, inputs.grid.samplerate)
        numbers, first = np.unique(inputs.grid.locate(bad)[0], return_index=True)
        for number, t in zip(numbers.tolist(), bad[first].tolist(), strict=True):
            if number not in self._warned:
                why = why_unreadable(inputs.recordings, inputs.grid, int(t), *margins)
                self._problems.append((number, why))

    def labels(self, windows: Indices) -> Array | None:
        """Y of windows."""
        return None if self._labels is None else self._labels.of("label", windows)

    def known(self, windows: Indices) -> Array | None:
        """Which of y was annotated, if not all."""
        return None if self._labels is None else self._labels.of("annotated", windows)

    @property
    def annotated(self) -> Array | None:
        """That of all windows."""
        return self.known(np.arange(len(self.valid)))

    @property
    def window_bytes(self) -> int:
        """Bytes of the features of a window."""
        return np.dtype(self._settings.dtype).itemsize * prod(shape_of(self._inputs.feature))

    def what(self) -> tuple[str, str]:
        """What the features are, and their units."""
        feature = self._inputs.feature
        return feature_name(feature), str(getattr(feature, "units", "1"))

    def axes(self) -> Sequence[Axis]:
        """The axes of the features of a window."""
        return axes_of(self._inputs.feature)

    def parts(self, windows: Indices) -> Counter[str]:
        """Nothing is stored, and so no split."""
        return Counter()

    def tell(self) -> None:
        """Warn of recordings that cannot be read, or raise, as the settings say."""
        while self._problems:
            number, problem = self._problems.popleft()
            if number not in self._warned:
                self._warned.add(number)
                complain(problem, self._settings, stacklevel=4)  # who asked for a batch

    def identity(self) -> str:
        """That of a job with the same inputs and settings, but for how it is stored."""
        inputs = self._inputs
        rows = digest_lines([*file] for file in inputs.recordings.files())
        labels = None if inputs.labels is None else inputs.labels.identity()
        feature = identify(inputs.feature).as_dict()
        grid = inputs.grid.window_samples, inputs.grid.hop_samples, inputs.grid.tail
        return fingerprint({"inputs": rows, "labels": labels, "feature": feature, "grid": grid})


def _tell_of_sequential(recordings: Recordings, made: Batches, own: Mapping[str, Any]) -> None:
    """Warn where windows at random would have all that is before each of them decoded."""
    numbers = recordings.sequential()
    drawn = own.get("weights") is not None
    if not len(numbers) or own.get("mix") is not None or not (made.shuffle or drawn):
        return
    others = f" and {len(numbers) - 1} more" if len(numbers) > 1 else ""
    what = (
        "and weights draws windows from anywhere, which takes long: convert to FLAC or WAV first"
        if drawn
        else f"so windows are shuffled by runs, as mix={made.mix} does: pass mix, or convert to "
        f"FLAC or WAV to shuffle all"
    )
    path = recordings.paths[int(numbers[0])]
    warnings.warn(
        f"{path}{others} must be decoded on the way to a window, {what}", UserWarning, stacklevel=3
    )


def complain(problem: str, settings: Settings, stacklevel: int) -> None:
    """Warn of audio that cannot be read, or raise, as the settings say."""
    if settings.on_error == "stop":
        raise OSError(f"{problem}; give on_error='mask' to go on without it")
    warnings.warn(f"{problem}; masked", RuntimeWarning, stacklevel=stacklevel)
