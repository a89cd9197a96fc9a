"""Batches are the same from a store, several, or recordings; for every rank, and when resumed."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from conftest import SUFFIXES, Array
from hypothesis import given
from hypothesis import strategies as st

import pipeline as pl

FEATURE = pl.Spectrogram(n_fft=32, frame_length=20)
N = 62  # windows
FOLDERS = {"one": (10, 7.5, 20), "two": (23.2,)}  # seconds of recordings


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two folders of recordings, a store of both, and one of each, with labels."""
    folder = tmp_path_factory.mktemp("sources")
    rng = np.random.default_rng(0)
    for name, lengths in FOLDERS.items():
        (folder / name).mkdir()
        for number, seconds in enumerate(lengths):
            samples = 0.1 * rng.standard_normal(round(500 * seconds))
            soundfile.write(folder / name / f"{name}{number}.wav", samples, 500, subtype="FLOAT")
    (folder / "events.csv").write_text("path,start,end,label\none1.wav,1,3,owl\ntwo0.wav,0,1,fox\n")
    for suffix in SUFFIXES:
        for name, sources in (
            ("both", [folder / "one", folder / "two"]), ("one", folder / "one"),
            ("two", folder / "two"),
        ):  # fmt: skip
            assert pl.extract(sources, folder / f"{name}{suffix}", FEATURE, **labels(folder)).ok
    return folder


def labels(folder: Path) -> dict[str, Any]:
    return {"labels": folder / "events.csv", "classes": ["fox", "owl"]}


def all_sources(folder: Path, batch_size: int | None, **options: Any) -> dict[str, pl.Batches]:
    both = [folder / "one", folder / "two"]
    return {
        "zarr": pl.Batches(folder / "both.zarr", batch_size, **options),
        "hdf5": pl.Batches(folder / "both.h5", batch_size, **options),
        "joined": pl.Batches([folder / "one.zarr", folder / "two.h5"], batch_size, **options),
        "stream": pl.stream(both, FEATURE, batch_size=batch_size, **labels(folder), **options),
    }


def assert_same(one: Any, other: Any) -> None:
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        assert len(a) == len(b)
        assert all(np.array_equal(x, z) for x, z in zip(a, b, strict=True))


@pytest.mark.parametrize("batch_size", [None, 1, 7, 100])
@pytest.mark.parametrize(
    "options",
    [
        {}, {"shuffle": True, "seed": 3}, {"shuffle": True, "drop_last": True},
        {"annotated": True, "windows": [5, 60, 5, 0]}, {"rank": 1, "world_size": 3},
        {"shuffle": True, "rank": 2, "world_size": 4, "uneven": "drop"},
    ],
)  # fmt: skip
def test_all_sources_give_the_same_bits(
    folder: Path, batch_size: int | None, options: dict[str, Any]
) -> None:
    found = all_sources(folder, batch_size, **options)
    expected = [*found["zarr"]]
    for name, batches in found.items():
        batches.set_epoch(0)
        assert_same(expected, [*batches])
        assert_same(expected, [*batches])  # again
        assert_same(expected, [batches[i] for i in range(len(batches))])
        assert batches.classes == ["fox", "owl"], name
        assert batches.valid.all()
    assert_same([*pickle.loads(pickle.dumps(found["stream"]))], expected)


def digests(batches: pl.Batches) -> list[str]:
    whole = [b"".join(item.tobytes() for item in batch) for batch in batches]
    return [hashlib.sha256(data).hexdigest() for data in whole]


def send_digests(batches: pl.Batches, end: Any) -> None:
    end.send(digests(batches))


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_another_process_gives_the_same_bits(folder: Path, method: Any) -> None:
    context = multiprocessing.get_context(method)
    found = all_sources(folder, 7, shuffle=True, annotated=True)
    expected = digests(found["zarr"])
    for name, batches in found.items():
        begun = iter(batches)
        next(begun)  # so that files are open
        end, other = context.Pipe()
        process = context.Process(target=send_digests, args=(batches, other))
        process.start()
        assert end.poll(60), name
        assert end.recv() == expected, name
        process.join()
        assert len([*begun]) == len(expected) - 1


