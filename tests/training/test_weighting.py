"""Windows are drawn by their weights: as often as these say, and the same whenever asked for."""

from __future__ import annotations

import hashlib
import pickle
from typing import Any

import numpy as np
import pytest
from conftest import Array
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from pipeline.training.weighting import ClassWeights, Weighted, WindowWeights, _below, _hashes

CLASSES = ["bat", "fox", "owl"]
RNG = np.random.default_rng(0)
# A rare class, none with a window of its own, windows of several classes, and of none.
Y = (RNG.random((500, 3)) < (0.02, 0.5, 0.2)).astype(np.uint8)
NONE = ~Y.any(axis=1)
EVERY = np.arange(500)


def by_class(weights: Any = "balanced", windows: Array | None = None) -> ClassWeights:
    return ClassWeights.of(Y, len(Y), windows, CLASSES, weights)


def expected(weights: dict[str, float], windows: Array = EVERY) -> Array:
    """By hand: how often each window is drawn."""
    chosen = np.isin(EVERY, windows)
    members = {name: (Y[:, k] > 0) & chosen for k, name in enumerate(CLASSES)}
    members["none"] = NONE & chosen
    total = sum(weights.values())
    parts = (w / total * members[name] / members[name].sum() for name, w in weights.items())
    return np.sum([*parts], axis=0)


def check(drawn: Array, shares: Array) -> None:
    counts = np.bincount(drawn, minlength=len(shares))
    assert not counts[shares == 0].any()
    some = shares > 0
    assert chisquare(counts[some], shares[some] * len(drawn)).pvalue > 1e-3


ALIKE = dict.fromkeys([*CLASSES, "none"], 1.0)
MAPPINGS = [
    {"bat": 1, "fox": 2, "owl": 3},
    {"bat": 0, "fox": 0.001, "owl": 0, "none": 0.004},
    {"bat": 1e-3, "fox": 1e3, "owl": 7},
]


@pytest.mark.parametrize("weights", ["balanced", *MAPPINGS])
@pytest.mark.parametrize("windows", [None, np.arange(0, 500, 3)])
def test_a_class_is_drawn_and_then_a_window_of_it(weights: Any, windows: Array | None) -> None:
    drawn = Weighted(by_class(weights, windows), 200_000, seed=1)[:]
    shares = expected(
        ALIKE if weights == "balanced" else weights, EVERY if windows is None else windows
    )
    check(drawn, shares)


def test_windows_are_drawn_by_their_own_weights() -> None:
    rng = np.random.default_rng(1)
    weights = rng.random(500) ** 3 * (rng.random(500) < 0.7)
    check(Weighted(WindowWeights.of(weights, 500, None), 200_000)[:], weights / weights.sum())
    some = rng.permutation(500)[:100]
    there = np.where(np.isin(EVERY, some), weights, 0)
    check(Weighted(WindowWeights.of(weights, 500, some), 200_000)[:], there / there.sum())
    check(Weighted(WindowWeights.of([True, False, True], 3, None), 999)[:], np.array([0.5, 0, 0.5]))


@pytest.mark.parametrize("factor", [1e-300, 5e-324, 3.0, 1e300])
def test_weights_of_any_size_and_nothing_above_0_is_lost(factor: float) -> None:
    weights = np.array([0, 1, 0, 2, 1]) * factor
    sums = WindowWeights.of(weights, 5, None).ends.tolist()
    one = sums[1]
    assert sums == [0, one, one, 3 * one, 4 * one]
    tiny = WindowWeights.of([1, 1e-30, 0], 3, None).ends.tolist()
    assert [tiny[0], tiny[1] - tiny[0], tiny[2] - tiny[1]] == [2**59, 1, 0]


def test_one_number_a_window_is_its_class() -> None:
    labels = np.array([10, 2, 2, 2, -1])
    drawn = Weighted(ClassWeights.of(labels, 5, None, None, "balanced"), 30_000)[:]
    check(drawn, np.array([3, 1, 1, 1, 3]) / 9)
    weights = ClassWeights.of(labels, 5, None, None, {"2": 1, 10: 0, -1: 1})
    check(Weighted(weights, 30_000)[:], np.array([0, 1, 1, 1, 3]) / 6)


def test_a_class_is_heard_in_a_window_if_in_a_frame() -> None:
    frames = np.zeros((4, 2, 5), np.float32)
    frames[0, 0, 3], frames[2, 1, 0] = 0.1, 1
    weights = ClassWeights.of(frames, 4, None, ["a", "b"], {"a": 1, "b": 3, "none": 4})
    check(Weighted(weights, 30_000)[:], np.array([1 / 8, 1 / 4, 3 / 8, 1 / 4]))


@given(
    seed=st.integers(0, 2**70),
    epoch=st.integers(0, 9),
    places=st.lists(st.integers(0, 999), max_size=50),
    cut=st.integers(0, 1000),
    own=st.booleans(),
)
def test_a_place_has_its_window_however_it_is_asked_for(
    seed: int, epoch: int, places: list[int], cut: int, own: bool
) -> None:
    weights = WindowWeights.of(np.arange(500), 500, None) if own else by_class()
    order = Weighted(weights, 1000, seed, epoch)
    whole = order[:]
    assert np.array_equal(order.at(np.array(places, np.int64)), whole[places])
    assert np.array_equal(np.concatenate([order[:cut], order[cut:]]), whole)
    again = pickle.loads(pickle.dumps(Weighted(weights, 1000, seed, epoch)))
    assert np.array_equal(again[:], whole)
    for other in (Weighted(weights, 1000, seed + 1, epoch), Weighted(weights, 1000, seed, 10)):
        assert not np.array_equal(other[:], whole)


