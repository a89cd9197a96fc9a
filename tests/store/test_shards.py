"""Shards are written and read as Zarr's own library does it, and never wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from zarr.codecs import BloscCodec, Crc32cCodec, GzipCodec

from pipeline.layout import Layout
from pipeline.store import Store, new_store
from pipeline.store.encoding import Encoding
from pipeline.store.schema import Contents, Variable
from pipeline.store.shards import Shards
from pipeline.store.zarr_arrays import shards_of

VALUES = np.random.default_rng(0).normal(size=(23, 5, 7)).astype(np.float32)


def made(
    folder: Path, values: npt.NDArray[Any], chunk: int = 1, compression: str = "none"
) -> Store:
    """A store of which nothing is written."""
    layout = Layout(len(values), values.shape[1:], values.dtype.name, chunk, 4, 8, compression)
    variable = Variable(("window", "frequency", "time"), values.shape, values.dtype)
    store = new_store(folder / "x.zarr")
    with store.creating(Contents(layout, {"features": variable}, {})):
        pass
    return store


def found_in(folder: Path) -> Shards:
    return shards_of(folder, zarr.open_array(folder, mode="r"))


def write(store: Store, values: npt.NDArray[Any]) -> None:
    with store.region(0, len(values)) as region:
        for a in range(0, len(values), 4):
            region.write(a, values[a : a + 4])


compressed = pytest.mark.parametrize("compression", ["none", "lz4", "zstd"])


@compressed
@pytest.mark.parametrize("chunk", [1, 2, 4])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_zarr_reads_what_is_written_and_we_what_zarr_writes(
    tmp_path: Path, dtype: str, chunk: int, compression: str
) -> None:
    values = VALUES.astype(dtype)
    (tmp_path / "ours").mkdir()
    (tmp_path / "zarr").mkdir()
    ours, theirs = (made(tmp_path / name, values, chunk, compression) for name in ("ours", "zarr"))
    write(ours, values)
    array = zarr.open_array(theirs.path / "features")
    array[...] = values
    order = np.random.default_rng(0).permutation(np.repeat(np.arange(23), 2))
    for store in (ours, theirs):
        folder = Path(store.path / "features")
        found = found_in(folder)
        assert found == Shards(folder, 23, (5, 7), Encoding(dtype), chunk, 4, compression)
        assert np.array_equal(zarr.open_array(folder, mode="r")[...], values)
        for windows in (order, np.arange(23), order[:1], order[:0]):
            assert np.array_equal(found.read(windows), values[windows])


@given(windows=st.lists(st.integers(0, 22)), chunk=st.sampled_from([1, 2, 4]))
def test_any_windows_are_read_in_the_order_asked_for(
    tmp_path_factory: pytest.TempPathFactory, windows: list[int], chunk: int
) -> None:
    store = made(tmp_path_factory.mktemp("x"), VALUES, chunk)
    write(store, VALUES)
    assert np.array_equal(store.read(np.array(windows, np.int64)), VALUES[windows])


@compressed
@pytest.mark.parametrize("chunk", [1, 2])
def test_damage_is_found_when_it_is_read_and_when_it_is_verified(
    tmp_path: Path, chunk: int, compression: str
) -> None:
    store = made(tmp_path, VALUES, chunk, compression)
    write(store, VALUES)
    folder = Path(store.path / "features")
    first = Path(store.locate(store.file_of(0)))
    whole, windows = first.read_bytes(), np.arange(4)
    checksum = found_in(folder).checksum(0)
    for place in range(0, len(whole), 5):
        first.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        for use in (found_in(folder).read, found_in(folder).checksum):
            with pytest.raises(ValueError, match="checksum"):
                use(windows if use.__name__ == "read" else 0)
    for length in (len(whole) // 2, 3, 0):
        first.write_bytes(whole[:length])
        for use in (found_in(folder).read, found_in(folder).checksum):
            with pytest.raises(ValueError, match=r"checksum|cut off"):
                use(windows if use.__name__ == "read" else 0)
    first.write_bytes(whole)
    assert found_in(folder).checksum(0) == checksum


def test_what_is_not_there_is_nan(tmp_path: Path) -> None:
    store = made(tmp_path, VALUES)
    assert np.isnan(store.read(np.arange(23))).all()
    write(store, VALUES)
    assert np.array_equal(store.read(np.arange(23)), VALUES)
    Path(store.locate(store.file_of(0))).unlink()
    found = store.read(np.arange(23))
    assert np.isnan(found[:4]).all()
    assert np.array_equal(found[4:], VALUES[4:])


def test_a_chunk_that_was_left_out_is_nan(tmp_path: Path) -> None:
    store = made(tmp_path, VALUES)
    values = VALUES[:4].copy()
    values[2] = np.nan  # zarr does not write what is all fill value
    zarr.open_array(Path(store.path / "features"))[:4] = values
    assert np.array_equal(store.read(np.arange(4)), values, equal_nan=True)


def test_the_checksum_tells_shards_of_the_same_lengths_apart(tmp_path: Path) -> None:
    values = np.random.default_rng(0).bytes(2 * 4 * 3 * 4)
    shards = np.frombuffer(values, "<u4").astype(np.float32).reshape(8, 3)
    found = Shards(tmp_path, 8, (3,), Encoding("float32"), 1, 4)
    one, another = found.encode(shards[:4]), found.encode(shards[4:])
    assert [*map(len, one[0])] == [*map(len, another[0])]
    assert one[1] != another[1]


def test_arrays_of_others_are_not_taken_for_ours(tmp_path: Path) -> None:
    one = tmp_path / "x"
    options: dict[str, Any] = {"shape": (8, 3), "dtype": "f4", "chunks": (1, 3)}
    keys: Any = {"name": "default", "separator": "."}
    options["chunk_key_encoding"] = keys
    checked = {"shards": (4, 3), "compressors": Crc32cCodec()}
    unchecked = checked | {"compressors": None}
    gzipped = checked | {"compressors": [GzipCodec(), Crc32cCodec()]}
    slashes = checked | {"chunk_key_encoding": keys | {"separator": "/"}}
    for others in (unchecked, gzipped, slashes, {}):
        zarr.create_array(one, **options | others, fill_value=np.nan, overwrite=True)
        with pytest.raises(ValueError, match="is not stored as extract does"):
            found_in(one)
    with pytest.raises(FileNotFoundError):
        found_in(tmp_path)
    codecs = [BloscCodec(), Crc32cCodec()]
    zarr.create_array(
        one, **options, shards=(4, 3), compressors=codecs, fill_value=np.nan, overwrite=True
    )
    assert found_in(one) == Shards(one, 8, (3,), Encoding("float32"), 1, 4, "zstd")
