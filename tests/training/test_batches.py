"""Batches give what was stored: in order, shuffled, one by one, as often as wanted."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import zarr
from conftest import forget
from hypothesis import given
from hypothesis import strategies as st

import pipeline as pl

Array = npt.NDArray[Any]
N = 75


@pytest.fixture(scope="module", params=["zarr", "h5"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of 75 windows, the label of window t being t."""
    import soundfile

    folder = tmp_path_factory.mktemp("batches")
    samples = np.random.default_rng(0).standard_normal(N * 1000 - 300) / 10
    soundfile.write(folder / "x.wav", samples, 1000)
    out = folder / f"x.{request.param}"
    feature = pl.Spectrogram(n_fft=32, frame_length=20)
    assert pl.extract(folder / "x.wav", out, feature, labels=np.arange(N)).ok
    return out


@pytest.fixture(scope="module")
def features(store: Path) -> Array:
    """All features of the store, computed by themselves."""
    recordings = pl.scan(store.parent / "x.wav")
    grid = pl.WindowGrid(recordings)
    feature = pl.Spectrogram(n_fft=32, frame_length=20)
    return np.asarray(pl.map_windows(feature, pl.open_windows(recordings, grid), grid))


@pytest.mark.parametrize("batch_size", [1, 7, 64, 75, 100])
@pytest.mark.parametrize("shuffle", [False, True])
def test_every_window_comes_once_with_its_label(
    store: Path, features: Array, batch_size: int, shuffle: bool
) -> None:
    batches = pl.Batches(store, batch_size, shuffle, seed=3)
    seen: list[int] = []
    for X, y in batches:
        assert y is not None
        assert np.array_equal(X, features[y])
        seen.extend(y.tolist())
    assert sorted(seen) == list(range(N))
    assert (seen == list(range(N))) is not shuffle
    assert len(batches) == -(-N // batch_size)


def test_one_by_one_is_the_article_s_generator(store: Path, features: Array) -> None:
    batches = pl.Batches(store, batch_size=None)
    assert len(batches) == N
    for t, (X, y) in enumerate(batches):
        assert X.shape == features.shape[1:]
        assert np.array_equal(X, features[t])
        assert y == t
    X, y = batches[-1]
    assert np.array_equal(X, features[-1])
    assert y == N - 1


def test_the_order_follows_from_seed_and_epoch_alone(store: Path) -> None:
    def order(seed: int, epoch: int = 0) -> list[int]:
        batches = pl.Batches(store, 16, shuffle=True, seed=seed)
        batches.set_epoch(epoch)
        return [t for _, y in batches if y is not None for t in y.tolist()]

    assert order(1) == order(1)
    assert order(1) != order(2)
    assert order(1, epoch=1) == order(1, epoch=1) != order(1)
    batches = pl.Batches(store, 16, shuffle=True, seed=1)
    first, second = ([y.tolist() for _, y in batches if y is not None] for _ in range(2))
    assert first == second


@given(
    st.lists(st.tuples(st.sampled_from(["epoch", "begin", "next", "index"]), st.integers(0, 3))),
    st.sampled_from([None, 1, 2, 9]),
    st.sampled_from([None, 4, 16]),
    st.sampled_from([0, 40_000, 1 << 26]),
)
def test_a_loop_keeps_the_order_that_it_began_with(
    store: Path,
    features: Array,
    steps: list[tuple[str, int]],
    mix: int | None,
    batch_size: int | None,
    prefetch_bytes: int,
) -> None:
    def made(epoch: int) -> pl.Batches:
        options: dict[str, Any] = {"mix": mix, "prefetch_bytes": prefetch_bytes}
        batches = pl.Batches(store, batch_size, shuffle=True, **options)
        batches.set_epoch(epoch)
        return batches

    def take(loop: tuple[Any, list[int], int]) -> bool:
        for X, y in loop[0]:
            assert np.array_equal(X, features[y])
            loop[1].extend(np.atleast_1d(y).tolist())
            return True
        return False

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(made(0)._source.store), "shard", 16)
        batches, epoch = made(0), 0
        orders = [np.concatenate([*map(b.windows, range(len(b)))]) for b in map(made, range(4))]
        loops: list[tuple[Any, list[int], int]] = [(iter(batches), [], 0)]
        for step, number in steps:
            if step == "epoch":
                batches.set_epoch(epoch := number)
            elif step == "begin" and len(loops) < 3:
                loops.append((iter(batches), [], epoch))
            elif step == "next":
                take(loops[number % len(loops)])
            elif step == "index":
                X, y = batches[number]
                assert np.array_equal(X, features[y])
                first = number * (batch_size or 1)
                places = slice(first, first + (batch_size or 1))
                assert np.array_equal(np.atleast_1d(y), orders[epoch][places])  # type: ignore[type-var]
        for loop in loops:
            while take(loop):
                pass
            assert sorted(loop[1]) == list(range(N))
            assert np.array_equal(loop[1], orders[loop[2]])


