"""Shards in a bucket of a real S3 server: whole ones by one request each, and never wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import count
from threading import Event
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from s3 import Bucket

from pipeline.layout import Layout
from pipeline.paths import ranges
from pipeline.paths.remote import RemotePath
from pipeline.store.file_parts import Received
from pipeline.store.remote_store import RemoteStore
from pipeline.store.schema import Contents, Variable
from pipeline.store.shards import Shards

VALUES = np.random.default_rng(0).normal(size=(23, 5, 7)).astype(np.float32)
LENGTH = 4  # windows in a shard: five whole ones, and one of three windows
PART = 150  # bytes; a shard has some 640, fewer where it is compressed
_number = count()


def made(s3: Bucket, chunk: int, compression: str) -> RemoteStore:
    """A store of which nothing is written."""
    layout = Layout(len(VALUES), VALUES.shape[1:], "float32", chunk, LENGTH, LENGTH, compression)
    variable = Variable(("window", "frequency", "time"), VALUES.shape, VALUES.dtype)
    store = RemoteStore(RemotePath(f"{s3.url}/shards/{next(_number)}.zarr"))
    store.create_group(Contents(layout, {"features": variable}, {}))
    return store


def written(s3: Bucket, chunk: int = 1, compression: str = "none") -> RemoteStore:
    store = made(s3, chunk, compression)
    for a in range(0, len(VALUES), LENGTH):
        with store.region(a, min(a + LENGTH, len(VALUES))) as region:
            region.write(a, VALUES[a : a + LENGTH])
    return store


def shards_of(store: RemoteStore) -> Shards:
    """As another process finds them, which knows no index yet."""
    return RemoteStore(store.path).shards


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often objects were asked for, by what was wanted of them."""
    asked = Counter[str]()

    def counted(name: str) -> Callable[..., Any]:
        read = getattr(RemotePath, name)

        def asking(*arguments: Any) -> Any:
            asked[name] += 1
            return read(*arguments)

        return asking

    for name in ("read_whole", "read_end", "read_spans"):
        monkeypatch.setattr(RemotePath, name, counted(name))
    return asked


