"""Shards are read as Zarr's own library reads them, and never wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec

from pipeline.layout import Layout, Variable
from pipeline.shards import Shards
from pipeline.store import new_store


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_shards_are_read_as_zarr_reads_them(tmp_path: Path, dtype: str) -> None:
    values = np.random.default_rng(0).normal(size=(23, 5, 7)).astype(dtype)
    layout = Layout(n_windows=23, shape=(5, 7), dtype=dtype, chunk=1, shard=4, region=8)
    variable = Variable(("window", "frequency", "time"), values.shape, values.dtype)
    store = new_store(tmp_path / "x.zarr")
    with store.creating(layout, {"features": variable}, {}):
        pass
    with store.region(0, 23) as region:
        for a in range(0, 23, 4):
            region.write(a, values[a : a + 4])
    found = Shards.of(tmp_path / "x.zarr" / "features")
    assert found == Shards(tmp_path / "x.zarr" / "features", (5, 7), dtype, 4)
    order = np.random.default_rng(0).permutation(23)
    array = zarr.open_array(tmp_path / "x.zarr" / "features", mode="r")
    assert np.array_equal(found.read(order), array.oindex[order])
    for n in (0, 1):
        assert np.array_equal(found.read(order[:n]), values[order[:n]])
    first = tmp_path / "x.zarr" / store.file_of(0)
    whole = first.read_bytes()
    for place in (0, len(whole) // 3, len(whole) - 30, len(whole) - 2):
        first.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        with pytest.raises(ValueError, match="checksum"):
            found.read(np.arange(4))
    for length in (len(whole) // 2, 3, 0):
        first.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"checksum|cut off"):
            found.read(np.arange(4))
    first.unlink()
    assert np.isnan(found.read(np.arange(4))).all()
    assert np.array_equal(found.read(np.arange(4, 23)), values[4:])


def test_arrays_of_others_are_not_taken_for_ours(tmp_path: Path) -> None:
    one = tmp_path / "x"
    options: dict[str, Any] = {"shape": (8, 3), "dtype": "f4", "chunks": (1, 3)}
    zarr.create_array(one, **options, shards=(4, 3), compressors=None)
    assert Shards.of(one) is None
    zarr.create_array(one, **options, overwrite=True)
    assert Shards.of(one) is None
    assert Shards.of(tmp_path) is None
    codecs = [BloscCodec(), Crc32cCodec()]
    zarr.create_array(
        one, **options, shards=(4, 3), compressors=codecs, fill_value=np.nan, overwrite=True
    )
    assert Shards.of(one) == Shards(one, (3,), "float32", 4)
