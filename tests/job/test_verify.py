"""Whatever is wrong with a store is found, named, and mended by repair and extract."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import soundfile
import zarr
from commands import REGIONS, WINDOWS, Workplace
from conftest import SUFFIXES, Array, Cli, forget, record_folder, save_hdf5, snapshot

import pipeline as pl
import pipeline.job.identity
import pipeline.job.setup
import pipeline.job.verification
import pipeline.store.opening
from pipeline.cluster.entry import Cluster
from pipeline.job.extraction import run
from pipeline.job.plan import Plan
from pipeline.job.verification import verify
from pipeline.layout import MOST_PARTS, choose_layout
from pipeline.settings import Settings
from pipeline.store import open_store, pack

N = 44  # windows: 11 shards in 6 regions of 8, the last of which is partial
TEXT = ["wren", "robin", "owl"]


@dataclasses.dataclass(frozen=True)
class Levels:
    """The samples themselves, so that no two windows are alike."""

    shape = (6, 5)
    frequencies = np.arange(6.0)
    times = np.arange(5.0)

    def __call__(self, windows: Array) -> Array:
        return windows[:, :30].reshape(-1, 6, 5)


Make = Callable[..., "Made"]


class Made:
    """A finished store, and the command that made it."""

    def __init__(self, folder: Path, suffix: str, text: bool = False, region: int = 8) -> None:
        self.out = folder / f"x{suffix}"
        samples = 0.1 * np.random.default_rng(0).standard_normal(N * 100)
        for name, part in (("a.wav", samples[:2100]), ("b.wav", samples[2100:])):
            soundfile.write(folder / name, part, 2000, subtype="FLOAT")
        labels = [TEXT[t % 3] for t in range(N)] if text else np.arange(N)
        sources, settings = [folder / "a.wav", folder / "b.wav"], Settings(window=0.05)
        plan = Plan.make(sources, self.out, Levels(), labels, settings)
        shard = min(4, region)
        layout = dataclasses.replace(plan.layout, chunk=min(2, shard), shard=shard, region=region)
        self.plan = dataclasses.replace(plan, layout=layout)
        assert self.extract() == self.plan.layout.n_regions
        self.whole = self.digests()
        self.of_features = self._of_features()
        self.features = np.concatenate([X for X, _ in pl.Batches(self.out)])

    def extract(self) -> int:
        """Give the same command again; how many regions that computed."""
        report = run(self.plan, Cluster(threads=1))
        assert report.ok, report
        return report.computed

    @property
    def parts(self) -> Path:
        return self.out if self.out.suffix == ".zarr" else Path(f"{self.out}.parts")

    def files(self) -> list[Path]:
        """All files of the store but those of its record."""
        found = [self.out] if self.out.is_file() else []
        found += [path for path in sorted(self.parts.rglob("*")) if path.is_file()]
        return [path for path in found if ".record" not in path.parts]

    def digests(self) -> dict[Path, str]:
        return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in self.files()}

    def _of_features(self) -> list[Path]:
        """The files of features, in the order of their windows."""
        if self.out.suffix == ".h5":
            return sorted(self.parts.glob("*.h5"))
        files = (self.out / "features").glob("c.*")
        return sorted(files, key=lambda path: int(path.name.split(".")[1]))

    def place_of(self, path: Path) -> str | None:
        """What is to be said of a damaged file of features."""
        if path not in self.of_features:
            return None
        length = 8 if self.out.suffix == ".h5" else 4
        start = self.of_features.index(path) * length
        stop = min(start + length, N)
        where = f"region {start // 8}, windows {start} to {stop - 1} ("
        first = "a.wav" if start < 21 else "b.wav"
        seconds = 0.05 * (start if start < 21 else start - 21)
        return f"{where}{self.out.parent / first}: {seconds:g} s to "


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Makes a store."""
    return lambda *arguments, **options: Made(tmp_path, *arguments, **options)