@pytest.fixture(params=["at once", "in parts"])
def received(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole shards, small as they are here, come by one request, or by four."""
    if request.param == "in parts":
        monkeypatch.setattr(ranges, "PART", PART)


@pytest.mark.usefixtures("received")
@pytest.mark.parametrize("compression", ["none", "lz4", "zstd"])
@pytest.mark.parametrize("chunk", [1, 2])
def test_what_zarr_wrote_is_read_whole_and_in_part(
    s3: Bucket, chunk: int, compression: str
) -> None:
    store, values = made(s3, chunk, compression), VALUES.copy()
    values[6:8] = values[12:16] = np.nan  # zarr writes neither such chunks nor such shards
    array: Any = zarr.open_group(store.zarr_store(), mode="r+")["features"]
    array[...] = values
    assert len([*store.names_below("features")]) == 1 + 5
    order = np.random.default_rng(0).permutation(np.repeat(np.arange(23), 2))
    for windows in (np.arange(23), np.arange(23)[::-1], np.arange(2, 21), order, order[:5]):
        for _ in ("the first time", "with what is known by then"):
            assert np.array_equal(store.read(windows), values[windows], equal_nan=True)
    for shard in (0, 1, 5):
        assert store.shards.checksum(shard) == shards_of(store).checksum(shard)
    with pytest.raises(FileNotFoundError):
        store.shards.checksum(3)


@pytest.mark.usefixtures("received")
def test_any_windows_are_read_in_the_order_asked_for(s3: Bucket) -> None:
    stores = {chunk: written(s3, chunk) for chunk in (1, 2, 4)}

    @settings(max_examples=20)
    @given(windows=st.lists(st.integers(0, 22)), chunk=st.sampled_from([*stores]))
    def check(windows: list[int], chunk: int) -> None:
        assert np.array_equal(stores[chunk].read(np.array(windows, np.int64)), VALUES[windows])

    check()


@pytest.mark.parametrize(
    ("windows", "asked"),
    [
        (np.arange(23), {"read_whole": 6}),
        (np.arange(4, 12)[::-1], {"read_whole": 2}),
        (np.arange(20, 23), {"read_whole": 1}),  # all of the last
        (np.arange(2, 8), {"read_whole": 1, "read_end": 1, "read_spans": 1}),
        (np.array([0, 9, 18]), {"read_end": 3, "read_spans": 3}),
        (np.array([], np.int64), {}),
    ],
)
def test_a_whole_shard_is_one_request(
    s3: Bucket, requests: Counter[str], windows: npt.NDArray[np.int64], asked: dict[str, int]
) -> None:
    store = written(s3)
    requests.clear()
    assert np.array_equal(store.read(windows), VALUES[windows])
    assert requests == asked


def test_a_shard_is_verified_by_one_request(s3: Bucket, requests: Counter[str]) -> None:
    store = written(s3)
    requests.clear()
    store.shards.checksum(1)
    assert requests == {"read_whole": 1}


@pytest.mark.usefixtures("received")
@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_damage_is_found_when_it_is_read_and_when_it_is_verified(
    s3: Bucket, compression: str
) -> None:
    store = written(s3, compression=compression)
    first = store.locate(store.file_of(0))
    good = first.read_bytes()
    flipped = [
        good[:place] + bytes([good[place] ^ 4]) + good[place + 1 :]
        for place in range(0, len(good), 131)
    ]
    for data in (*flipped, good[: len(good) // 2], good[1:], good[:-1], good[:3], b""):
        first.write_bytes(data)
        for use in (lambda shards: shards.read(np.arange(6)), lambda shards: shards.checksum(0)):
            with pytest.raises(ValueError, match="checksum"):
                use(shards_of(store))
    first.write_bytes(good)
    assert np.array_equal(shards_of(store).read(np.arange(6)), VALUES[:6])


def test_a_shard_that_was_replaced_is_read_as_it_is_now(s3: Bucket) -> None:
    store, windows = written(s3, compression="zstd"), np.arange(8)
    assert np.array_equal(store.read(windows[:3]), VALUES[:3])  # its index is kept
    changed = np.zeros_like(VALUES[:4])
    pieces, _ = store.shards.encode(changed)
    store.put(store.file_of(0), pieces)
    assert np.array_equal(store.read(windows), np.concatenate([changed, VALUES[4:8]]))


def test_a_large_shard_comes_in_parts(s3: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    store, read, given = written(s3), RemotePath.read_part, list[tuple[int, int | None]]()

    def reading(path: RemotePath, start: int, stop: int | None) -> Any:
        given.append((start, stop))
        return read(path, start, stop)

    monkeypatch.setattr(RemotePath, "read_part", reading)
    monkeypatch.setattr(ranges, "PART", PART)
    assert np.array_equal(store.read(np.arange(4)), VALUES[:4])
    size = store.locate(store.file_of(0)).stat().st_size
    bounds = sorted((start, stop or size) for start, stop in given)
    assert [stop for _, stop in bounds[:-1]] == [start for start, _ in bounds[1:]]
    assert (bounds[0][0], bounds[-1][1], len(bounds)) == (0, size, size // PART)


def test_parts_of_different_versions_are_not_put_together(
    s3: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, read, replaced = written(s3), RemotePath.read_part, Event()
    changed = -VALUES[:4]

    def reading(path: RemotePath, start: int, stop: int | None) -> Any:
        if start:
            assert replaced.wait(60)
            return read(path, start, stop)
        found = read(path, start, stop)
        store.put(store.file_of(0), store.shards.encode(changed)[0])
        replaced.set()
        return found

    monkeypatch.setattr(RemotePath, "read_part", reading)
    monkeypatch.setattr(ranges, "PART", PART)
    assert np.array_equal(store.read(np.arange(4)), changed)


@given(parts=st.lists(st.binary(max_size=5), min_size=1), start=st.integers(0, 20))
def test_what_was_received_is_cut_as_if_it_were_in_one_piece(
    parts: list[bytes], start: int
) -> None:
    found, data = Received([*map(memoryview, parts)]), b"".join(parts)
    assert len(found) == len(data)
    for stop in range(start, len(data) + 2):
        assert found.cut(start, stop).tobytes() == data[start:stop]
