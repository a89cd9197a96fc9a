"""One contract, kept by both stores."""

from __future__ import annotations

import logging
import os
import pickle
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import pytest
import tensorstore
import xarray
import zarr
from conftest import Cli, Write, loaded
from hypothesis import given
from hypothesis import strategies as st
from other_systems import BARE

import pipeline as pl
from pipeline.labels.values import Labels
from pipeline.layout import Layout, choose_layout
from pipeline.paths.whole_files import put_lines
from pipeline.store import Store, new_store, open_store
from pipeline.store.schema import Contents, Variable

Array = npt.NDArray[Any]

LAYOUT = Layout(n_windows=23, shape=(5, 7), dtype="float32", chunk=1, shard=4, region=8)
ATTRS = {"samplerate": 8000, "title": "x", "fingerprint": "0123456789abcdef"}
FEATURES = np.random.default_rng(0).standard_normal((23, 5, 7)).astype(np.float32)


def variables() -> dict[str, Variable]:
    names = np.array(["café.wav", "b.wav"], dtype=object)
    return {
        "features": Variable(
            ("window", "frequency", "time"), FEATURES.shape, FEATURES.dtype, {"units": "1"}
        ),
        "frequency": Variable(
            ("frequency",), (5,), np.dtype("f8"), {"units": "Hz"}, np.arange(5.0)
        ),
        "start": Variable(("window",), (23,), np.dtype("f8"), {"units": "s"}),
        "valid": Variable(("window",), (23,), np.dtype("?")),
        "source": Variable(("recording",), (2,), np.dtype(object), {}, names),
    }


CONTENTS = Contents(LAYOUT, variables(), ATTRS)


