"""Arrays of an xarray Dataset: features for Dask, and rows of what goes along windows, lazily."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import uuid4

import dask.array as da
import numpy as np
import numpy.typing as npt

from pipeline.datasets.variables import ReadFeatures, Variables
from pipeline.store import Encoding, Variable

try:
    import xarray
    from xarray.backends import BackendArray
    from xarray.core import indexing
except ImportError as error:
    raise ImportError(
        "open_dataset needs xarray, which is not installed; install dask-audio-pipeline[xarray]"
    ) from error

Array = npt.NDArray[Any]
Index = int | slice
TIMES = np.dtype("datetime64[ns]")


def dataset_of(variables: Variables) -> xarray.Dataset:
    """The variables as a Dataset, of which features are read as Dask asks for them."""
    described = dict(variables.described)
    features = described.pop("features")
    along = features.attrs["coordinates"].split()
    found = {"features": features_of(features, variables.read, variables.shard)}
    found |= {name: _small(name, item, variables) for name, item in described.items()}
    return xarray.Dataset(found, attrs=variables.attrs).set_coords(
        [name for name in along if name in found]
    )


def features_of(variable: Variable, read: ReadFeatures, shard: int) -> xarray.Variable:
    """Features as a dask array, of blocks of so many windows."""
    dtype = variable.dtype if variable.dtype.kind == "f" else np.dtype(np.float32)
    windows = Windows(read, variable.shape, dtype)
    n, shape = variable.shape[0], variable.shape[1:]
    chunks = tuple(min(shard, n - a) for a in range(0, n, shard))
    array: da.Array = da.from_array(
        windows,
        chunks=(chunks, *((length,) for length in shape)),
        name=f"features-{uuid4().hex}",
        lock=False,
        asarray=False,
        meta=np.empty((0,) * windows.ndim, dtype),
    )
    return xarray.Variable(_dims(variable), array, _attrs(variable))


def _small(name: str, variable: Variable, variables: Variables) -> xarray.Variable:
    """A variable that is read whole or, if it goes along the windows, when it is asked for."""
    dims, attrs = _dims(variable), _attrs(variable)
    if dims[:1] != ("window",):
        values = variables.rows(name)
        text = values.dtype.kind not in "biuf"
        return xarray.Variable(dims, values.astype(object) if text else values, attrs)
    dtype = variable.dtype
    if name == "datetime":
        dtype, attrs = TIMES, {"long_name": attrs["long_name"]}
    rows = Rows(partial(variables.rows, name), variable.shape, dtype)
    lazily: Any = indexing.LazilyIndexedArray(rows)
    held = indexing.MemoryCachedArray(indexing.CopyOnWriteArray(lazily))
    return xarray.Variable(dims, held, attrs)


def _dims(variable: Variable) -> tuple[str, ...]:
    """Its dimensions; that of recordings is `source`, as netCDF has it: there is a variable, too.

    xarray takes a variable of a dimension's name for its index, which `recording` is not.
    """
    return tuple("source" if dim == "recording" else dim for dim in variable.dims)


def _attrs(variable: Variable) -> dict[str, Any]:
    """Its attributes, without those that say how it is decoded, and of what coordinates."""
    decoded = Encoding.read(variable.dtype.name, variable.attrs).attributes
    hidden = {"coordinates", *decoded}
    return {name: value for name, value in variable.attrs.items() if name not in hidden}


class Windows:
    """Features by the numbers of windows: what Dask asks for, be it a block or a part of it."""

    def __init__(self, read: ReadFeatures, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self._read, self.shape, self.dtype, self.ndim = read, shape, dtype, len(shape)

    def __getitem__(self, key: tuple[Index, ...]) -> Array:
        first, *rest = key
        chosen = range(self.shape[0])[first]
        if isinstance(chosen, int):
            return self._read(np.array([chosen]))[(0, *rest)]
        return self._read(np.array(chosen, np.int64))[(slice(None), *rest)]


class Rows(BackendArray):
    """Rows of a variable, for xarray to index, read when their values are asked for."""

    def __init__(
        self, read: Callable[[int, int], Array], shape: tuple[int, ...], dtype: np.dtype[Any]
    ) -> None:
        self._read, self.shape, self.dtype = read, shape, dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        basic = indexing.IndexingSupport.BASIC
        return indexing.explicit_indexing_adapter(key, self.shape, basic, self._values)

    def _values(self, key: tuple[Index, ...]) -> Array:
        first, *rest = key
        chosen = range(self.shape[0])[first]
        if isinstance(chosen, int):
            return self._between(chosen, chosen + 1)[(0, *rest)]
        stop = max(chosen.start, chosen.stop)  # xarray itself reverses what is asked for so
        return self._between(chosen.start, stop)[(slice(None, None, chosen.step), *rest)]

    def _between(self, start: int, stop: int) -> Array:
        values = self._read(start, stop)
        return values.view(self.dtype) if self.dtype == TIMES else values