def found_and_mended(
    cli: Cli, made: Made, *damaged: Path, computes: int | None = None, kinds: str = ""
) -> None:
    """Verify names the files; repair and extract mend them, to the same bits."""
    found = cli("verify", made.out)
    assert (found.code, found.err) == (1, "")
    lines = found.out.splitlines()
    assert lines.pop() == f"damaged: {len(lines)}"
    for path in damaged:
        mine = [line for line in lines if f"{path}" in line]
        assert mine, (path, lines)
        assert not kinds or mine[0].partition(":")[0] in kinds.split()
        place = made.place_of(path)
        assert place is None or place in mine[0]
    repaired = cli("verify", made.out, "--repair")
    assert repaired.code == 1
    assert repaired.out == found.out
    assert repaired.err == (
        "marked to be done again: run the command of extract again, and then label, split and "
        "statistics, where they were run\n"
    )
    if computes is None:
        made.extract()
    else:
        assert made.extract() == computes
    assert cli("verify", made.out) == (0, "all is as it was written\n", "")
    assert made.digests() == made.whole


@pytest.mark.parametrize("text", [False, True])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_flipped_byte_in_any_file_is_found_and_mended(
    cli: Cli, make: Make, suffix: str, text: bool
) -> None:
    made = make(suffix, text)
    rng = np.random.default_rng(7)
    assert len(made.files()) > 20 if suffix == ".zarr" else len(made.files()) == 7
    for path in made.files():
        data = path.read_bytes()
        for position in rng.integers(len(data), size=1 if suffix == ".zarr" else 3):
            changed = bytearray(data)
            changed[position] ^= 1 << int(rng.integers(8))
            path.write_bytes(changed)
            of_features = path in made.of_features
            found_and_mended(cli, made, path, computes=int(of_features), kinds="changed")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_flipped_byte_in_the_record_is_found_and_mended(
    cli: Cli, make: Make, suffix: str
) -> None:
    made = make(suffix)
    rng = np.random.default_rng(7)
    folder = record_folder(made.out)
    for path in (folder / "job.json", folder / "inputs.jsonl"):
        data = path.read_bytes()
        for position in rng.integers(len(data), size=8):
            changed = bytearray(data)
            changed[position] ^= 1 << int(rng.integers(8))
            path.write_bytes(changed)
            found_and_mended(cli, made, path, computes=0)
            assert path.read_bytes() == data


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_flipped_byte_in_a_line_of_the_log_loses_that_region(
    cli: Cli, make: Make, tmp_path: Path, suffix: str
) -> None:
    made = make(suffix)
    logs = record_folder(made.out) / "log"
    shutil.copytree(logs, tmp_path / "logs")
    shutil.copy(record_folder(made.out) / "finished", tmp_path)
    rng = np.random.default_rng(7)
    for region in range(made.plan.layout.n_regions):
        shutil.rmtree(logs)
        shutil.copytree(tmp_path / "logs", logs)
        shutil.copy(tmp_path / "finished", record_folder(made.out))
        log = next(path for path in logs.iterdir() if f'"region":{region},' in path.read_text())
        lines = log.read_bytes().splitlines(keepends=True)
        i = next(i for i, line in enumerate(lines) if b'"region":%d,' % region in line)
        line = bytearray(lines[i])
        line[int(rng.integers(len(line) - 1))] ^= 1 << int(rng.integers(8))
        if b"\n" in line[:-1]:
            continue
        lines[i] = bytes(line)
        log.write_bytes(b"".join(lines))
        path = made.of_features[region * (2 if suffix == ".zarr" else 1)]
        shown = json.loads(cli("verify", made.out, "--json").out)
        assert [damage["kind"] for damage in shown] == ["changed", "stale"]
        assert (shown[1]["region"], shown[1]["windows"]) == (
            region,
            [*made.plan.layout.bounds(region)],
        )
        assert [damage["file"] for damage in shown] == [str(log), str(path)]
        assert cli("verify", made.out, "--repair").code == 1
        assert made.extract() == 1
        assert cli("verify", made.out).code == 0
        assert made.digests() == made.whole