@given(
    count=st.integers(0, 50),
    world_size=st.integers(1, 7),
    uneven=st.sampled_from(["pad", "drop", "keep"]),
    batch=st.integers(1, 5),
)
def test_ranks_have_the_rows_of_each_batch(
    count: int, world_size: int, uneven: Any, batch: int
) -> None:
    weights = by_class()
    one = Weighted(weights, count)[:]
    size = batch * world_size
    ranks = [Weighted(weights, count, 0, 0, rank, world_size, uneven) for rank in range(world_size)]
    n = len(ranks[0])
    assert (
        n
        == {
            "pad": -(-count // world_size) * world_size,
            "drop": count // world_size * world_size,
            "keep": count,
        }[uneven]
    )
    for a in range(0, n, size):
        rows = np.arange(a, min(a + size, n))
        for rank, order in enumerate(ranks):
            assert np.array_equal(order[a : a + size], one[rows[rank::world_size] % count])


def test_the_windows_of_a_seed_are_these_for_good() -> None:
    labels = EVERY[:, None] % [50, 2, 5] == 0
    of_classes = (
        ClassWeights.of(labels, 500, None, CLASSES, weights)
        for weights in ("balanced", MAPPINGS[0])
    )
    of_windows = WindowWeights.of(EVERY % 7 + 0.1, 500, None)
    found = [Weighted(weights, 1000, seed=5, epoch=2)[:] for weights in (*of_classes, of_windows)]
    assert all(windows.dtype == np.int64 for windows in found)
    digest = hashlib.sha256(np.concatenate(found).astype("<i8").tobytes()).hexdigest()
    assert digest == "57c2168baf669b206cfc2d01b438ab5e007e8e039a2465f90647e647d2457ce9"


def test_hashes_are_those_of_splitmix64() -> None:
    # The first outputs for the seeds 0 and 1234567, of its author's own splitmix64.c.
    assert [*_hashes(np.arange(3), 0)] == [
        0xE220A8397B1DCDAF,
        0x6E789E6AA1B965F4,
        0x06C45D188009454F,
    ]
    assert [*_hashes(np.arange(2), 1234567)] == [6457827717110365317, 3203168211198807973]


@given(hash=st.integers(0, 2**64 - 1), n=st.integers(1, 2**64 - 1))
def test_the_upper_half_of_a_product(hash: int, n: int) -> None:
    found = _below(np.array([hash], np.uint64), np.array([n], np.uint64))
    assert int(found[0]) == hash * n >> 64


def test_many_windows_take_four_bytes_each_and_no_limit_of_2_to_24() -> None:
    n = 20_000_000
    labels = np.zeros(n, np.uint8)
    labels[-3:] = 1
    weights = ClassWeights.of(labels, n, None, None, "balanced")
    assert weights.windows.dtype == np.int32
    assert len(weights.windows) == n
    drawn = Weighted(weights, n)[n - 100_000 : n]
    rare = np.bincount(np.maximum(drawn - (n - 4), 0), minlength=4)
    assert chisquare(rare, [50_000, *[50_000 / 3] * 3]).pvalue > 1e-3
    assert drawn.min() < n // 1000
    own = Weighted(WindowWeights.of(labels, n, None), n)[:30_000]
    assert chisquare(np.bincount(own - (n - 3))).pvalue > 1e-3


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ("even", "weights is 'even'; it must be 'balanced', a weight for each class by name, or"),
        ({"bat": 1, "fox": 1}, "weights has no 'owl'; give one to each class, such as dict.from"),
        ({**ALIKE, "owls": 1}, "'owls' is not a known class; did you mean 'owl'"),
        ({**ALIKE, "owl": -1}, "the weight of owl is -1; it must be a number from 0"),
        ({**ALIKE, "owl": float("nan")}, "the weight of owl is nan; it must be a number from 0"),
        (dict.fromkeys(CLASSES, 0), "no class has a weight above 0; give one to those"),
    ],
)
def test_weights_of_classes_that_will_not_do(weights: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        by_class(weights)


def test_classes_without_windows() -> None:
    labels = np.array([[1, 0], [1, 0]])
    assert [*Weighted(ClassWeights.of(labels, 2, None, ["a", "b"], "balanced"), 9)[:]] != []
    with pytest.raises(ValueError, match="no window has the class 'b', which has the weight 2; gi"):
        ClassWeights.of(labels, 2, None, ["a", "b"], {"a": 1, "b": 2})
    with pytest.raises(ValueError, match="a class has the name 'none', which weights have for"):
        ClassWeights.of(labels, 2, None, ["a", "none"], "balanced")


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1, 2], r"weights is an array of shape \(2,\) and int64; it must be one number for each"),
        (["a", "b", "c"], r"of shape \(3,\) and <U1; it must be one number for each of 3 windows"),
        ([1, np.inf, 2], "the weight of window 1 is inf; it must be a number from 0"),
        ([1, 2, -1], "the weight of window 2 is -1.0; it must be a number from 0"),
        ([0, 0, 0], "no window has a weight above 0; give one to those to be drawn"),
    ],
)
def test_weights_of_windows_that_will_not_do(weights: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        WindowWeights.of(weights, 3, None)
