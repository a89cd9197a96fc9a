"""What an ONNX model makes of windows of audio, or of another feature: embeddings."""

import math
import os
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from pipeline.checks import whole
from pipeline.features.feature import Axis, Feature, bind, check_feature, margins_of, takes
from pipeline.kernels import Counts, Floats, Singles, groups
from pipeline.models import Model, ModelFiles, load_model, runtime

NAMES = "frame", "embedding"  # of the axes, as many of the last as there are
GROUP_BYTES = 1 << 22  # of a frontend's values, which are still in the cache when they are used


@dataclass(frozen=True)
class Onnx:
    """What an ONNX model makes of each window, such as an embedding.

    The model has one input, of float32: (batch, sample), or, over another
    feature, the batch before that feature's own shape, such as (batch,
    frequency, time); an axis of one channel may stand after the batch. Its
    output (batch,), (batch, embedding) or (batch, frame, embedding) is what is
    stored. It runs in onnxruntime, of the extra ``dask-audio-pipeline[onnx]``,
    on the processor, in our own threads.

    Parameters
    ----------
    model : path
        The file of the model; files beside it that hold its weights belong to
        it. All workers must find it there.
    output : str, optional
        Name of the output that is stored, needed where the model has several.
    frontend : Feature, optional
        The feature that the model is called with, in place of the samples; in
        YAML a name, or a mapping such as ``{name: mfcc, n_mfcc: 13}``.
    batch : int, optional
        Windows in a call of the model; if not given, 1, or as many as the model
        takes where that is fixed. More are faster only where a model is mostly
        large matrices.
    samplerate : int, optional
        In Hz. Taken from the recordings where not given.
    window : float, optional
        Length of a window in seconds. Taken from the grid where not given.

    Raises
    ------
    ValueError
        If a parameter is out of its range, the model is none or takes other
        shapes, or a window's result hangs on the others of its batch.
    FileNotFoundError
        If a file of the model is missing.
    ImportError
        If onnxruntime is not installed.

    Notes
    -----
    Every call has the same shape: where windows are lacking, zeros stand for
    them, so that no other instructions compute the last ones. The samples of a
    partial window are followed by zeros; a window that cannot be read is 0
    everywhere.

    A job is known by the SHA-256 of the model's files and the version of
    onnxruntime, not by the path.
    """

    model: str
    output: str | None = None
    frontend: Feature | None = None
    batch: int | None = None
    samplerate: int | None = None
    window: float | None = None

    floor: ClassVar[float] = 0.0
    units: ClassVar[str] = "1"

    def __post_init__(self) -> None:
        if not isinstance(self.model, str | os.PathLike) or not os.fspath(self.model):
            raise ValueError(f"model is {self.model!r}; it must be the path of an ONNX model")
        path = os.path.abspath(os.path.expanduser(os.fspath(self.model)))
        object.__setattr__(self, "model", path)
        if self.output is not None and not isinstance(self.output, str):
            raise ValueError(f"output is {self.output!r}; it must be the name of an output")
        if self.batch is not None:
            batch = whole("batch", self.batch, 1, "of windows above 0, or None")
            object.__setattr__(self, "batch", batch)
        if not os.path.isfile(path):
            raise ValueError(f"model is {path!r}, which is no file; pass the path of an ONNX model")
        if self.frontend is not None:
            check_feature(self.frontend, "frontend")
        if self.samplerate is not None and self.window is not None:
            if self.frontend is not None:
                bound = bind(self.frontend, self.samplerate, self.window)
                object.__setattr__(self, "frontend", bound)
            self._loaded()

    def _loaded(self) -> Model:
        """The model, for windows of the recordings' rate and length."""
        if self.samplerate is None or self.window is None:
            raise ValueError(
                "what the model makes of windows is not known before they are; pass samplerate "
                "and window"
            )
        shape: tuple[int, ...] = (round(self.window * self.samplerate),)
        if self.frontend is not None:
            shape = tuple(self.frontend.shape)
        return load_model(self.model, self.output, shape, self.batch)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the model's output for one window."""
        return self._loaded().shape

    @property
    def axes(self) -> tuple[Axis, ...]:
        """Places in the model's output, which says no more of them."""
        shape = self.shape
        names = NAMES[max(0, len(NAMES) - len(shape)) :]
        return tuple(Axis(name, np.arange(float(n))) for name, n in zip(names, shape, strict=False))

    @property
    def long_name(self) -> str:
        """The output, and of which model."""
        return f"{self._loaded().output} of {os.path.basename(self.model)}"

    @property
    def called(self) -> str:
        """What it is called in an error."""
        return f"the model {self.model}"

    @property
    def model_identity(self) -> str:
        """By what the model is known: a digest of its files, and what computes it."""
        return f"{ModelFiles.find(self.model).digest} by onnxruntime {runtime().__version__}"

    @property
    def margins(self) -> tuple[int, int]:
        """Samples of the recording before and after each window that it is called with."""
        if self.frontend is None or self.samplerate is None:
            return 0, 0
        return margins_of(self.frontend, self.samplerate)

    def memory_bytes(self, threads: int) -> int:
        """Memory that the model takes in a process of so many threads."""
        below = getattr(self.frontend, "memory_bytes", lambda threads: 0)
        return int(self._loaded().memory_bytes(threads) + below(threads))

    def __call__(
        self,
        windows: Floats,
        n_samples: Counts | None = None,
        inside: Counts | None = None,
        out: Singles | None = None,
    ) -> Singles:
        """Call the model with a block of windows.

        Parameters
        ----------
        windows : numpy.ndarray, shape (window, sample)
            Each with `margins` of the recording around it, and zeros outside of it.
        n_samples : numpy.ndarray of int, shape (window,), optional
            How many samples each window really has; all if not given.
        inside : numpy.ndarray of int, shape (window, 2), optional
            The first sample of each row that is in the recording, and the one
            after the last; all are if not given.
        out : numpy.ndarray of float32, optional
            Where the result is written.

        Returns
        -------
        numpy.ndarray of float32
            `out`, or a new array.

        Raises
        ------
        ValueError
            If the windows are not of the length that the feature is for.
        """
        model = self._loaded()
        if out is None:
            out = np.empty((len(windows), *model.shape), np.float32)
        if self.frontend is None:
            model(windows, out)
            return out
        known = self._known_to_frontend(n_samples, inside)
        batches = max(1, GROUP_BYTES // (4 * math.prod(model.input)))
        for rows in groups(len(windows), batches * model.batch):
            some = {name: values[rows] for name, values in known.items()}
            model(np.asarray(self.frontend(windows[rows], **some)), out[rows])
        return out

    def _known_to_frontend(self, *values: Counts | None) -> dict[str, Counts]:
        """What is known of windows, as far as the frontend takes it."""
        named = zip(("n_samples", "inside"), values, strict=True)
        return {name: v for name, v in named if v is not None and takes(self.frontend, name)}
