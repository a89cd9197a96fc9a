"""The arrays of a Zarr group, made by zarr, and `Shards` as the metadata describe them."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import zarr
import zarr.errors
from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec, ShardingCodec
from zarr.storage import MemoryStore

from pipeline.layout import Layout
from pipeline.paths import AnyPath
from pipeline.store.encoding import Encoding
from pipeline.store.schema import Variable
from pipeline.store.shards import LEVEL, Shards, shuffle

CHECKSUM: dict[str, Any] = {"name": "crc32c"}
# Of the small arrays, which zarr itself reads and writes.
CHECKED = [{"name": "zstd", "configuration": {"level": 0, "checksum": True}}, CHECKSUM]
# So that a shard is one file, in no folder of its own.
KEYS: Any = {"name": "default", "separator": "."}


def files_of(
    variables: Mapping[str, Variable],
    attrs: Mapping[str, Any] | None = None,
    layout: Layout | None = None,
    keys: Mapping[str, Any] = {},
) -> dict[str, bytes]:
    """The files of a group as it is made, by name; of features, if it has any, by their layout.

    `keys` says how the chunks of some variables are named, if not as usual.
    Where zarr itself writes several files, and one fails, its threads go on with the others.
    """
    files: dict[str, Any] = {}
    store = MemoryStore(files)
    group = zarr.create_group(store, zarr_format=3, attributes=dict(attrs or {}))
    with all_chunks():
        for name, variable in variables.items():
            if layout is not None and name == "features":
                options = _of_features(variable, layout)
            else:
                options = _of_small(variable)
            _create_array(group, name, variable, options, keys.get(name, KEYS))
    _consolidate(store)
    return {name: data.to_bytes() for name, data in files.items()}


def _consolidate(store: Any) -> None:
    with warnings.catch_warnings():
        # xarray, zarr-python, zarrs and tensorstore all read it; zarr warns that
        # other programs may not, and those then read the arrays' own.
        warnings.simplefilter("ignore", zarr.errors.ZarrUserWarning)
        zarr.consolidate_metadata(store)


def _of_small(variable: Variable) -> dict[str, Any]:
    chunks = (variable.rows_of_chunk, *variable.shape[1:]) if variable.shape else ()
    return {"chunks": chunks, "compressors": CHECKED}


def _of_features(variable: Variable, layout: Layout) -> dict[str, Any]:
    encoding = Encoding.read(variable.dtype.name, variable.attrs)
    return {
        "chunks": (layout.chunk, *layout.shape),
        "shards": (layout.shard, *layout.shape),
        "compressors": _compressors(layout.compression, variable.dtype.itemsize),
        "fill_value": encoding.fill_value,
    }


def _create_array(
    group: zarr.Group, name: str, variable: Variable, options: dict[str, Any], keys: Any
) -> None:
    array = group.create_array(
        name,
        shape=variable.shape,
        dtype=str if variable.dtype == object else variable.dtype,
        chunk_key_encoding=keys,
        dimension_names=list(variable.dims),
        attributes=dict(variable.attrs),
        **options,
    )
    if variable.values is not None:
        array[...] = variable.values
    for start, part in variable.parts() if variable.parts else ():
        array[start : start + len(part)] = part


def _compressors(compression: str, itemsize: int) -> list[dict[str, Any]]:
    """What `Shards` does to the bytes of a chunk, as Zarr's metadata name it."""
    if compression == "none":
        return [CHECKSUM]
    how = {"clevel": LEVEL, "shuffle": shuffle(itemsize), "typesize": itemsize, "blocksize": 0}
    return [{"name": "blosc", "configuration": {"cname": compression, **how}}, CHECKSUM]


def other_keys(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Names for the chunks of an array that another, of these metadata, has not."""
    usual = metadata["chunk_key_encoding"]["name"] == "default"
    return {"name": "v2" if usual else "default", "separator": "."}


def open_group(store: Any) -> Any:
    """A group that is there, to read and to fill."""
    return zarr.open_group(store, mode="r+", use_consolidated=False)


def open_array(store: Any, name: str) -> Any:
    """An array, to read, as the metadata of the group say it is."""
    return zarr.open_group(store, mode="r", use_consolidated=True)[name]


def variables_of(store: Any) -> dict[str, Variable]:
    """The variables of a group, as its own metadata say they are."""
    group: Any = zarr.open_group(store, mode="r", use_consolidated=True)
    return {
        name: Variable(
            tuple(array.metadata.dimension_names or ()), array.shape, array.dtype, {**array.attrs}
        )
        for name, array in group.arrays()
    }


def all_chunks() -> Any:
    """Write chunks that are all fill value, too, so that they can be told from missing ones."""
    return zarr.config.set({"array.write_empty_chunks": True})


def shards_of(folder: AnyPath, array: Any) -> Shards:
    """How an array of features is stored; a ValueError if not as this project does it."""
    metadata = array.metadata
    try:
        (sharding,) = metadata.codecs
        first, *between, last = sharding.codecs
        chunk = sharding.chunk_shape[0]
        length, *shape = metadata.chunk_grid.chunk_shape
        encoding = Encoding.read(array.dtype.name, array.attrs)
        fill_value = np.array([array.fill_value], array.dtype)
        ours = (
            isinstance(sharding, ShardingCodec)
            and sharding.chunk_shape[1:] == tuple(shape) == array.shape[1:]
            and _are_checked([first, last])
            and _are_checked(sharding.index_codecs)
            and _word(sharding.index_location) == "end"
            and metadata.chunk_key_encoding.encode_chunk_key((1, 0)) == "c.1.0"
            and encoding.is_missing(fill_value).all()
            and all(isinstance(codec, BloscCodec) for codec in between[:1])
            and not between[1:]
        )
    except (ValueError, LookupError, TypeError, AttributeError):
        ours = False
    if not ours:
        raise ValueError(f"{folder} is not stored as extract does; extract it again")
    compression = _word(between[0].cname) if between else "none"
    return Shards(folder, array.shape[0], tuple(shape), encoding, chunk, length, compression)


def _are_checked(codecs: Sequence[Any]) -> bool:
    """Whether numbers are stored as their bytes, and these with their checksum."""
    first, last = codecs
    # A number of one byte has no order of them.
    little = isinstance(first, BytesCodec) and _word(first.endian) in ("little", "None")
    return little and isinstance(last, Crc32cCodec)


def _word(value: Any) -> str:
    """What zarr has as text, or as a member of an enumeration."""
    return str(getattr(value, "value", value))