@pytest.fixture(params=["x.zarr", "x.h5", "x.hdf5"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """A store that has just been created."""
    created = new_store(tmp_path / request.param)
    with created.creating(CONTENTS) as aside:
        assert not created.path.exists()
        aside.fill("start", 0, np.arange(10.0))
        aside.fill("start", 10, np.arange(10.0, 23.0))
    return created


def write_all(store: Store, order: list[int]) -> None:
    for number in order:
        start, stop = LAYOUT.bounds(number)
        with store.region(start, stop) as region:
            for a in range(start, stop, LAYOUT.shard):
                region.write(a, FEATURES[a : min(a + LAYOUT.shard, stop)])
        sizes = {file.name: file.size for file in region.files}
        assert sizes
        assert all(store.locate(name).stat().st_size == size for name, size in sizes.items())


def test_what_is_written_is_read_in_any_order(store: Store) -> None:
    write_all(store, [2, 0, 1])
    order = np.random.default_rng(1).permutation(23)
    read = store.read(order)
    assert np.array_equal(read, FEATURES[order])
    assert read.dtype == np.float32
    assert read.flags.owndata or read.base is not None
    assert read.flags.writeable
    assert np.array_equal(store.read(np.array([3, 3])), FEATURES[[3, 3]])


def test_small_variables_and_attributes_come_back(store: Store) -> None:
    start, source, frequency = (store.get(name) for name in ("start", "source", "frequency"))
    assert start is not None
    assert source is not None
    assert frequency is not None
    assert np.array_equal(start, np.arange(23.0))
    assert source.tolist() == ["café.wav", "b.wav"]
    assert frequency.tolist() == [0, 1, 2, 3, 4]
    assert store.get("start", 5, 8).tolist() == [5, 6, 7]  # type: ignore[union-attr]
    assert store.get("label") is None
    assert store.attrs()["samplerate"] == 8000


def test_valid_is_false_until_the_job_is_finished(store: Store) -> None:
    assert not store.get("valid").any()  # type: ignore[union-attr]
    with store.finishing() as aside:
        aside.fill("valid", 0, np.arange(23) != 4)
    assert store.get("valid").tolist() == (np.arange(23) != 4).tolist()  # type: ignore[union-attr]
    assert np.array_equal(store.get("start"), np.arange(23.0))  # type: ignore[arg-type]


def test_what_was_never_written_does_not_look_like_audio(store: Store) -> None:
    write_all(store, [0])
    if store.path.suffix == ".zarr":
        assert np.isnan(store.read(np.array([20]))).all()
    else:
        with pytest.raises(OSError, match=r"00000002\.h5"):
            store.read(np.array([20]))


def test_a_region_that_fails_leaves_no_file_in_place(store: Store) -> None:
    with pytest.raises(ZeroDivisionError), store.region(8, 16) as region:  # noqa: PT012
        if store.path.suffix != ".zarr":  # a Zarr shard is in place, whole, once it is written
            region.write(8, FEATURES[8:12])
        raise ZeroDivisionError
    folder = store.record_folder.parent
    assert not [name for name in os.listdir(folder) if "00000001" in name]
    write_all(store, [0, 1, 2])
    assert np.array_equal(store.read(np.arange(23)), FEATURES)


def test_a_store_goes_to_other_processes(store: Store) -> None:
    write_all(store, [0, 1, 2])
    store.read(np.array([0]))
    copy = pickle.loads(pickle.dumps(store))
    assert np.array_equal(copy.read(np.arange(23)), FEATURES)


def test_open_handles_do_not_leak(store: Store) -> None:
    write_all(store, [0, 1, 2])
    store.read(np.arange(23))
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        write_all(store, [0])
        store.attrs(), store.get("start")
        store.read(np.arange(23))
    assert len(os.listdir("/proc/self/fd")) <= before + 1


def test_removing_leaves_nothing(store: Store) -> None:
    write_all(store, [0, 1, 2])
    store.remove()
    assert os.listdir(store.path.parent) == []


def test_zarr_refuses_blocks_that_are_not_whole_shards(tmp_path: Path) -> None:
    store = new_store(tmp_path / "x.zarr")
    with store.creating(CONTENTS):
        pass
    with store.region(8, 16) as region:
        for start, stop in ((8, 10), (9, 12), (8, 13)):
            with pytest.raises(ValueError, match="whole shards of 4 windows"):
                region.write(start, FEATURES[start:stop])


@pytest.mark.parametrize("compression", ["none", "lz4", "zstd"])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_zarr_store_is_read_alike_by_all_libraries(
    write_wav: Write, tmp_path: Path, dtype: str, compression: str
) -> None:
    out, settings = tmp_path / "x.zarr", {"dtype": dtype, "compression": compression}
    assert pl.extract(write_wav(seconds=70.5), out, labels=np.arange(71), **settings).ok
    X = np.concatenate([X for X, _ in pl.Batches(out)])
    assert X.shape == (71, 257, 400)
    assert X.dtype == dtype
    array = zarr.open_group(out)["features"]
    assert isinstance(array, zarr.Array)
    assert array.metadata.dimension_names == ("window", "frequency", "time")  # type: ignore[union-attr]
    assert array.chunks == (1, 257, 400)
    assert array.shards == (32 if dtype == "float32" else 64, 257, 400)
    assert np.array_equal(array[:], X)
    with zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline"}):
        by_zarrs = zarr.open_array(out / "features")
        assert type(by_zarrs._async_array.codec_pipeline).__module__.startswith("zarrs")
        assert np.array_equal(by_zarrs[:], X)
    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(out / "features")}}
    assert np.array_equal(tensorstore.open(spec).result().read().result(), X)
    dataset = xarray.open_zarr(out)
    assert dataset.features.dims == ("window", "frequency", "time")
    assert set(dataset.features.coords) >= {
        *("frequency", "time", "label", "recording", "start", "n_samples", "valid")
    }
    assert dataset.frequency.units == "Hz"
    assert dataset.start.values.tolist() == list(range(71))
    assert dataset.n_samples.values[-1] == 4000
    assert dataset.label.values.tolist() == list(range(71))
    assert dataset.valid.values.all()
    assert dataset.source.values.tolist() == [str(tmp_path / "noise.wav")]
    loudest = dataset.features.sel(frequency=1000, method="nearest").isel(window=3)
    assert np.array_equal(loudest.values, X[3, np.abs(dataset.frequency.values - 1000).argmin()])


def test_compression_changes_the_size_alone(write_wav: Write, tmp_path: Path) -> None:
    wav, sizes, found = write_wav(seconds=70.5), [], []
    for compression in (None, "lz4", "zstd"):
        out = tmp_path / f"{compression}.zarr"
        assert pl.extract(wav, out, compression=compression).ok
        sizes.append(sum(file.stat().st_size for file in (out / "features").glob("c.*")))
        found.append(pl.Batches(out, batch_size=71)[0][0])
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])
    assert sizes[0] == found[0].nbytes + 71 * 4 + 3 * (32 * 16 + 4)  # with checksums and indexes
    assert sizes[0] / 1.2 > sizes[1] > sizes[2]
    with pytest.raises(ValueError, match="compression was none, and is now lz4"):
        pl.extract(wav, tmp_path / "None.zarr", compression="lz4")