def shorter(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def emptied(path: Path) -> None:
    os.truncate(path, 0)


def longer(path: Path) -> None:
    with open(path, "ab") as file:
        file.write(b"x")


@pytest.mark.parametrize("damage", [shorter, emptied, longer, Path.unlink])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_of_another_length_is_found_and_mended(
    cli: Cli, make: Make, suffix: str, damage: Callable[[Path], None]
) -> None:
    made = make(suffix)
    for path in made.files():
        of_features = path in made.of_features
        damage(path)
        kind = "missing" if damage is Path.unlink else "torn"
        found_and_mended(cli, made, path, computes=int(of_features), kinds=kind)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_two_files_that_changed_places_are_found_and_mended(
    cli: Cli, make: Make, tmp_path: Path, suffix: str
) -> None:
    made = make(suffix)
    first, second = made.of_features[0], made.of_features[-2]
    for one, other in ((first, "aside"), (second, first), ("aside", second)):
        os.replace(tmp_path / one, tmp_path / other)
    found_and_mended(cli, made, first, second, computes=2)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_foreign_file_is_found_and_removed_where_only_the_store_s_belong(
    cli: Cli, make: Make, suffix: str
) -> None:
    made = make(suffix)
    names = ["00009999.h5", "junk", "7.h5", "folder/00000001.h5"]
    if suffix == ".zarr":
        names = ["features/c.999.0.0", "features/c.x", "features/c.00.0.0", "label/junk"]
    paths = [made.parts / name for name in names]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"junk")
    found_and_mended(cli, made, *paths, computes=0, kinds="foreign")


def test_an_array_of_the_user_s_own_is_named_and_never_removed(cli: Cli, make: Make) -> None:
    made = make(".zarr")
    zarr.open_group(made.out)["mine"] = np.arange(5)
    (made.out / "notes.txt").write_text("mine")
    before = snapshot(made.out)
    for options in ([], ["--repair"]):
        found = cli("verify", made.out, *options)
        assert found.code == 1
        lines = found.out.splitlines()[:-1]
        assert sorted(lines) == sorted(
            f"foreign: {made.out / name}" for name in ("mine/zarr.json", "mine/c/0", "notes.txt")
        )
        assert snapshot(made.out) == before
    assert made.extract() == 0
    assert np.array_equal(zarr.open_array(made.out / "mine")[:], np.arange(5))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_repair_changes_nothing_of_a_store_that_is_right(
    cli: Cli, make: Make, tmp_path: Path, suffix: str
) -> None:
    made = make(suffix)
    before = snapshot(tmp_path)
    assert cli("verify", made.out, "--repair") == (0, "all is as it was written\n", "")
    assert cli("verify", made.out, "--json") == (0, "[]\n", "")
    assert {path: kept[1] for path, kept in snapshot(tmp_path).items()} == {
        path: kept[1] for path, kept in before.items()
    }
    assert snapshot(made.parts) == {
        str(Path(path).relative_to(made.parts.name)): kept
        for path, kept in before.items()
        if Path(path).parts[0] == made.parts.name and len(Path(path).parts) > 1
    }