def test_several_threads_iterate_at_once(folder: Path) -> None:
    for batches in all_sources(folder, 7, shuffle=True, annotated=True).values():
        with ThreadPoolExecutor(4) as pool:
            every = [*pool.map(digests, [batches] * 4)]
        assert every == [digests(batches)] * 4


def test_mixtures_are_those_of_a_zarr_store(folder: Path) -> None:
    found = all_sources(folder, 4, shuffle=True, mix=1)
    expected = [*found["zarr"]]
    assert_same(expected, [*found["stream"]])


def test_a_stream_is_gone_through_once_by_next(folder: Path) -> None:
    stream = pl.stream(folder / "one", FEATURE, batch_size=20)
    batches = [*stream]
    assert_same([next(stream), next(stream)], batches)
    with pytest.raises(StopIteration):
        next(stream)


RANKS = st.integers(1, 7).flatmap(lambda n: st.tuples(st.just(n), st.integers(1, 3)))


@given(RANKS, st.booleans(), st.sampled_from(["pad", "drop", "keep"]), st.booleans(), st.data())
def test_ranks_share_the_windows_and_go_on_where_they_were(
    folder: Path, ranks: tuple[int, int], shuffle: bool, uneven: Any, drop_last: bool, data: Any
) -> None:
    world, size = ranks

    def made(rank: int, world: int, size: int) -> pl.Batches:
        options = {"rank": rank, "world_size": world, "uneven": uneven, "drop_last": drop_last}
        return pl.Batches(folder / "both.zarr", size, shuffle, 5, **options)

    every = [made(rank, world, size) for rank in range(world)]
    order = np.concatenate([*map(pl.Batches(folder / "both.zarr", N, shuffle, 5).windows, [0])])
    whole = {"pad": -(-N // world) * world, "drop": N // world * world, "keep": N}[uneven]
    stop = whole // (world * size) * world * size if drop_last else whole
    # All ranks together give the order, padded by its beginning.
    together = [
        np.stack([b.windows(i) for b in every], axis=1).ravel() if uneven != "keep" else
        np.concatenate([_woven([b.windows(i) for b in every])])
        for i in range(len(every[0]))
    ]  # fmt: skip
    found = np.concatenate(together) if together else np.zeros(0, np.int64)
    assert found.tolist() == np.resize(order, max(stop, 0))[:stop].tolist()
    # A rank that is interrupted goes on, also among as many ranks as the batch allows.
    if len(every[0]) < 2:
        return
    taken = data.draw(st.integers(0, len(every[0]) - 1))
    loop = iter(every[0])
    for _ in range(taken):
        next(loop)
    state = json.loads(json.dumps(every[0].state_dict()))
    assert state["samples"] == taken * world * size
    loop.close()
    resumed = made(0, world, size)
    resumed.load_state_dict(state)
    resumed.set_epoch(0)
    assert_same([*resumed], [every[0][i] for i in range(taken, len(every[0]))])
    assert len([*resumed]) == len(resumed)  # and the next loop is whole
    alone = pl.Batches(folder / "both.zarr", world * size, shuffle, 5, drop_last)
    if uneven == "keep" or N % world == 0:
        alone.load_state_dict({**state, "fingerprint": alone.state_dict()["fingerprint"]})
        rest = np.concatenate([X for X, _ in alone] or [np.zeros((0, 17, 25))])
        assert np.array_equal(
            rest, pl.Batches(folder / "both.zarr", N).read(found[taken * world * size :])[0]
        )


def _woven(rows: list[Array]) -> Array:
    """Rows of ranks, of which later ones may have one less, as they were dealt out."""
    length = len(rows[0])
    return np.array([row[i] for i in range(length) for row in rows if i < len(row)], np.int64)


def test_a_state_of_something_else_is_refused(folder: Path) -> None:
    batches = pl.Batches(folder / "both.zarr", 8, shuffle=True)
    state = batches.state_dict()
    for other in (
        pl.Batches(folder / "one.zarr", 8, shuffle=True),
        pl.Batches(folder / "both.zarr", 8),
        pl.Batches(folder / "both.zarr", 8, shuffle=True, seed=1),
        pl.Batches(folder / "both.zarr", 8, shuffle=True, windows=[1, 2]),
        pl.Batches(folder / "both.zarr", 8, shuffle=True, mix=2),
    ):
        with pytest.raises(ValueError, match=r"state is of other windows, or of another order"):
            other.load_state_dict(state)
    for wrong in ({}, None, {"epoch": 1}):
        with pytest.raises(ValueError, match=r"pass what state_dict gave"):
            batches.load_state_dict(wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="samples is 1000; it must be a whole number up to 62"):
        batches.load_state_dict({**state, "samples": 1000})


@pytest.mark.parametrize("mix", [None, 1])
def test_a_mixed_epoch_is_resumed(folder: Path, mix: int | None) -> None:
    for name in ("zarr", "stream"):
        batches = all_sources(folder, 5, shuffle=True, mix=mix)[name]
        batches.set_epoch(3)
        expected = [*batches]
        for taken in (0, 1, 6, len(expected)):
            loop = iter(batches)
            for _ in range(taken):
                next(loop)
            state = batches.state_dict()
            other = all_sources(folder, 5, shuffle=True, mix=mix)[name]
            other.load_state_dict(state)
            assert_same([*other], expected[taken:])


def test_windows_are_chosen_by_number_or_by_a_mask(folder: Path) -> None:
    path = folder / "both.zarr"
    mask = np.arange(N) % 3 == 0
    for shuffle in (False, True):
        by_mask = pl.Batches(path, 4, shuffle, windows=mask)
        assert sorted(np.concatenate([by_mask.windows(i) for i in range(len(by_mask))])) == [
            *range(0, N, 3)
        ]
        assert_same([*by_mask], [*pl.Batches(path, 4, shuffle, windows=np.flatnonzero(mask))])
    X, y = pl.Batches(path).read([3, 1, 3])
    assert np.array_equal(X, pl.Batches(path, N)[0][0][[3, 1, 3]])
    assert len(y) == 3
    for wrong, message in (
        ([62], "windows has 62; there are windows 0 to 61"),
        ([-1], "windows has -1; there are"),
        ([0.5], r"shape \(1,\) and dtype float64; pass numbers"),
        (np.ones(60, bool), r"shape \(60,\) and dtype bool; pass numbers"),
        ([[1]], r"shape \(1, 1\)"),
    ):
        with pytest.raises(ValueError, match=message):
            pl.Batches(path, windows=wrong)
    assert [*pl.Batches(path, windows=[])] == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rank": 1}, "rank is 1; it must be a whole number from 0, below world_size"),
        ({"world_size": 0}, "world_size is 0; it must be a whole number of processes above 0"),
        ({"uneven": "both"}, "uneven is 'both'; allowed are pad, drop and keep"),
    ],
)
def test_values_that_are_not_allowed_are_refused(
    folder: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        pl.Batches(folder / "both.zarr", **options)


def test_stores_that_do_not_fit_are_refused(folder: Path, tmp_path: Path) -> None:
    other = pl.Spectrogram(n_fft=64, frame_length=20)
    pl.extract(folder / "one", tmp_path / "axes.zarr", other, **labels(folder))
    pl.extract(folder / "one", tmp_path / "labels.zarr", FEATURE)
    more = {**labels(folder), "classes": ["fox", "owl", "bat"]}
    pl.extract(folder / "one", tmp_path / "classes.zarr", FEATURE, **more)
    pl.extract(folder / "one", tmp_path / "dtype.zarr", FEATURE, dtype="float16", **labels(folder))
    for name in ("axes", "labels", "classes", "dtype"):
        what = "(classes|labels)" if name == "labels" else name
        with pytest.raises(
            ValueError, match=rf"differ in their {what}; pass stores of one feature"
        ):
            pl.Batches([folder / "one.zarr", tmp_path / f"{name}.zarr"])
    with pytest.raises(ValueError, match="no store is given; pass at least one"):
        pl.Batches([])


def test_windows_are_normalized_by_the_store_that_is_named(folder: Path) -> None:
    pl.statistics(folder / "both.zarr")
    expected = [*pl.Batches(folder / "both.zarr", 9, normalize=True)]
    for batches in all_sources(folder, 9, normalize=folder / "both.zarr").values():
        assert_same([*batches], expected)
    both = [folder / "one.zarr", folder / "two.zarr"]
    with pytest.raises(ValueError, match="normalize is true, but the windows are not those of one"):
        pl.Batches(both, normalize=True)
    with pytest.raises(ValueError, match=r"whose mean has shape \(17, 1\), but a window has shape"):
        pl.stream(folder / "one", pl.Waveform(), normalize=folder / "both.zarr")


def test_augmentation_is_the_same_whenever_a_window_comes(folder: Path) -> None:
    def noisy(X: Array, y: Array, rng: np.random.Generator) -> tuple[Array, Array]:
        return X + rng.standard_normal(X.shape).astype(np.float32), y

    found = all_sources(folder, 6, shuffle=True, augment=noisy, annotated=True)
    expected = [*found["zarr"]]
    plain = pl.Batches(folder / "both.zarr", 6, shuffle=True)
    assert not np.array_equal(expected[0][0], plain[0][0])
    for batches in found.values():
        assert_same([*batches], expected)
        assert_same([batches[3]], expected[3:4])
    batches = found["zarr"]
    batches.set_epoch(1)
    place = {int(t): (i, j) for i in range(len(batches)) for j, t in enumerate(batches.windows(i))}
    i, j = place[int(plain.windows(0)[0])]
    assert not np.array_equal(batches[i][0][j], expected[0][0][0])  # each epoch has its own
    other = pl.Batches(folder / "both.zarr", 6, augment=noisy, seed=1)
    assert not np.array_equal(other[0][0], pl.Batches(folder / "both.zarr", 6, augment=noisy)[0][0])


@pytest.mark.parametrize("weights", ["balanced", {"fox": 1, "owl": 3, "none": 1}, np.arange(N) % 2])
def test_windows_are_drawn_alike_from_all_sources(folder: Path, weights: Any) -> None:
    def shifted(X: Array, y: Array, rng: np.random.Generator) -> tuple[Array, Array]:
        return X + np.float32(rng.random()), y

    found = all_sources(folder, 8, seed=2, weights=weights, augment=shifted)
    expected = [*found["zarr"]]
    drawn = np.concatenate([*map(found["zarr"].windows, range(8))])
    assert len(np.unique(drawn)) < len(drawn) == N
    y = np.concatenate([y for _, y in expected])
    if isinstance(weights, np.ndarray):
        assert (drawn % 2 == 1).all()
    else:  # of 62 windows two have an owl, and one has a fox
        assert y.any(axis=1).sum() > 30
    for batches in found.values():
        assert_same([*batches], expected)
        state = batches.state_dict()
        batches.load_state_dict({**state, "samples": 24})
        assert_same([*batches], expected[3:])
    ranks = [
        pl.Batches(folder / "both.zarr", 4, seed=2, weights=weights, rank=rank, world_size=2)
        for rank in range(2)
    ]
    together = [np.stack([b.windows(i) for b in ranks], axis=1).ravel() for i in range(8)]
    assert np.concatenate(together).tolist() == drawn.tolist()
    with pytest.raises(ValueError, match="state is of other windows, or of another order"):
        pl.Batches(folder / "both.zarr", 4, seed=2).load_state_dict(state)
    i, j = np.flatnonzero(drawn == np.bincount(drawn).argmax())[:2]
    X = np.concatenate([X for X, _ in expected])
    assert not np.array_equal(X[i], X[j])  # the same window, changed otherwise


def test_weights_that_will_not_do_are_refused(folder: Path) -> None:
    for weights, message in (
        ("rare", "weights is 'rare'; it must be 'balanced', a weight for each class by name, or"),
        ({"wolf": 1}, "'wolf' is not a known class"),
        ([1, 2], r"weights is an array of shape \(2,\)"),
    ):
        with pytest.raises(ValueError, match=message):
            pl.Batches(folder / "both.zarr", weights=weights)
    with pytest.raises(ValueError, match="weights goes without mix; leave one of them out"):
        pl.Batches(folder / "both.zarr", shuffle=True, mix=2, weights="balanced")
    y = np.arange(N) % 2
    named = pl.stream([folder / "one", folder / "two"], FEATURE, np.array(["a", "b"])[y], 31)
    assert named.classes == ["a", "b"]
    drawn = pl.stream(
        [folder / "one", folder / "two"], FEATURE, np.array(["a", "b"])[y], 31,
        weights={"a": 0, "b": 1},
    )  # fmt: skip
    assert (np.concatenate([y for _, y in drawn]) == 1).all()