def test_indexing_gives_what_iterating_gives(store: Path) -> None:
    batches = pl.Batches(store, 16, shuffle=True)
    for i, (X, y) in enumerate(batches):
        again, label = batches[i]
        assert np.array_equal(X, again)
        assert np.array_equal(y, label)  # type: ignore[arg-type]
        assert np.array_equal(batches.windows(i), label)  # type: ignore[arg-type]
    assert np.array_equal(batches[-1][0], batches[len(batches) - 1][0])
    for i in (len(batches), -len(batches) - 1):
        with pytest.raises(IndexError, match=f"batch {i} of 5"):
            batches[i]


def test_the_last_short_batch_is_kept_unless_dropped(store: Path) -> None:
    assert [len(X) for X, _ in pl.Batches(store, 16)] == [16, 16, 16, 16, 11]
    dropped = pl.Batches(store, 16, drop_last=True)
    assert [len(X) for X, _ in dropped] == [16] * 4
    assert len(dropped) == 4
    assert len(pl.Batches(store, 16, shuffle=True, drop_last=True)) == 4


def test_x_and_y_are_the_caller_s_own(store: Path, features: Array) -> None:
    for size in (16, None):
        batches = pl.Batches(store, size)
        for X, y in batches:
            X[...] = 0
            if size:
                y[...] = -1  # type: ignore[index]
        X, y = batches[0]
        assert np.array_equal(X, features[:16] if size else features[0])
        assert np.array_equal(y, np.arange(16) if size else 0)  # type: ignore[arg-type]


def test_x_begins_where_frameworks_take_it_without_a_copy(store: Path) -> None:
    found = [pl.Batches(store, 4)[1]]
    for size, mix in ((4, None), (100, None), (None, None), (7, 2)):
        found += pl.Batches(store, size, shuffle=True, mix=mix)
    found += pl.Batches(store, 100, weights=np.ones(len(pl.Batches(store).valid)))
    found += pl.Batches(store, 3, augment=lambda X, y, rng: (X * np.float32(2), y))
    assert all(X.ctypes.data % 64 == 0 for X, _ in found)


def test_memory_is_used_again_but_none_that_the_caller_still_holds(
    store: Path, features: Array
) -> None:
    batches = pl.Batches(store, 2, prefetch_bytes=1)
    for _ in range(2):
        places = [X.ctypes.data for X, _ in batches]
        assert len(set(places)) <= 8 < len(places)
    held = [X[1] if len(X) > 1 else X[0] for X, _ in batches]  # a view alone keeps it
    whole = [X for X, _ in batches]
    expected = [features[min(t + 1, N - 1)] for t in range(0, N, 2)]
    assert np.array_equal(held, expected)
    assert np.array_equal(np.concatenate(whole), features)
    again = pickle.loads(pickle.dumps(batches))
    assert np.array_equal(np.concatenate([X for X, _ in again]), features)


def test_a_batch_may_be_asked_for_while_others_are_read(store: Path, features: Array) -> None:
    batches = pl.Batches(store, 4, shuffle=True)
    for i, (X, y) in enumerate(batches):
        assert np.array_equal(X, features[batches.windows(i)])
        other, _ = batches[-1 - i]
        assert np.array_equal(other, features[batches.windows(-1 - i)])
        assert np.array_equal(y, batches.windows(i))  # type: ignore[arg-type]