def test_hdf5_reads_as_one_file_with_dimension_scales(write_wav: Write, tmp_path: Path) -> None:
    out = tmp_path / "x.h5"
    assert pl.extract(write_wav(seconds=300.5), out, labels=np.arange(301)).ok
    X = np.concatenate([X for X, _ in pl.Batches(out)])
    with h5py.File(out) as file:
        features = file["features"]
        assert features.shape == (301, 257, 400)
        assert np.array_equal(features[250:301], X[250:])
        assert [dim.label for dim in features.dims] == ["window", "frequency", "time"]
        assert [dim[0].name for dim in features.dims] == ["/window", "/frequency", "/time"]
        assert file["source"].asstr()[:].tolist() == [str(tmp_path / "noise.wav")]
        assert file["label"][:].tolist() == list(range(301))


@given(
    window_bytes=st.integers(1, 10**8),
    audio_bytes=st.integers(1, 10**8),
    n_windows=st.integers(1, 10**9),
)
def test_each_unit_divides_the_next_and_memory_is_bounded(
    window_bytes: int, audio_bytes: int, n_windows: int
) -> None:
    layout = choose_layout(n_windows, (window_bytes,), "float16", audio_bytes)
    assert layout.shard % layout.chunk == layout.region % layout.shard == 0
    assert layout.shard == 1 or layout.shard * layout.window_bytes <= 16 * 2**20
    # Of much audio, no more in a shard than a job must have to be shared out among workers.
    assert layout.shard * audio_bytes <= 16 * 2**20 or layout.n_shards >= min(n_windows, 1024)
    assert layout.n_regions == -(-n_windows // layout.region)
    first, last = layout.bounds(0), layout.bounds(layout.n_regions - 1)
    assert first[0] == 0
    assert last[1] == n_windows
    done = np.ones(layout.n_regions, bool) if layout.n_regions < 10**6 else None
    if done is not None:
        assert layout.length_of(done) == n_windows
        done[-1] = False
        assert layout.length_of(done) == layout.bounds(layout.n_regions - 1)[0]


@given(n_windows=st.integers(1, 10**12))
def test_regions_grow_with_the_job_so_that_they_can_be_counted(n_windows: int) -> None:
    layout = choose_layout(n_windows, (257, 400), "float32", 32_000)
    parts = choose_layout(n_windows, (257, 400), "float32", 32_000, region_is_file=True)
    assert 4 <= layout.region // layout.shard <= 1024
    # Within a factor of two, the root of what there is: 2e5 for a million hours.
    assert layout.n_regions <= max(32 * np.sqrt(layout.n_shards), layout.n_shards / 1024 + 1)
    assert parts.n_regions <= 512, "a process may have 1024 files open"
    assert parts.shard == layout.shard


def test_a_path_that_is_no_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a store ends in \.zarr, \.h5, \.hdf5"):
        new_store(tmp_path / "x.npz")
    with pytest.raises(FileNotFoundError, match="does not exist; extract makes it"):
        open_store(tmp_path / "x.zarr")
    zarr.open_group(tmp_path / "x.zarr", mode="w")
    with h5py.File(tmp_path / "x.h5", "w"):
        pass
    for name in ("x.zarr", "x.h5"):
        with pytest.raises(ValueError, match="not a store that extract made"):
            open_store(tmp_path / name)


@pytest.mark.parametrize("torn", [0, 100])
def test_a_torn_shard_is_written_again(tmp_path: Path, torn: int) -> None:
    store = new_store(tmp_path / "x.zarr")
    with store.creating(CONTENTS):
        pass
    write_all(store, [0, 1, 2])
    os.truncate(store.path / "features" / "c.5.0.0", torn)
    write_all(store, [2])
    assert np.array_equal(store.read(np.arange(23)), FEATURES)


def test_a_whole_shard_is_there_while_it_is_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = new_store(tmp_path / "x.zarr")
    with store.creating(CONTENTS):
        pass
    write_all(store, [0, 1, 2])
    monkeypatch.setattr(Path, "unlink", lambda *_, **__: pytest.fail("it was removed"))
    write_all(store, [0, 1, 2])
    assert np.array_equal(store.read(np.arange(23)), FEATURES)


def test_hdf5_that_was_interrupted_while_it_was_created_is_created_again(tmp_path: Path) -> None:
    store = new_store(tmp_path / "x.h5")
    with pytest.raises(KeyboardInterrupt), store.creating(CONTENTS):  # noqa: PT012
        store.record_folder.mkdir()
        raise KeyboardInterrupt
    assert not store.path.exists()
    with store.creating(CONTENTS):
        pass
    write_all(store, [0, 1, 2])
    store.path.rename(tmp_path / "y.h5")
    with (
        pytest.raises(ValueError, match="but not the store that it belongs to"),
        store.creating(CONTENTS),
    ):
        pass
    assert len(list(store.record_folder.parent.glob("*.h5"))) == 3


@pytest.mark.parametrize("ending", ["zarr", "h5"])
def test_a_forked_process_reads_and_writes_as_any_other(tmp_path: Path, ending: str) -> None:
    code = f"""if True:
        import multiprocessing, sys, numpy as np, soundfile, pipeline as pl
        soundfile.write("x.wav", np.random.default_rng(0).random(20000), 8000)
        pl.extract("x.wav", "x.{ending}")
        batches = pl.Batches("x.{ending}")
        X = batches[0][0]
        held = [X for X, _ in batches]
        del held[1:]
        def work():
            for theirs, _ in batches:
                theirs[...] = 0
            held[0][...] = 0
            assert np.array_equal(pl.Batches("x.{ending}")[0][0], X)
            assert np.array_equal(next(iter(batches))[0], X)
            assert pl.extract("x.wav", "y.{ending}").ok
            assert np.array_equal(pl.Batches("y.{ending}")[0][0], X)
            sys.exit(41)
        child = multiprocessing.get_context("fork").Process(target=work)
        child.start(); child.join(); print(child.exitcode)
        assert np.array_equal(held[0], X)
    """
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("41\n", 0), done.stderr


@pytest.mark.parametrize("ending", ["zarr", "h5"])
def test_a_process_forked_while_another_thread_reads_reads_too(tmp_path: Path, ending: str) -> None:
    code = f"""if True:
        import os, threading, numpy as np, soundfile, pipeline as pl
        soundfile.write("x.wav", np.random.default_rng(0).random(200000), 8000)
        pl.extract("x.wav", "x.{ending}")
        batches, stopped = pl.Batches("x.{ending}"), False
        def read():
            while not stopped:
                batches[0]
        threads = [threading.Thread(target=read) for _ in range(2)]
        [thread.start() for thread in threads]
        for _ in range(5):
            child = os.fork()
            if not child:
                batches[0]
                os._exit(41)
            print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
        stopped = True
    """
    command = [sys.executable, "-c", code]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            said, _ = process.communicate(timeout=30)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    assert said.split() == ["41"] * 5


OPENING = """
from pipeline.locks import holders
from pipeline.record import Record
from pipeline.store import open_finished, open_store
store = open_store(out)
assert not store.packed and Record(store.record_folder).state(1).done.all()
assert holders(store.path) == []
"""
READING = "open_finished(out).read(__import__('numpy').arange(2))"


@pytest.mark.parametrize(("ending", "library"), [("zarr", "zarr"), ("h5", "h5py")])
def test_a_store_loads_only_the_library_of_its_kind_and_that_only_for_its_arrays(
    write_wav: Write, tmp_path: Path, ending: str, library: str
) -> None:
    assert pl.extract(write_wav(), tmp_path / f"x.{ending}").ok
    opening = f"out = 'x.{ending}'{OPENING}"
    assert loaded(opening, tmp_path) & {"zarr", "numcodecs", "h5py"} == set()
    assert loaded(opening + READING, tmp_path) & {"zarr", "h5py"} == {library}


@pytest.mark.parametrize("ending", ["zarr", "h5"])
def test_a_store_is_read_on_a_system_that_has_less_than_linux(
    write_wav: Write, tmp_path: Path, ending: str
) -> None:
    assert pl.extract(write_wav(), tmp_path / f"x.{ending}").ok
    code = f"""
    from pipeline.job import status_of
    X = np.concatenate([X for X, _ in pl.Batches("x.{ending}", 4, shuffle=True)])
    assert status_of("x.{ending}")["finished"]
    print(len(X), X.sum(dtype=float))
    """
    command = [sys.executable, "-c", BARE + code]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    X = pl.Batches(tmp_path / f"x.{ending}", None)
    length, total = done.stdout.split()
    assert int(length) == len(X)
    assert float(total) == pytest.approx(sum(x.sum(dtype=float) for x, _ in X))


@pytest.mark.parametrize("ending", ["zarr", "h5"])
def test_a_path_may_lead_up(write_wav: Write, tmp_path: Path, ending: str) -> None:
    (tmp_path / "inside").mkdir()
    out = tmp_path / "inside" / ".." / f"x.{ending}"
    assert pl.extract(write_wav(), out).ok
    assert pl.Batches(tmp_path / f"x.{ending}")[0][0].shape[1:] == (257, 400)


def test_a_renamed_hdf5_store_is_told_of_and_never_shows_another_job(
    write_wav: Write, cli: Cli, tmp_path: Path
) -> None:
    wav, out, old = write_wav(), tmp_path / "feat.h5", tmp_path / "old.h5"
    assert cli("extract", wav, "--out", out).code == 0
    whole = pl.Batches(out, 3)[0][0]
    out.rename(old)
    Path(f"{out}.parts").rename(f"{old}.parts")
    assert cli("extract", wav, "--out", out, "--log-offset", "1").code == 0
    with h5py.File(old) as file:
        assert np.isnan(file["features"][:]).all()
    ended = cli("verify", old)
    assert (ended.code, ended.out.splitlines()[0]) == (1, f"renamed: {old}")
    with pytest.raises(FileNotFoundError, match=r"was renamed, .* verify --repair and extract"):
        pl.Batches(old)
    assert cli("verify", old, "--repair").code == 1
    mended = cli("extract", wav, "--out", old)
    assert (mended.code, "0 computed now" in mended.err) == (0, True)
    with h5py.File(old) as file:
        assert np.array_equal(file["features"][:], whole)
    assert cli("verify", old).code == 0


@pytest.mark.parametrize("names", [None, ("wren", "robin")])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_hdf5_has_the_dimensions_of_the_contract_for_netcdf_too(
    write_wav: Write, tmp_path: Path, names: tuple[str, ...] | None, dtype: str
) -> None:
    out, y = tmp_path / "x.h5", np.array([[0, 1], [1, 0], [1, 1]])
    assert pl.extract(write_wav(), out, labels=Labels(y, names), dtype=dtype).ok
    with xarray.open_dataset(out, engine="h5netcdf") as dataset:
        assert dataset.features.dims == ("window", "frequency", "time")
        assert dataset.label.dims == ("window", "class")
        assert dataset.recording.dims == dataset.start.dims == ("window",)
        assert dataset.label.values.tolist() == y.tolist()
        assert dataset.start.values.tolist() == [0, 1, 2]
        assert dataset.source.values.tolist() == [str(tmp_path / "noise.wav")]
        expected = [] if names is None else [*names]
        assert (dataset["class"].values.tolist() if "class" in dataset else []) == expected
        assert np.array_equal(dataset.features, pl.Batches(out, 3)[0][0])
    assert pl.Batches(out).classes == (None if names is None else [*names])


@pytest.mark.parametrize("ending", ["zarr", "h5"])
def test_a_store_that_is_replaced_while_it_is_read_is_not_mixed_with_the_new_one(
    write_wav: Write, tmp_path: Path, ending: str
) -> None:
    out, wav = tmp_path / f"x.{ending}", write_wav(seconds=40)
    assert pl.extract(wav, out, labels=np.arange(40)).ok
    whole = pl.Batches(out, 40)[0][0]
    batches, spawned = pl.Batches(out, 4), pickle.dumps(pl.Batches(out, 4))
    X, y = batches[1]
    assert np.array_equal(X, whole[y])
    assert pl.extract(wav, out, pl.Spectrogram(log_offset=1.0), np.arange(40), overwrite=True).ok
    for old in (batches, pickle.loads(spawned)):
        for i in (1, 5):
            with pytest.raises(
                OSError, match="another job has taken its place, since it was opened; open it"
            ):
                old[i]
    X, y = pl.Batches(out, 4)[1]
    assert not np.array_equal(X, whole[y])


def test_one_failure_does_not_silence_asyncio(write_wav: Write, tmp_path: Path) -> None:
    logger = logging.getLogger("asyncio")
    store = new_store(tmp_path / "x.zarr")
    with pytest.raises(OSError, match="mine"), store.creating(CONTENTS):
        raise OSError("mine")
    assert logger.level < logging.CRITICAL
    record = logger.makeRecord("asyncio", logging.ERROR, "", 0, "of others", (), None)
    assert logger.filter(record)


def test_a_rename_that_was_asked_for_twice_has_succeeded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file server's answer was lost, and it was asked again."""
    real = os.replace

    def twice(source: Path, target: Path) -> None:
        real(source, target)
        real(source, target)

    monkeypatch.setattr(os, "replace", twice)
    put_lines(tmp_path / "x", [b"1"])
    assert (tmp_path / "x").read_bytes() == b"1"
    monkeypatch.setattr(os, "replace", lambda source, target: real(source, tmp_path / "no" / "x"))
    with pytest.raises(FileNotFoundError):
        put_lines(tmp_path / "x", [b"2"])
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"1"]
