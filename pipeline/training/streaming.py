"""Streaming: batches computed as a training loop asks for them."""

import warnings
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.checks import whole
from pipeline.features import Feature, Spectrogram, margins_of
from pipeline.inputs import Inputs
from pipeline.labels import LabelsLike
from pipeline.process import cores, keep_freed_memory, one_blas_thread
from pipeline.recordings import PathLike, why_unreadable
from pipeline.settings import Settings
from pipeline.store import Encoding
from pipeline.training.batches import Batch, check_batch_size, split
from pipeline.windows import compute_windows

Computed = tuple[npt.NDArray[Any], dict[int, str]]
STEP = 16  # windows, at least, that are worth a thread's while


def stream(
    sources: PathLike | Iterable[PathLike],
    features: Feature = Spectrogram(),  # noqa: B008 - it is frozen
    labels: LabelsLike = None,
    batch_size: int | None = 64,
    *,
    threads: int | None = None,
    annotated: bool = False,
    **settings: Any,
) -> Iterator[Batch]:
    """Batches of features, computed on all cores while the caller works.

    Parameters
    ----------
    sources, features, labels, **settings
        As for `extract`.
    batch_size : int or None
        Windows in a batch; None gives single windows, without that axis.
    threads : int, optional
        How many compute; one a core if not given.
    annotated : bool
        As for `Batches`: each batch is ``(X, y, annotated)``.

    Returns
    -------
    iterator of (X, y)
        In the order of the windows, as `Batches` gives them.

    Raises
    ------
    ValueError, OSError
        At once, if the inputs or the settings will not do. With
        ``on_error="stop"`` an OSError where audio cannot be read; otherwise a
        RuntimeWarning, and X is the feature's floor there.
    """
    batch_size = check_batch_size(batch_size)
    if threads is not None:
        threads = whole("threads", threads, 1, "above 0, or None")
    checked = Settings.from_mapping(settings)
    inputs = Inputs.find(sources, features, labels, checked)
    for path, reason in inputs.recordings.unreadable:
        _complain(f"{path}: {reason}", checked)
    return _batches(inputs, checked, batch_size, threads or cores(), annotated)


def _batches(
    inputs: Inputs, settings: Settings, batch_size: int | None, threads: int, annotated: bool
) -> Iterator[Batch]:
    size = batch_size or 1
    step = -(-max(size, STEP) // size) * size  # whole batches
    starts = iter(range(0, len(inputs.grid), step))
    warned: set[int] = set()  # numbers of recordings
    waiting: deque[tuple[int, Future[Computed]]] = deque()
    keep_freed_memory()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="stream")
    try:
        while True:
            while len(waiting) <= threads and (start := next(starts, None)) is not None:
                future = pool.submit(_compute, inputs, start, start + step, settings.dtype, warned)
                waiting.append((start, future))
            if not waiting:
                return
            start, future = waiting.popleft()
            X, problems = future.result()
            for number, problem in problems.items():
                if number not in warned:
                    warned.add(number)
                    _complain(problem, settings)
            y = _labels(inputs, start, start + len(X), annotated)
            yield from split((X, *y), batch_size)
    finally:
        pool.shutdown(cancel_futures=True)


def _labels(
    inputs: Inputs, start: int, stop: int, annotated: bool
) -> tuple[npt.NDArray[Any] | None, ...]:
    """y, and what of it was annotated if that is asked for; the caller's own."""
    if inputs.labels is None:
        return (None, None) if annotated else (None,)
    block = inputs.labels.block(start, stop)
    y = block["label"].copy()
    if not annotated:
        return (y,)
    return y, block.get("annotated", np.ones(y.shape, np.bool_))


def _compute(inputs: Inputs, start: int, stop: int, dtype: str, warned: set[int]) -> Computed:
    """Features of windows, and what is wrong with each recording that was not warned of."""
    grid, used = inputs.grid[start:stop].detached()
    recordings = inputs.recordings[used]
    encoding = Encoding.of(dtype, inputs.feature)
    with one_blas_thread():
        X, valid = compute_windows(recordings, grid, inputs.feature, dtype, encoding.encode)
    bad = np.flatnonzero(~valid)
    numbers, first = np.unique(grid.locate()[0][bad], return_index=True)
    margins = margins_of(inputs.feature, grid.samplerate)
    problems = {
        used.start + int(number): why_unreadable(recordings, grid, int(t), *margins)
        for number, t in zip(numbers, bad[first], strict=True)
        if used.start + int(number) not in warned
    }
    return encoding.decode(X), problems


def _complain(problem: str, settings: Settings) -> None:
    if settings.on_error == "stop":
        raise OSError(f"{problem}; give on_error='mask' to go on without it")
    warnings.warn(f"{problem}; masked", RuntimeWarning, stacklevel=3)
