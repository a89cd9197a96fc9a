"""The session: a model loaded once a process, and called with the same shape every time."""

import os
from functools import lru_cache
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.checks import reject_unknown
from pipeline.kernels import Singles, groups
from pipeline.models.files import ModelFiles
from pipeline.process import resident_bytes

Shape = tuple[int, ...]
KEPT = 4  # models that a process keeps loaded
FLOAT = "tensor(float)"
# Measured: what onnxruntime takes, at most 40 MB, and a model while it is loaded, 1.25 times
# its files.
RUNTIME_BYTES, LOADING = 64 * 1024**2, 1.5

_loading: dict[int, Lock] = {}  # of a process: one that is forked has its own


def runtime() -> Any:
    """The module onnxruntime, or an ImportError that says what to install."""
    try:
        import onnxruntime
    except ImportError as error:
        raise ImportError(
            "the feature onnx needs onnxruntime, which is not installed; install "
            "dask-audio-pipeline[onnx]"
        ) from error
    return onnxruntime


class Session:
    """A model in onnxruntime; any number of threads may call it at once."""

    def __init__(self, files: ModelFiles) -> None:
        onnxruntime = runtime()
        options = onnxruntime.SessionOptions()
        # Our own threads call it side by side. Those of onnxruntime would compete with them.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 4  # what fails is raised
        try:
            self.calls = onnxruntime.InferenceSession(
                files.path, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            raise ValueError(
                f"{files.path} is no ONNX model that onnxruntime can load ({_words(error)}); pass "
                f"the path of one"
            ) from error
        self.files, self.call_bytes = files, 0

    def run(self, output: str, values: Singles) -> npt.NDArray[Any]:
        """One output for a whole batch of the one input."""
        (found,) = self.calls.run([output], {self.calls.get_inputs()[0].name: values})
        return np.asarray(found)


class Model:
    """One output of a model, for windows of one shape, so many at a time.

    Parameters
    ----------
    session : Session
        The loaded model.
    output : str, optional
        Name of the output.
    shape : tuple of int
        Of what the model is called with, for one window.
    batch : int, optional
        Windows in a call.
    """

    def __init__(
        self, session: Session, output: str | None, shape: Shape, batch: int | None
    ) -> None:
        self._session, self._window = session, shape
        self.output = _output_of(session, output)
        self.input = _input_of(session, shape, batch)
        self.batch = self.input[0]
        self.shape = self._probe()
        if self.batch > 1:
            self._check_windows_are_apart()

    def __call__(self, values: Singles, out: Singles) -> None:
        """Write the output for windows; a batch that they do not fill is filled with zeros."""
        if values.shape[1:] != self._window:
            raise ValueError(
                f"the windows, or what the frontend makes of them, have shape {values.shape}; the "
                f"model is called for {_shown(['batch', *self._window])}: pass it the samplerate "
                f"and window of the recordings"
            )
        for rows in groups(len(values), self.batch):
            some = np.ascontiguousarray(values[rows], np.float32)
            if lacking := self.batch - len(some):
                some = np.concatenate([some, np.zeros((lacking, *some.shape[1:]), np.float32)])
            found = self._session.run(self.output, some.reshape(self.input))
            if found.shape != (self.batch, *self.shape):
                raise ValueError(
                    f"the model {self._session.files.path} gave an array of shape {found.shape}, "
                    f"and before of {(self.batch, *self.shape)}; its shape must be the same for "
                    f"all windows"
                )
            out[rows] = found[: len(values[rows])]

    def memory_bytes(self, threads: int) -> int:
        """Memory that the model takes in a process in which so many threads call it."""
        loaded = RUNTIME_BYTES + LOADING * self._session.files.n_bytes
        return int(loaded + threads * self._session.call_bytes)

    def _probe(self) -> Shape:
        """The shape of the output for one window, found by a call, whose memory is measured."""
        session, before = self._session, resident_bytes()
        found = self._try(np.zeros(self.input, np.float32))
        # onnxruntime keeps it, so that a later call may need no more.
        session.call_bytes = max(session.call_bytes, resident_bytes() - before)
        if found.dtype.kind not in "biuf" or found.shape[:1] != (self.batch,):
            raise ValueError(
                f"the model {session.files.path} gives {self.output!r} of shape {found.shape} and "
                f"dtype {found.dtype} for a batch of {self.batch}; it must be of real numbers, "
                f"(batch, ...)"
            )
        return found.shape[1:]

    def _try(self, values: Singles) -> npt.NDArray[Any]:
        try:
            return self._session.run(self.output, values)
        except Exception as error:
            raise ValueError(
                f"the model {self._session.files.path} fails with an input of shape {self.input} "
                f"({_words(error)}); pass another window or samplerate, or another model"
            ) from error

    def _check_windows_are_apart(self) -> None:
        """Refuse a model where a window's output hangs on the others, or on its place."""
        rng = np.random.default_rng(0)
        first = rng.standard_normal(self.input, np.float32)
        last = rng.standard_normal(self.input, np.float32)
        last[-1] = first[0]
        if self._try(first)[0].tobytes() != self._try(last)[-1].tobytes():
            raise ValueError(
                f"the model {self._session.files.path} gives another result for a window in "
                f"another place of a batch of {self.batch}; pass batch 1, with a model that takes "
                f"it"
            )


def load_model(path: str, output: str | None, shape: Shape, batch: int | None) -> Model:
    """A model that this process has loaded, or loads now."""
    files, process = ModelFiles.find(path), os.getpid()
    with _loading.setdefault(process, Lock()):  # once, whatever the threads
        return _model(files, output, shape, batch, process)


@lru_cache(maxsize=4 * KEPT)
def _model(
    files: ModelFiles, output: str | None, shape: Shape, batch: int | None, process: int
) -> Model:
    return Model(_session(files, process), output, shape, batch)


@lru_cache(maxsize=KEPT)
def _session(files: ModelFiles, process: int) -> Session:
    """A session of this process: one that is forked has its own."""
    return Session(files)


def _output_of(session: Session, wanted: str | None) -> str:
    names = [item.name for item in session.calls.get_outputs()]
    if wanted is None and len(names) > 1:
        raise ValueError(
            f"the model {session.files.path} has the outputs {', '.join(names)}; pass one of them "
            f"as output"
        )
    if wanted is not None:
        reject_unknown([wanted], names, f"output of the model {session.files.path}")
    return str(wanted or names[0])


def _input_of(session: Session, shape: Shape, batch: int | None) -> Shape:
    """The shape of an input of the model, for windows of a shape."""
    inputs = session.calls.get_inputs()
    if len(inputs) > 1 or inputs[0].type != FLOAT:
        said = ", ".join(f"{item.name} of {item.type}" for item in inputs)
        raise ValueError(
            f"the model {session.files.path} has the inputs {said}; it must have one, of {FLOAT}"
        )
    first, *dims = inputs[0].shape or [None]
    between = (1,) * (len(dims) - len(shape))
    fits = len(between) < 2 and all(
        not isinstance(dim, int) or dim == length
        for dim, length in zip(dims, (*between, *shape), strict=False)
    )
    if len(dims) < len(shape) or not fits:
        raise ValueError(
            f"the model {session.files.path} takes {_shown([first, *dims])}, but is called with "
            f"{_shown(['batch', *shape])}; pass another window or samplerate, or another frontend"
        )
    if isinstance(first, int) and batch not in (None, first):
        raise ValueError(
            f"batch is {batch}, but the model {session.files.path} takes {first} windows at a "
            f"time; leave batch out"
        )
    return (first if isinstance(first, int) else batch or 1, *between, *shape)


def _shown(dims: list[Any]) -> str:
    return f"({', '.join('any' if dim is None else str(dim) for dim in dims)})"


def _words(error: Exception) -> str:
    """The first line of what onnxruntime says, without its name."""
    return str(error).partition("\n")[0].rpartition("[ONNXRuntimeError] : ")[2][:200]
