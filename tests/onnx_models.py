"""Small ONNX models, as people export them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

Dims = list[Any]
FLOAT = TensorProto.FLOAT


def save(
    path: Path,
    nodes: list[Any],
    inputs: dict[str, Dims],
    outputs: dict[str, Dims],
    weights: dict[str, npt.NDArray[Any]],
    kind: int = FLOAT,
    output_kind: int = FLOAT,
    beside: str | None = None,
) -> Path:
    """Write a model; its weights into a file `beside` it if that has a name."""
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(name, kind, dims) for name, dims in inputs.items()],
        [helper.make_tensor_value_info(name, output_kind, dims) for name, dims in outputs.items()],
        [numpy_helper.from_array(values, name) for name, values in weights.items()],
    )
    opsets = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    more = {"save_as_external_data": True, "location": beside, "size_threshold": 1000}
    onnx.save(model, path, **(more if beside else {}))
    return path


def random(*shape: int, seed: int = 0) -> npt.NDArray[np.float32]:
    """Weights."""
    values = np.random.default_rng(seed).standard_normal(shape, np.float32)
    return values / np.float32(np.sqrt(np.prod(shape[:-1])))


def dense(
    path: Path,
    n_samples: int | None = 8000,
    shape: Dims | None = None,
    batch: Any = "batch",
    seed: int = 0,
    **more: Any,
) -> Path:
    """The samples times a matrix, of which each row is brought to a shape."""
    shape = [6] if shape is None else shape
    weights = random(n_samples or 8000, int(np.prod(shape)), seed=seed)
    nodes = [
        helper.make_node("MatMul", ["x", "W"], ["flat"]),
        helper.make_node("Reshape", ["flat", "to"], ["y"]),
    ]
    to = np.array([-1 if isinstance(batch, str) else batch, *shape], np.int64)
    values = {"W": weights, "to": to}
    return save(path, nodes, {"x": [batch, n_samples]}, {"y": [batch, *shape]}, values, **more)


def convolutional(path: Path, dims: Dims, channels: int = 16) -> Path:
    """Two convolutions over (batch, 1, ...), and the mean over all places."""
    kernel = [3] * (len(dims) - 2)
    nodes = [
        helper.make_node("Conv", ["x", "first"], ["a"], strides=[2] * len(kernel)),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "second"], ["c"]),
        helper.make_node("GlobalAveragePool", ["c"], ["d"]),
        helper.make_node("Flatten", ["d"], ["embedding"]),
    ]
    weights = {
        "first": random(channels, 1, *kernel),
        "second": random(2 * channels, channels, *kernel, seed=1),
    }
    return save(path, nodes, {"x": dims}, {"embedding": [dims[0], 2 * channels]}, weights)


def means(path: Path, dims: Dims, axis: int = -1) -> Path:
    """The mean along an axis of what it is called with."""
    nodes = [helper.make_node("ReduceMean", ["x"], ["mean"], axes=[axis], keepdims=0)]
    places = [*range(len(dims))]
    del places[axis]
    return save(path, nodes, {"x": dims}, {"mean": [dims[place] for place in places]}, {})


def two_outputs(path: Path) -> Path:
    """The largest and the smallest sample of each window."""
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["highest"], axes=[1], keepdims=0),
        helper.make_node("ReduceMin", ["x"], ["lowest"], axes=[1], keepdims=0),
    ]
    return save(path, nodes, {"x": ["n", None]}, {"highest": ["n"], "lowest": ["n"]}, {})


def logarithm(path: Path) -> Path:
    """The logarithm of the least sample, which is NaN where that is negative."""
    nodes = [
        helper.make_node("ReduceMin", ["x"], ["least"], axes=[1], keepdims=1),
        helper.make_node("Log", ["least"], ["y"]),
    ]
    return save(path, nodes, {"x": ["n", None]}, {"y": ["n", 1]}, {})


def mixing(path: Path) -> Path:
    """The samples less the mean of the batch."""
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["mean"], axes=[0], keepdims=1),
        helper.make_node("Sub", ["x", "mean"], ["y"]),
    ]
    return save(path, nodes, {"x": ["n", None]}, {"y": ["n", None]}, {})