def make_half(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make it anew, but for the last three of its six regions, which fail."""
    for path in {made.out, made.parts}:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    calls = iter(range(1000))
    with monkeypatch.context() as patch:
        whole = Levels.__call__
        fails = lambda self, windows: whole(self, windows / (next(calls) < 6))  # noqa: E731
        patch.setattr(Levels, "__call__", fails)
        with np.errstate(divide="ignore", invalid="ignore"):
            report = run(made.plan, Cluster(threads=1))
    assert (report.computed, len(report.failed)) == (3, 3)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_of_an_unfinished_store_what_is_done_is_verified(
    cli: Cli, make: Make, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    made = make(suffix)
    make_half(made, monkeypatch)
    said = "all is as it was written\nnot stored yet: 3 of 6 regions\n"
    assert cli("verify", made.out) == (0, said, "")
    path = made.of_features[2]
    longer(path)
    found = cli("verify", made.out)
    place = made.place_of(path)
    assert place is not None
    assert (found.code, len(found.out.splitlines())) == (1, 2)
    assert found.out.startswith(f"torn: {path}: {place}")
    assert cli("verify", made.out, "--repair").code == 1
    assert made.extract() == 4
    assert cli("verify", made.out).code == 0
    assert np.array_equal(np.concatenate([X for X, _ in pl.Batches(made.out)]), made.features)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_is_damaged_before_the_end_is_not_recorded_as_right(
    make: Make, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    made = make(suffix)
    before = {name: open_store(made.out).get(name) for name in ("label", "start", "recording")}
    rng = np.random.default_rng(7)
    for name in ("label", "start", "recording"):
        make_half(made, monkeypatch)
        path = made.out / name / "c.0" if suffix == ".zarr" else made.out
        data = bytearray(path.read_bytes())
        # Of the master, where the values are: damage elsewhere, HDF5 may refuse to open.
        values = np.asarray(before[name]).tobytes()
        position = data.find(values) if suffix == ".h5" else 0
        data[position + int(rng.integers(len(values) if suffix == ".h5" else len(data)))] ^= 4
        path.write_bytes(data)
        assert made.extract() == 3
        assert verify(made.out) == []
        store = open_store(made.out)
        for key, values_before in before.items():
            assert np.array_equal(store.get(key), values_before)  # type: ignore[arg-type]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_status_of_a_job_that_runs_is_killed_and_ends(tmp_path: Path, suffix: str) -> None:
    place = Workplace(tmp_path)
    out = f"x{suffix}"

    def status() -> dict[str, Any]:
        shown = place.run("status", out, "--json")
        assert (shown.code, shown.err) == (0, "")
        assert place.run("status", out).code == 0
        found: dict[str, Any] = json.loads(shown.out)
        return found

    assert place.run("status", out).code == 2
    running = place.held(out)
    now = status()
    assert now["running"] == [f"process {running.pid} on {socket.gethostname()}"]
    assert [now[name] for name in ("windows", "regions", "done", "pending", "failed")] == [
        *(WINDOWS, REGIONS, 1, REGIONS - 1, [])
    ]
    assert verify(tmp_path / out) == []
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    place.release()
    now = status()
    assert (now["running"], now["done"], now["finished"]) == ([], 1, False)
    assert verify(tmp_path / out) == []
    fails = "import ramp; ramp.Ramp.__call__ = lambda self, windows: 1 / 0"
    assert place.extract(out, before=fails).wait().code == 1
    now = status()
    assert (now["done"], now["pending"], len(now["failed"])) == (1, 0, REGIONS - 1)
    assert "ZeroDivisionError" in now["failed"][0]["reason"]
    assert now["failed"][0]["windows"] == [4096, 8192]
    assert place.extract(out).wait().code == 0
    now = status()
    assert (now["finished"], now["running"], now["done"], now["failed"]) == (True, [], REGIONS, [])


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_status_tells_of_what_could_not_be_read(cli: Cli, tmp_path: Path, suffix: str) -> None:
    folder = tmp_path / "sources"
    folder.mkdir()
    samples = np.random.default_rng(0).standard_normal(6000) / 10
    samples[2500] = np.nan
    save_hdf5(folder / "a", samples, rate=1000)
    (folder / "b.wav").write_bytes(b"no sound")
    out = tmp_path / f"x{suffix}"
    assert not pl.extract(folder, out, pl.Spectrogram(n_fft=32, frame_length=20)).ok
    now = json.loads(cli("status", out, "--json").out)
    assert (now["finished"], now["done"], now["pending"], now["failed"]) == (True, 1, 0, [])
    assert [Path(path).name for path in now["unreadable"]] == ["b.wav"]
    assert [masked["windows"] for masked in now["masked"]] == [[2, 3]]
    assert verify(out) == []


@pytest.mark.parametrize("verb", ["status", "verify", "info"])
def test_what_is_no_store_is_refused(cli: Cli, tmp_path: Path, verb: str) -> None:
    zarr.open_group(tmp_path / "other.zarr", mode="w")
    with h5py.File(tmp_path / "other.h5", "w"):
        pass
    for name in ("none.zarr", "none.h5", "other.zarr", "other.h5", "x.npy"):
        ended = cli(verb, name)
        assert (ended.code, ended.out) == (2, "")
        assert ended.err.startswith("error: ")
        assert len(ended.err.splitlines()) == 1
        assert name in ended.err


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_no_flipped_byte_in_features_is_ever_read_as_numbers(make: Make, suffix: str) -> None:
    made = make(suffix)
    path = made.of_features[1]
    data = path.read_bytes()
    raised = 0
    for position in np.linspace(0, len(data) - 1, 150).astype(int).tolist():
        changed = bytearray(data)
        changed[position] ^= 1 << position % 8
        path.write_bytes(changed)
        complaint = ""
        try:
            found = np.concatenate([X for X, _ in pl.Batches(made.out, 11)])
            assert np.array_equal(found, made.features)
        except OSError as error:
            complaint = str(error)
            raised += 1
        if complaint:
            assert f"in {path}, is" in complaint
            assert complaint.startswith(f"{made.out}: window ")
    assert raised > (100 if suffix == ".zarr" else 30)
    path.write_bytes(data)
    assert np.array_equal(np.concatenate([X for X, _ in pl.Batches(made.out)]), made.features)


def test_a_missing_part_is_refused_when_the_store_is_opened(make: Make) -> None:
    made = make(".h5")
    made.of_features[2].unlink()
    with pytest.raises(
        FileNotFoundError, match=r"windows 16 to 23 out of .*00000002\.h5, which is"
    ):
        pl.Batches(made.out)


FEW_FILES = """
import resource, sys, h5py, numpy as np, pipeline as pl
X = np.load("features.npy")
resource.setrlimit(resource.RLIMIT_NOFILE, (25, 25))
for _ in range(2):
    assert np.array_equal(np.concatenate([x for x, _ in pl.Batches("x.h5", 10)]), X)
for x, y in pl.Batches("x.h5", 10, shuffle=True):
    assert np.array_equal(x, X[y])
with h5py.File("x.h5") as file:
    plain = file["features"][:]
wrong = (plain != X).reshape(len(X), -1).any(axis=1)
assert np.isnan(plain[wrong]).all()
print(wrong.sum())
"""


def test_more_parts_than_files_may_be_open(make: Make, tmp_path: Path) -> None:
    """Batches read right; h5py alone shows NaN, and never zeros, for what it cannot open."""
    made = make(".h5", region=1)
    np.save(tmp_path / "features.npy", made.features)
    command = [sys.executable, "-c", FEW_FILES]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert 0 < int(done.stdout) < N


@pytest.mark.parametrize("n_windows", [1, 10**5, 10**7, 10**9, 10**12])
@pytest.mark.parametrize("shape", [(1,), (257, 400), (4096, 4096)])
def test_the_parts_of_a_store_may_all_be_open(n_windows: int, shape: tuple[int, ...]) -> None:
    layout = choose_layout(n_windows, shape, "float32", 32000, region_is_file=True)
    assert layout.n_regions <= MOST_PARTS == 512


@pytest.fixture
def packed(make: Make, tmp_path: Path) -> tuple[Made, Path]:
    """A store with names of classes, and its plain copy."""
    made = make(".h5", text=True)
    pack(made.out, tmp_path / "plain.h5")
    return made, tmp_path / "plain.h5"


def test_a_packed_copy_is_equal_and_needs_no_parts(
    cli: Cli, packed: tuple[Made, Path], tmp_path: Path
) -> None:
    made, plain = packed
    with h5py.File(made.out) as old, h5py.File(plain) as new:
        assert set(old) == set(new)
        assert not new["features"].is_virtual
        for name in old:
            assert new[name].dtype == old[name].dtype
            assert np.array_equal(new[name][()], old[name][()])
            own = [key for key in old[name].attrs if "_LIST" not in key]
            for key in set(own) - {"region", "DIMENSION_LABELS", "CLASS", "NAME"}:
                assert new[name].attrs[key] == old[name].attrs[key]
            for one, other in zip(old[name].dims, new[name].dims, strict=True):
                assert other.label == one.label
                assert [scale.name for scale in other.values()] == [
                    scale.name for scale in one.values()
                ]
        assert dict(old.attrs) == dict(new.attrs)
    before = plain.read_bytes()
    with h5py.File(made.out) as old:
        old_y = old["label"][:]
    shutil.rmtree(made.parts)
    made.out.unlink()
    batches = pl.Batches(plain, 7)
    assert np.array_equal(np.concatenate([X for X, _ in batches]), made.features)
    assert np.array_equal(np.concatenate([np.asarray(y) for _, y in batches]), old_y)
    assert batches.classes == sorted(TEXT)
    info = json.loads(cli("info", plain, "--json").out)
    assert (info["shape"], info["classes"], info["regions"]) == ([N, 6, 5], sorted(TEXT), None)
    assert cli("plot", plain, "--window", 3, "--png", "x.png").code == 0
    for verb in ("status", "verify"):
        ended = cli(verb, plain)
        assert (ended.code, ended.out) == (2, "")
        assert f"{plain} is a packed copy" in ended.err
    plan = dataclasses.replace(made.plan, out=str(plain))
    with pytest.raises(ValueError, match="is a packed copy; pass another path, or --overwrite"):
        run(plan, Cluster(threads=1))
    assert plain.read_bytes() == before


def test_what_cannot_be_packed_is_refused_and_nothing_left(
    cli: Cli, packed: tuple[Made, Path], tmp_path: Path
) -> None:
    made, plain = packed
    before = sorted(os.listdir(tmp_path))
    cases = [
        ((made.out, plain), f"{plain} exists; pass another path to pack into"),
        ((made.out, made.out), f"{made.out} exists; pass another path to pack into"),
        ((made.out, "y.zarr"), "both must end in .h5 or .hdf5"),
        ((tmp_path / "none.h5", "y.h5"), "does not exist"),
    ]
    for arguments, message in cases:
        ended = cli("pack", *arguments)
        assert (ended.code, ended.out) == (2, "")
        assert message in ended.err
    part = made.of_features[3]
    data = bytearray(part.read_bytes())
    data[len(data) * 2 // 3] ^= 1
    part.write_bytes(data)
    ended = cli("pack", made.out, "y.h5")
    assert (ended.code, ended.out) == (2, "")
    said = rf"cannot be packed into y\.h5: windows (\d+) to (\d+), in {part}, are damaged"
    found = re.search(said, ended.err)
    assert found is not None
    assert 24 <= int(found[1]) < int(found[2]) <= 31
    assert len(ended.err.splitlines()) == 1
    forget(made.out)
    assert "is not finished: 0 of 6" in cli("pack", made.out, "y.h5").err
    assert sorted(os.listdir(tmp_path)) == before


def test_a_full_disk_leaves_no_packed_copy(cli: Cli, make: Make, tmp_path: Path) -> None:
    made = make(".h5")
    (tmp_path / "full").mkdir()
    options = ["-t", "tmpfs", "-o", "size=8k", "none", str(tmp_path / "full")]
    if subprocess.run(["mount", *options], capture_output=True).returncode:
        pytest.skip("nothing may be mounted here")
    try:
        ended = cli("pack", made.out, "full/y.h5")
        assert (ended.code, ended.out) == (2, "")
        message = f"error: {made.out} cannot be packed into full/y.h5: No space left on device\n"
        assert ended.err == message
        assert os.listdir("full") == []
    finally:
        subprocess.run(["umount", tmp_path / "full"], check=True)


def test_a_store_of_another_version_is_neither_called_damaged_nor_gone_on_with(
    cli: Cli, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        for module in (pipeline.job.identity, pipeline.job.setup, pipeline.store.opening):
            patch.setattr(module, "FORMAT", 3)
        made = make(".zarr")
    ended = cli("verify", made.out)
    assert (ended.code, ended.out) == (2, "")
    assert "made by another version of this package" in ended.err
    made.plan = dataclasses.replace(made.plan)  # of this version
    with pytest.raises(ValueError, match="holds another job: it was made by another version"):
        made.extract()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_damage_is_found_while_another_share_adds_lines_to_an_earlier_log(
    make: Make, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    made = make(suffix)
    logs = record_folder(made.out) / "log"
    earlier = logs / "000000-other-1.jsonl"
    lines = [line for log in logs.iterdir() for line in log.read_text().splitlines(True)]
    earlier.write_text(lines[0])
    path = made.of_features[-1]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    verification = pipeline.job.verification._Verification
    read = verification._read_lines

    def read_then_add(self: Any) -> list[str]:
        damaged = read(self)
        earlier.write_text(lines[0] + lines[0])
        return damaged

    monkeypatch.setattr(verification, "_read_lines", read_then_add)
    assert [damage.file for damage in verify(made.out)] == [str(path)]


def test_labels_of_another_store_are_found_though_they_are_whole_and_as_long(make: Make) -> None:
    made = make(".zarr")
    file, other = made.out / "label" / "c.0", made.out.with_name("other.zarr")
    size, rng = file.stat().st_size, np.random.default_rng(0)
    shutil.copytree(made.out, other)
    for _ in range(200):
        zarr.open_group(other)["label"][:] = rng.permutation(N)
        if (other / "label" / "c.0").stat().st_size == size:
            break
    assert verify(made.out) == []
    shutil.copy(other / "label" / "c.0", file)
    assert file.stat().st_size == size
    assert [damage.file for damage in verify(made.out)] == [str(file)]
