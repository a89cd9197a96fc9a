"""The order of windows: a permutation, the same everywhere and for ever, that looks random."""

from __future__ import annotations

import hashlib
import pickle
import tracemalloc
from collections import Counter
from itertools import islice, pairwise, permutations
from math import isqrt
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pipeline.training.order import Order

Indices = npt.NDArray[np.int64]
HUGE = 10**10
LARGE = [999, 1000, 1001, 4095, 1 << 20, (1 << 20) + 1]
LEAST = 1e-4  # so rare a statistic on either side is not taken for chance

sizes = st.integers(0, 4000)
numbers = st.integers(0, 1 << 80)
mixes = st.one_of(st.none(), st.integers(1, 50))
ends = st.none() | st.integers(-4000, 4000)
slices = st.builds(slice, ends, ends, st.sampled_from([None, 1]))


def by_hand(n: int, seed: int, epoch: int) -> list[int]:
    """The order, number by number, in Python's integers."""
    rounds = 6 if n >= 1000 else 8 if n >= 100 else 16
    text = f"{n} {seed} {epoch} windows"
    digest = hashlib.shake_256(text.encode()).digest(8 * rounds)
    keys = [int.from_bytes(digest[i : i + 8], "little") for i in range(0, len(digest), 8)]
    rows = next(a for a in range(n + 1) if a * a >= n)
    columns = next(b for b in range(n + 1) if rows * b >= n)

    def moved(number: int) -> int:
        row, column, a, b = *divmod(number, columns), rows, columns
        for key in keys:
            x = (column + key) * 0x9E3779B97F4A7C15 % (1 << 64)
            x = (x ^ x >> 32) * 0x9E3779B97F4A7C15 % (1 << 64)
            row, column, a, b = column, ((x >> 32) + row) % a, b, a
        return row * columns + column

    order = []
    for place in range(n):
        window = moved(place)
        while window >= n:
            window = moved(window)
        order.append(window)
    return order


@pytest.mark.parametrize("n", [0, 1, 2, 3, 10, 99, 100, 999, 1000, 1001, 4097])
def test_it_is_the_permutation_that_is_meant(n: int) -> None:
    for seed, epoch in ((0, 0), (7, 2), (1 << 70, 1)):
        assert Order(n, True, seed, epoch)[:].tolist() == by_hand(n, seed, epoch)


@pytest.mark.parametrize(
    ("order", "first"),
    [
        (Order(3, True), [1, 0, 2]),
        (Order(10, True), [1, 2, 0, 7, 5, 6, 4, 9, 3, 8]),
        (Order(10, True, seed=1), [7, 3, 5, 4, 1, 8, 0, 2, 9, 6]),
        (Order(10, True, epoch=1), [8, 5, 0, 4, 7, 6, 2, 1, 3, 9]),
        (Order(10, True, seed=1 << 70, epoch=3), [7, 4, 3, 6, 5, 0, 8, 2, 1, 9]),
        (Order(1000, True), [363, 313, 123, 200, 540, 550, 266, 651]),
        (Order(1 << 20, True), [879158, 231810, 955678, 975621, 178872, 43088]),
        (Order(HUGE, True), [8560291166, 2033248762, 9149613304, 9415897759]),
        (Order(HUGE, True, 0, 0, 8, 41), [4941583463, 4136839728, 4136839699, 4136839689]),
        (
            Order(20, True, mix=2, shard=3),
            [19, 18, 5, 4, 3, 11, 6, 7, 8, 9, 10, 16, 0, 17, 2, 15, 1, 13, 12, 14],
        ),
    ],
)
def test_the_order_of_a_seed_never_changes(order: Order, first: list[int]) -> None:
    assert order[: len(first)].tolist() == first
    assert pickle.loads(pickle.dumps(order))[: len(first)].tolist() == first


@given(sizes, numbers, numbers, mixes, st.integers(1, 700))
def test_every_window_comes_once(
    n: int, seed: int, epoch: int, mix: int | None, shard: int
) -> None:
    order = Order(n, True, seed, epoch, mix, shard)
    assert np.array_equal(np.sort(order[:]), np.arange(n))
    assert len(order) == n


@given(sizes, numbers, mixes, st.integers(1, 700), slices, st.booleans())
def test_a_slice_is_that_of_the_whole(
    n: int, seed: int, mix: int | None, shard: int, places: slice, shuffle: bool
) -> None:
    order = Order(n, shuffle, seed, 0, mix, shard)
    assert order[places].dtype == np.int64
    assert np.array_equal(order[places], order[:][places])
    assert shuffle or np.array_equal(order[places], np.arange(n)[places])