def test_the_next_batch_is_read_while_the_caller_works(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = pl.Batches(store, 16)
    reads = 0
    second = threading.Event()
    true_read = type(batches._source.store).read

    def counting(self: Any, *arguments: Any) -> Array:
        nonlocal reads
        reads += 1
        if reads == 2:
            second.set()
        return true_read(self, *arguments)

    monkeypatch.setattr(type(batches._source.store), "read", counting)
    iterator = iter(batches)
    next(iterator)
    assert second.wait(10)  # without another call to next
    assert reads <= 3
    iterator.close()  # type: ignore[attr-defined]


def test_leaving_early_leaves_no_thread_behind(store: Path) -> None:
    for _ in pl.Batches(store, 4):
        break
    for thread in threading.enumerate():
        if thread.name.startswith("batches"):
            thread.join(5)
            assert not thread.is_alive()


@pytest.mark.parametrize("batch_size", [0, -1, 2.5, True, "8"])
def test_a_batch_size_of_nothing_is_refused(store: Path, batch_size: Any) -> None:
    with pytest.raises(ValueError, match="a whole number of windows above 0, or None"):
        pl.Batches(store, batch_size)


@pytest.mark.parametrize("number", [None, -1, 1.5, True, "1"])
def test_what_is_no_whole_number_is_refused(store: Path, number: Any) -> None:
    with pytest.raises(ValueError, match=rf"seed is {number!r}; it must be a whole number from 0"):
        pl.Batches(store, seed=number)
    with pytest.raises(ValueError, match=rf"epoch is {number!r}; it must be a whole number from 0"):
        pl.Batches(store).set_epoch(number)
    with pytest.raises(ValueError, match=r"prefetch_bytes is .*; it must be a whole number of byt"):
        pl.Batches(store, prefetch_bytes=number)


@pytest.mark.parametrize("i", [slice(0, 2), 1.5, None, "1", [0, 1]])
def test_one_batch_is_given_at_a_time(store: Path, i: Any) -> None:
    with pytest.raises(TypeError, match=r"pass its number, one batch at a time$"):
        pl.Batches(store)[i]


def test_whole_numbers_of_numpy_are_taken(store: Path, features: Array) -> None:
    numbers: Any = np.int64(16), np.uint8(2)
    batches = pl.Batches(store, numbers[0], True, numbers[1], mix=numbers[1])
    batches.set_epoch(numbers[1])
    X, y = batches[numbers[1]]
    assert np.array_equal(X, features[y])
    same = pl.Batches(store, 16, True, 2, mix=2)
    same.set_epoch(2)
    assert np.array_equal(same.windows(2), batches.windows(numbers[1]))


def test_an_unfinished_store_is_refused(tmp_path: Path, store: Path) -> None:
    import shutil

    copy = tmp_path / store.name
    if store.is_dir():
        shutil.copytree(store, copy)
    else:
        shutil.copy(store, copy)
        shutil.copytree(f"{store}.parts", f"{copy}.parts")
    assert len(pl.Batches(copy)) == 2
    forget(copy)
    with pytest.raises(ValueError, match="is not finished: 0 of 1 regions are done"):
        pl.Batches(copy)


def test_what_is_damaged_or_missing_raises_and_names_the_window(
    tmp_path: Path, store: Path
) -> None:
    import shutil

    copy = tmp_path / store.name
    if store.is_dir():
        shutil.copytree(store, copy)
        part = copy / "features" / "c.0.0.0"
    else:
        shutil.copy(store, copy)
        shutil.copytree(f"{store}.parts", f"{copy}.parts")
        (part,) = Path(f"{copy}.parts").glob("*-00000000.h5")
    data = bytearray(part.read_bytes())
    data[len(data) // 2] ^= 1
    part.write_bytes(data)
    with pytest.raises(OSError, match=rf"window \d+, in {part}, is damaged"):
        list(pl.Batches(copy, 75))
    part.unlink()
    with pytest.raises(
        OSError, match=rf"window 0, in {part}, is missing|parts?.* missing|{part}, which is missing"
    ):
        list(pl.Batches(copy))


def test_without_labels_y_is_none(tmp_path: Path, store: Path) -> None:
    out = tmp_path / "x.zarr"
    pl.extract(store.parent / "x.wav", out, pl.Spectrogram(n_fft=32, frame_length=20))
    assert pl.Batches(out)[0][1] is None
    assert all(y is None for _, y in pl.Batches(out, batch_size=None))
    assert "label" not in zarr.open_group(out)


def test_names_of_classes_come_along(tmp_path: Path, store: Path) -> None:
    out = tmp_path / f"x{store.suffix}"
    names = ["owl" if t % 3 else "fox" for t in range(N)]
    feature = pl.Spectrogram(n_fft=32, frame_length=20)
    pl.extract(store.parent / "x.wav", out, feature, labels=names)
    batches = pl.Batches(out)
    assert batches.classes == ["fox", "owl"]
    assert [batches.classes[i] for i in batches[0][1]] == names[:64]  # type: ignore[union-attr]


@pytest.mark.parametrize("batch_size", [1, 7, 64, 75, 100, None])
@pytest.mark.parametrize("mix", [1, 2, 3, 99])
def test_shards_are_mixed_and_read_whole_once(
    store: Path, features: Array, batch_size: int | None, mix: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = pl.Batches(store, batch_size, shuffle=True, seed=5, mix=mix)
    kind, reads = type(batches._source.store), []
    monkeypatch.setattr(kind, "shard", 16)
    whole = kind.read
    monkeypatch.setattr(
        kind, "read", lambda self, t, *more: reads.append(t) or whole(self, t, *more)
    )
    batches.set_epoch(1)
    order = np.concatenate([batches.windows(i) for i in range(len(batches))])
    assert sorted(order.tolist()) == list(range(N))
    seen = []
    for X, y in batches:
        assert y is not None
        assert np.array_equal(X, features[y])
        seen.append(np.atleast_1d(y))
    assert np.array_equal(np.concatenate(seen), order)
    shards = [set((t // 16).tolist()) for t in reads]
    assert all(len(some) <= mix for some in shards)
    assert sum(map(len, shards)) == 5, "each shard is read once"
    assert all((np.diff(t) > 0).all() for t in reads), "and from its beginning to its end"
    for shard in range(5):
        places = np.flatnonzero(order // 16 == shard)
        assert places.max() - places.min() < mix * 16
    again = pl.Batches(store, batch_size, shuffle=True, seed=5, mix=mix)
    again.set_epoch(1)
    assert np.array_equal(np.concatenate([again.windows(i) for i in range(len(again))]), order)
    again.set_epoch(2)
    assert mix == 99 or not np.array_equal(again.windows(0), batches.windows(0)) or len(again) > 50


def test_mix_goes_with_shuffle(store: Path) -> None:
    for options in ({"mix": 2}, {"mix": 0, "shuffle": True}):
        with pytest.raises(ValueError, match=r"mix is \d; it must be a whole number of shards"):
            pl.Batches(store, **options)  # type: ignore[arg-type]


class Prompt(ThreadPoolExecutor):
    """Does at once, in a thread, what is submitted, so that it is known what has been done."""

    def submit(self, function: Callable[..., Any], /, *given: Any, **more: Any) -> Future[Any]:
        future = super().submit(function, *given, **more)
        wait([future])
        return future


@pytest.fixture
def reads(store: Path, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many windows were read by each read."""
    found: list[int] = []
    kind = type(pl.Batches(store)._source.store)
    whole = kind.read

    def read(self: Any, windows: Array, *more: Any) -> Array:
        if len(windows):
            found.append(len(windows))
        return whole(self, windows, *more)

    monkeypatch.setattr(kind, "read", read)
    monkeypatch.setattr("pipeline.training.batches.ThreadPoolExecutor", Prompt)
    return found


def test_what_is_read_ahead_is_bounded_in_bytes(store: Path, reads: list[int]) -> None:
    batches = pl.Batches(store, 25, prefetch_bytes=25 * batches_bytes(store))
    reads.clear()
    ahead = []
    for given_, _ in enumerate(batches, 1):
        assert set(reads) == {25}
        ahead.append(len(reads) - given_)
    assert ahead == [1, 1, 0]


def test_what_is_read_ahead_is_bounded_in_number(
    store: Path, reads: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.training.batches.READ_WINDOWS", 2)
    monkeypatch.setattr("pipeline.training.batches.cores", lambda: 1)
    batches = iter(pl.Batches(store, 1))
    for given_ in range(1, 41):
        next(batches)
        assert sum(reads) <= given_ + 2 * 9
    assert len(list(batches)) == N - 40


@pytest.mark.parametrize("batch_size", [1, 8, None])
@pytest.mark.parametrize("shuffle", [False, True])
def test_small_batches_are_read_together_and_not_all_before_the_second(
    tmp_path: Path,
    store: Path,
    batch_size: int | None,
    shuffle: bool,
    reads: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import soundfile

    n, together = 4000, 128
    monkeypatch.setattr("pipeline.training.batches.READ_WINDOWS", together)
    monkeypatch.setattr("pipeline.training.batches.cores", lambda: 1)
    samples = np.random.default_rng(0).random(n).astype(np.float32) / 2
    soundfile.write(tmp_path / "x.wav", samples, 8000, "FLOAT")
    out = tmp_path / f"x{store.suffix}"
    assert pl.extract(tmp_path / "x.wav", out, Sample(), np.arange(n), window=1 / 8000).ok
    reads.clear()
    iterator = iter(pl.Batches(out, batch_size, shuffle))
    first = [next(iterator), next(iterator)]
    assert sum(reads) <= 9 * together
    rows = [(np.atleast_1d(y), X.reshape(-1)) for X, y in [*first, *iterator]]  # type: ignore[type-var]
    y, X = (np.concatenate(columns) for columns in zip(*rows, strict=True))
    assert np.array_equal(np.sort(y), np.arange(n))
    assert np.array_equal(X, samples[y])
    assert len(reads) == -(-n // together)


class Sample:
    """One value a window, as it is."""

    shape, frequencies, times = (1,), None, np.zeros(1)

    def __call__(self, windows: Array) -> Array:
        return windows[:, :1]


def batches_bytes(store: Path) -> int:
    return int(pl.Batches(store, 1)[0][0].nbytes)


def test_drop_last_of_less_than_a_batch_gives_none(store: Path) -> None:
    assert list(pl.Batches(store, N + 1, drop_last=True)) == []
    assert len(list(pl.Batches(store, 50, drop_last=True))) == 1