@pytest.mark.parametrize("mix", [None, 1, 8])
def test_ten_thousand_million_windows_need_no_array(mix: int | None) -> None:
    tracemalloc.start()
    order = Order(HUGE, True, seed=1, mix=mix, shard=1000)
    starts = np.linspace(0, HUGE - 100, 1000).astype(int).tolist()
    windows = np.concatenate([order[start : start + 100] for start in starts])
    if mix:
        mixtures = order.mixtures()
        assert next(mixtures) == (0, 1000 * mix)
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()
    assert len(set(windows.tolist())) == len(windows)
    assert 0 <= windows.min() < HUGE / 100
    assert HUGE * 0.99 < windows.max() < HUGE


# What looks random: with fixed seeds, so that what is found here is found everywhere.


def is_likely(counts: npt.ArrayLike, free: int | None = None, scale: float = 1) -> bool:
    """Whether counts, of which so many are free, are as even as chance would have them."""
    counts = np.asarray(counts, float)
    chi = scale * ((counts - counts.mean()) ** 2).sum() / counts.mean()
    return bool(LEAST < stats.chi2.sf(chi, free or counts.size - 1) < 1 - LEAST)


def are_independent(a: Indices, b: Indices, n: int) -> bool:
    """Whether pairs of numbers below n, each of which comes once, fill a table evenly."""
    cells = min(32, isqrt(len(a) // 20))
    table = np.histogram2d(a, b, cells, [[0, n], [0, n]])[0]
    return bool(LEAST < stats.chi2_contingency(table).pvalue < 1 - LEAST)


@pytest.mark.parametrize("n", [2, 3, 4, 5])
def test_all_orders_of_a_few_windows_are_as_frequent(n: int) -> None:
    found = Counter(tuple(Order(n, True, seed)[:].tolist()) for seed in range(3000))
    assert is_likely([found[order] for order in permutations(range(n))])


@pytest.mark.parametrize("n", [2, 3, 10, 37, 1000])
@pytest.mark.parametrize("by", ["seed", "epoch"])
def test_each_place_gets_each_window_as_often(n: int, by: str) -> None:
    orders = np.array([Order(n, True, **{by: number})[:] for number in range(1, 2001)])
    places = np.broadcast_to(np.arange(n), orders.shape)
    cells = min(n, 50)
    table = np.histogram2d(places.ravel(), orders.ravel(), cells, [[0, n], [0, n]])[0]
    assert is_likely(table, (cells - 1) ** 2, (n - 1) / n)  # the sums of rows and columns are fixed
    fixed = int((orders == places).sum())
    assert abs(fixed - 2000) < 4 * 2000**0.5


@pytest.mark.parametrize("n", [10, 36, 37, 100, 256])
@pytest.mark.parametrize("apart", [1, 2, "a row"])
def test_neighbours_in_small_orders_tell_nothing_of_each_other(n: int, apart: int | str) -> None:
    by = isqrt(n - 1) + 1 if isinstance(apart, str) else apart
    orders = np.array([Order(n, True, seed)[:] for seed in range(1000)])
    steps = np.bincount(((orders[:, by:] - orders[:, :-by]) % n).ravel(), minlength=n)[1:]
    assert is_likely(steps)


@pytest.mark.parametrize("n", LARGE)
def test_a_large_order_shows_no_pattern(n: int) -> None:
    order, places = Order(n, True, seed=5)[:], np.arange(n)
    assert are_independent(places, order, n)
    for by in (1, 2, 64, isqrt(n - 1) + 1):
        assert are_independent(order[by:], order[:-by], n)
        steps = (order[by:] - order[:-by]) % n
        assert is_likely(np.histogram(steps, 20, (0.5, n - 0.5))[0])
    assert abs(int((order[1:] > order[:-1]).sum()) - (n - 1) / 2) < 4 * (n / 12) ** 0.5
    assert (order == places).sum() < 8
    assert (np.abs(np.diff(order)) == 1).sum() < 12


@pytest.mark.parametrize("n", LARGE)
def test_orders_have_nothing_to_do_with_each_other(n: int) -> None:
    def order(seed: int = 0, epoch: int = 0, n: int = n) -> Indices:
        return Order(n, True, seed, epoch)[:]

    assert are_independent(order(), order(seed=1), n)
    assert are_independent(order(), order(epoch=1), n)
    assert are_independent(order(seed=1), order(epoch=1), n)
    assert are_independent(order(seed=1), order(seed=1 << 64 | 1), n)
    assert are_independent(order()[: n - 1], order(n=n - 1), n)


@pytest.mark.parametrize("mix", [1, 3, 8])
def test_mixtures_have_nothing_to_do_with_each_other(mix: int) -> None:
    size, n = mix * 1000, mix * 20_000
    order = Order(n, True, 0, 0, mix, 1000)
    rows = [np.argsort(np.argsort(order[a:b])) for a, b in order.mixtures()]
    for one, other in pairwise([np.arange(size), *rows]):
        assert are_independent(one, other, size)
    later = Order(n, True, 0, 1, mix, 1000)
    again = [np.argsort(np.argsort(later[a:b])) for a, b in later.mixtures()]
    for one, other in zip(rows, again, strict=True):
        assert are_independent(one, other, size)


# Mixed by shards.


@given(st.integers(0, 1000), numbers, st.integers(1, 50), st.integers(1, 700))
def test_a_mixture_is_of_so_many_whole_shards(n: int, seed: int, mix: int, shard: int) -> None:
    order = Order(n, True, seed, 0, mix, shard)
    mixtures = list(order.mixtures())
    shards = -(-n // shard)
    assert len(mixtures) == -(-shards // mix)
    assert [0, *(stop for _, stop in mixtures)] == [*(start for start, _ in mixtures), n]
    for number, (start, stop) in enumerate(mixtures, 1):
        windows = np.sort(order[start:stop])
        found = np.unique(windows // shard)
        assert len(found) == (mix if number < len(mixtures) else shards - mix * (len(mixtures) - 1))
        whole = (found[:, None] * shard + np.arange(shard)).ravel()
        assert np.array_equal(windows, whole[whole < n])


@given(st.integers(0, 1000), st.integers(1, 50), st.integers(1, 700), st.integers(0, 1000))
def test_mixtures_may_begin_at_any_place(n: int, mix: int, shard: int, place: int) -> None:
    order = Order(n, True, 0, 0, mix, shard)
    mixtures, found = list(order.mixtures()), list(order.mixtures(place))
    passed = len([stop for _, stop in mixtures if stop <= place])
    assert found in (mixtures[passed:], mixtures[max(passed - 1, 0) :])


@given(st.integers(1, 1000), numbers, st.integers(1, 50), st.integers(1, 700), st.data())
def test_places_of_many_mixtures_are_those_of_each(
    n: int, seed: int, mix: int, shard: int, data: st.DataObject
) -> None:
    order = Order(n, True, seed, 0, mix, shard)
    places = np.array(data.draw(st.lists(st.integers(0, n - 1), max_size=30)), np.int64)
    alone = [int(order.at(place[None])[0]) for place in places]
    assert order.at(places).tolist() == alone


def test_each_shard_comes_in_each_mixture_as_often() -> None:
    counts = np.zeros((4, 11))
    for seed in range(800):
        order = Order(107, True, seed, 0, 3, 10)
        for number, (start, stop) in enumerate(order.mixtures()):
            counts[number, np.unique(order[start:stop] // 10)] += 1
    expected = np.array([3, 3, 3, 2])[:, None] * 800 / 11
    chi = ((counts - expected) ** 2 / expected).sum() * 10 / 11
    assert LEAST < stats.chi2.sf(chi, 3 * 10) < 1 - LEAST


def test_ten_million_shards_need_no_list() -> None:
    order = Order(10**7 * 41 - 7, True, mix=8, shard=41)
    tracemalloc.start()
    sizes = [stop - start for start, stop in islice(order.mixtures(), 1000)]
    assert tracemalloc.get_traced_memory()[1] < 100_000
    tracemalloc.stop()
    assert set(sizes) <= {8 * 41, 8 * 41 - 7}


# A subset, and ranks.


@given(sizes, st.data(), mixes, st.integers(1, 700), st.booleans(), slices)
def test_a_subset_comes_as_all_would(
    n: int, data: st.DataObject, mix: int | None, shard: int, shuffle: bool, places: slice
) -> None:
    chosen = np.flatnonzero(np.random.default_rng(data.draw(st.integers(0, 9))).random(n) < 0.3)
    order = Order(n, shuffle, 1, 2, mix, shard, chosen)
    assert len(order) == len(chosen)
    assert np.array_equal(np.sort(order[:]), chosen)
    assert np.array_equal(
        order[places], chosen[Order(len(chosen), shuffle, 1, 2, mix, shard)[places]]
    )


@given(sizes, mixes, st.booleans(), st.integers(1, 9), st.integers(1, 9), st.booleans())
def test_a_rank_has_its_rows_of_each_batch(
    n: int, mix: int | None, shuffle: bool, world_size: int, rows: int, subset: bool
) -> None:
    windows = np.arange(0, n, 3) if subset else None
    options: Any = {"n": n, "shuffle": shuffle, "mix": mix, "shard": 64, "windows": windows}
    everything, batch = Order(**options)[:], rows * world_size
    for rank in range(world_size):
        order = Order(**options, rank=rank, world_size=world_size)
        assert len(order) == len(everything)
        batches = [order[start : start + batch] for start in range(0, len(order), batch)]
        for number, found in enumerate(batches):
            whole = everything[number * batch : (number + 1) * batch]
            assert np.array_equal(found, whole[rank::world_size])
        several = order[: 3 * batch]
        assert np.array_equal(several, np.concatenate([several[:0], *batches[:3]]))
