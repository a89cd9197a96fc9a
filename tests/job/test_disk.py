"""The disk fails a job: it is full, read-only or gone, and the same command goes on."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import NamedTuple

import pytest
from commands import REGIONS, WINDOWS, Command, Ended, Workplace, wait_for, write_recording
from conftest import done_regions, record_folder, record_lines, stored

from pipeline.job.verification import verify
from pipeline.process.resources import boot
from pipeline.record.entries import Done
from pipeline.record.state import UNFLUSHED_SECONDS, power_lost

ROOMY = "size=32m,nr_inodes=400"
# As the one who runs the tests, but with no power over what belongs to others or is protected.
POWERLESS = """
import ctypes
version, nothing = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
assert ctypes.CDLL(None).capset(ctypes.byref(version), ctypes.byref(nothing)) == 0
"""
GATE = """
import functools, os, time
def gate(owner, name):
    true = getattr(owner, name)
    @functools.wraps(true)
    def waiting(*arguments):
        open("at-gate", "w").close()
        while os.path.exists("gate"):
            time.sleep(0.005)
        return true(*arguments)
    setattr(owner, name, waiting)
"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, suffix: str) -> dict[str, str]:
    """What an uninterrupted job stores."""
    return Workplace(tmp_path_factory.mktemp("whole")).undisturbed("x" + suffix)


@pytest.fixture
def place(tmp_path: Path) -> Workplace:
    return Workplace(tmp_path)


class Disk(NamedTuple):
    """A file system of its own, in memory."""

    path: Path

    def remount(self, options: str) -> None:
        mount("-o", f"remount,{options}", self.path)

    def fill(self, files_too: bool = True) -> None:
        """Leave no room for a single byte and, if wanted, for no other file."""
        with suppress(OSError), open(self.path / "ballast", "ab", buffering=0) as ballast:
            for size in (1 << 16, 1 << 12):
                with suppress(OSError):
                    while True:
                        ballast.write(bytes(size))
        with suppress(OSError):
            for i in range(1000 * files_too):
                (self.path / f"ballast-{i}").touch()

    def clear(self) -> None:
        """Make room again."""
        for path in self.path.glob("ballast*"):
            path.unlink()


def mount(*arguments: object) -> None:
    command = ["mount", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"nothing may be mounted here: {done.stderr.strip()}")


def unmount(path: Path) -> None:
    subprocess.run(["umount", "-l", path], check=True)


@pytest.fixture
def mounted() -> Iterator[Callable[[Path, str], Disk]]:
    """Mounts file systems in memory, for as long as the test runs."""
    with ExitStack() as stack:

        def mount_at(path: Path, options: str = ROOMY) -> Disk:
            path.mkdir(exist_ok=True)
            mount("-t", "tmpfs", "-o", options, "none", path)
            stack.callback(unmount, path)
            return Disk(path)

        yield mount_at


@pytest.fixture
def disk(tmp_path: Path, mounted: Callable[..., Disk]) -> Disk:
    return mounted(tmp_path / "disk")


def stopped(ended: Ended, out: Path, why: str) -> None:
    """One clear message says which store could not be written to, why, and what to do."""
    assert (ended.code, ended.out) == (1, "")
    report, message = ended.err.strip().splitlines()
    assert f"{WINDOWS} windows in {REGIONS} regions" in report
    assert message == (
        f"stopped: {out}: {why}; what is done is kept: fix that, and run the same command again"
    )


def goes_on(place: Workplace, out: Path, whole: dict[str, str], kept: int) -> None:
    """What was recorded is right; the same command computes the rest, and no more."""
    if kept:
        assert verify(out) == []
    again = place.extract(out).wait()
    assert again.code == 0
    report = f"{WINDOWS} windows in {REGIONS} regions, {REGIONS - kept} computed now"
    assert report in again.err
    assert stored(out) == whole
    assert verify(out) == []
    left = {path.name for path in out.parent.iterdir()}
    assert left <= {out.name, f"{out.name}.parts"}


@pytest.mark.parametrize("files_too", [True, False])
def test_full_while_regions_are_written(
    place: Workplace, disk: Disk, suffix: str, whole: dict[str, str], files_too: bool
) -> None:
    out = disk.path / f"x{suffix}"
    running = place.held(out)
    disk.fill(files_too)
    place.release()
    stopped(running.wait(), out, "No space left on device")
    assert done_regions(out) == 1
    stopped(place.extract(out).wait(), out, "No space left on device")
    assert sum(line["kind"] == "failed" for line in record_lines(out)) == 0
    disk.clear()
    goes_on(place, out, whole, kept=1)


def test_full_at_any_write_of_a_region(
    place: Workplace, disk: Disk, suffix: str, whole: dict[str, str]
) -> None:
    """Some room is left: for a file and not its data, for data and not what is said of it."""
    out = disk.path / f"x{suffix}"
    running = place.held(out)
    disk.fill()
    place.release()
    stopped(running.wait(), out, "No space left on device")
    with (disk.path / "ballast").open("r+b") as ballast:
        for i, pages in enumerate((1, 3, 80, 200)):
            ballast.truncate(ballast.seek(0, os.SEEK_END) - pages * 4096)
            (disk.path / f"ballast-{2 * i}").unlink()
            (disk.path / f"ballast-{2 * i + 1}").unlink()
            ended = place.extract(out).wait()
            if ended.code == 0 or done_regions(out) == REGIONS:
                break
            stopped(ended, out, "No space left on device")
            disk.fill(files_too=False)
            for name in (f"ballast-{2 * i}", f"ballast-{2 * i + 1}"):
                with suppress(OSError):
                    (disk.path / name).touch()
    done = done_regions(out)
    disk.clear()
    goes_on(place, out, whole, kept=done)


def test_full_while_the_store_is_made(
    place: Workplace, disk: Disk, suffix: str, whole: dict[str, str]
) -> None:
    """Nothing is left, however far it came, and where there is room it is made."""
    out, seen = disk.path / f"x{suffix}", 0
    last = 34 if suffix == ".zarr" else 9
    few = [f"size=32m,nr_inodes={n}" for n in (1, 2, 3, 6, 14, 27, 30) if n < last]
    small = [f"size={n}k,nr_inodes=400" for n in (8, 120)]
    for options in few + small:
        disk.remount("size=32m,nr_inodes=400")
        disk.remount(options)
        unchecked = "pipeline.job.projection.check_fits = lambda *arguments: None"
        ended = place.extract(out, before=unchecked).wait()
        if ended.code == 1:  # it was made, and the regions found no room
            stopped(ended, out, "No space left on device")
            disk.remount(ROOMY)
            assert verify(out) == []
            for path in disk.path.iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            continue
        seen += 1
        assert ended == (
            2,
            "",
            f"error: {out} cannot be written to: No space left on device; fix that, and run the "
            f"same command again\n",
        )
        assert list(disk.path.iterdir()) == []
    assert seen > 4
    disk.remount(ROOMY)
    goes_on(place, out, whole, kept=0)


def test_full_while_the_record_is_written(
    place: Workplace,
    mounted: Callable[[Path, str], Disk],
    tmp_path: Path,
    suffix: str,
    whole: dict[str, str],
) -> None:
    """The record is on a disk of one page, of which the rest of half a line is left."""
    out = tmp_path / "disk" / f"x{suffix}"
    out.parent.mkdir()
    running = place.held(out)
    log = record_folder(out) / "log"
    so_far = b"".join(path.read_bytes() for path in sorted(log.iterdir()))
    name = max(log.iterdir()).name
    page = mounted(log, "size=4k")
    (log / name).write_bytes((so_far + b"\n" * 4096)[: 4096 - 100])
    place.release()
    stopped(running.wait(), out, "No space left on device")
    assert (log / name).stat().st_size == 4096 - 100  # half a line is taken back
    assert verify(out) == []
    page.remount("size=1m")
    goes_on(place, out, whole, kept=1)


def at_gate(place: Workplace, out: Path) -> Command:
    """The job, which waits where it would finish the store until the file "gate" is removed."""
    (place.folder / "gate").touch()
    running = place.extract(out, before=GATE + "gate(pipeline.job.execution, 'finish')")
    wait_for((place.folder / "at-gate").exists)
    return running


@pytest.mark.parametrize("kept", ["files", "bytes"])
def test_full_while_the_job_finishes(
    place: Workplace, disk: Disk, suffix: str, whole: dict[str, str], kept: str
) -> None:
    out = disk.path / f"x{suffix}"
    running = at_gate(place, out)
    disk.fill()
    if kept == "files":
        for path in disk.path.glob("ballast-*"):
            path.unlink()
    else:
        os.truncate(disk.path / "ballast", 0)
    (place.folder / "gate").unlink()
    stopped(running.wait(), out, "No space left on device")
    disk.clear()
    goes_on(place, out, whole, kept=REGIONS)


def test_full_after_the_store_was_finished_and_before_that_was_recorded(
    place: Workplace,
    mounted: Callable[[Path, str], Disk],
    tmp_path: Path,
    suffix: str,
    whole: dict[str, str],
) -> None:
    out = tmp_path / "disk" / f"x{suffix}"
    out.parent.mkdir()
    running = at_gate(place, out)
    log = record_folder(out) / "log"
    lines = {path.name: path.read_bytes() for path in log.iterdir()}
    room = mounted(log, "size=16k")
    for name, data in lines.items():
        (log / name).write_bytes(data)
    last = log / max(lines)
    last.write_bytes(last.read_bytes().ljust(4096 - 20, b"\n"))
    room.fill(files_too=False)
    (place.folder / "gate").unlink()
    stopped(running.wait(), out, "No space left on device")
    room.clear()
    goes_on(place, out, whole, kept=REGIONS)


def read_only(out: Path) -> None:
    mount("--bind", out.parent, out.parent)
    mount("-o", "remount,bind,ro", out.parent)


def writable(out: Path) -> None:
    unmount(out.parent)


def test_read_only_in_the_middle(
    place: Workplace, disk: Disk, suffix: str, whole: dict[str, str]
) -> None:
    out = disk.path / f"x{suffix}"
    running = place.held(out)
    read_only(out)
    try:
        place.release()
        stopped(running.wait(), out, "Read-only file system")
        again = place.extract(out).wait()
        assert (again.code, len(again.err.splitlines())) == (2, 1)
        assert str(disk.path) in again.err
        assert verify(out) == []
    finally:
        writable(out)
    goes_on(place, out, whole, kept=1)


@pytest.mark.parametrize(
    ("removed", "kept"), [(("", ".parts"), 0), (("",), None), ((".parts",), None)]
)
def test_removed_while_it_is_written(
    place: Workplace,
    tmp_path: Path,
    suffix: str,
    whole: dict[str, str],
    removed: tuple[str, ...],
    kept: int | None,
) -> None:
    if suffix == ".zarr" and kept is None:
        return  # a Zarr store is one folder
    out = tmp_path / "disk" / f"x{suffix}"
    out.parent.mkdir()
    running = place.held(out)
    for ending in removed:
        path = Path(f"{out}{ending}")
        if path.is_dir():
            shutil.rmtree(path)
        elif path.exists():
            path.unlink()
    place.release()
    stopped(running.wait(), out, "No such file or directory")
    left = sorted(path.name for path in out.parent.iterdir())
    if removed == (".parts",):
        assert left == [out.name]
        for command in (place.extract(out).wait(), place.run("verify", out)):
            assert command.code == 2
            assert "which holds its features and its record; put that back" in command.err
        out.unlink()
    elif removed == ("",):
        found = place.run("verify", out)
        assert found.code == 1
        assert found.out.splitlines() == [f"missing: {out}", "damaged: 1"]
        again = place.extract(out).wait()
        assert f"{REGIONS - done_regions(out)} computed now" in again.err
        kept = REGIONS
    else:
        assert left == []
    goes_on(place, out, whole, kept or 0)


def test_the_folder_it_is_in_is_moved_away_and_back(
    place: Workplace, tmp_path: Path, suffix: str, whole: dict[str, str]
) -> None:
    out = tmp_path / "disk" / f"x{suffix}"
    out.parent.mkdir()
    running = place.held(out)
    out.parent.rename(tmp_path / "elsewhere")
    place.release()
    stopped(running.wait(), out, "No such file or directory")
    assert not out.parent.exists()
    (tmp_path / "elsewhere").rename(out.parent)
    goes_on(place, out, whole, kept=1)


def test_permission_is_taken_away(
    place: Workplace, tmp_path: Path, suffix: str, whole: dict[str, str]
) -> None:
    out = tmp_path / "disk" / f"x{suffix}"
    out.parent.mkdir()
    before = POWERLESS if os.geteuid() == 0 else ""
    running = place.held(out, before=before)
    roots = (out.parent, out, Path(f"{out}.parts"))
    folders = [
        folder
        for root in roots
        if root.is_dir()
        for folder in (root, *root.rglob("*"))
        if folder.is_dir()
    ]
    for folder in folders:
        folder.chmod(0o500)
    place.release()
    stopped(running.wait(), out, "Permission denied")
    again = place.extract(out, before=before).wait()
    assert (again.code, len(again.err.splitlines())) == (2, 1)
    assert str(out) in again.err
    for folder in folders:
        folder.chmod(0o700)
    goes_on(place, out, whole, kept=1)


@pytest.mark.parametrize("change", ["shorter", "empty", "missing", "zeros"])
def test_a_file_that_did_not_survive_a_loss_of_power_is_computed_again(
    place: Workplace, tmp_path: Path, suffix: str, whole: dict[str, str], change: str
) -> None:
    out = tmp_path / "disk" / f"x{suffix}"
    out.parent.mkdir()
    assert place.extract(out).wait().code == 0
    (record_folder(out) / "finished").unlink()
    file = next(line for line in record_lines(out) if line["kind"] == "done")["files"][0][0]
    path = (out if suffix == ".zarr" else Path(f"{out}.parts")) / file
    if change == "missing":
        path.unlink()
    elif change == "zeros":
        path.write_bytes(bytes(path.stat().st_size))
        assert "0 computed now" in place.extract(out).wait().err  # the power was never gone
        (record_folder(out) / "finished").unlink()
    else:
        os.truncate(path, 0 if change == "empty" else path.stat().st_size - 1)
    again = place.extract(out, before="pipeline.record.state.boot = lambda: 'another'").wait()
    assert (again.code, f"{REGIONS} regions, 1 computed now" in again.err) == (0, True)
    assert stored(out) == whole
    assert verify(out) == []


def test_what_was_flushed_or_stored_long_ago_is_not_doubted(
    place: Workplace, tmp_path: Path, suffix: str
) -> None:
    out = tmp_path / "disk" / f"x{suffix}"
    out.parent.mkdir()
    assert place.extract(out, "--flush").wait().code == 0
    lines = [line for line in record_lines(out) if line["kind"] == "done"]
    assert {line["boot"] for line in lines} == {""}
    for now, flushed, expected in (("same", False, 0), ("other", True, 0), ("other", False, 2)):
        lines, boots = [], {"same": boot(), "other": "an earlier one"}
        times = (0.0, 1000.0, 1000.0 + UNFLUSHED_SECONDS, 1001.0 + UNFLUSHED_SECONDS)
        for i, at in enumerate(times):
            name = "" if flushed else boots[now]
            lines.append(Done(i, (), boot=name, time=at))
        doubtful = power_lost(lines)
        assert sum(map(doubtful, lines)) == expected


def test_the_disk_with_the_sources_vanishes(
    tmp_path: Path, mounted: Callable[..., Disk], suffix: str
) -> None:
    place = Workplace(tmp_path)
    out = tmp_path / "disk" / f"x{suffix}"
    out.parent.mkdir()
    real, usb = mounted(tmp_path / "real"), tmp_path / "usb"
    usb.mkdir()
    for i in range(3):
        write_recording(real.path / f"{i}.wav", seed=i, windows=WINDOWS // 3)
    mount("--bind", real.path, usb)
    running = place.held(out, wav="usb")
    unmount(usb)
    place.release()
    ended = running.wait()
    assert (ended.code, ended.out) == (1, "")
    assert all(line.startswith("failed: region") for line in ended.err.splitlines()[1:])
    assert "usb/2.wav" in ended.err
    assert verify(out) == []
    done = done_regions(out)
    assert 1 <= done < REGIONS
    mount("--bind", real.path, usb)
    again = place.extract(out, wav="usb").wait()
    assert (again.code, f"{REGIONS - done} computed now" in again.err) == (0, True)
    other = Workplace(tmp_path / "other").folder / f"x{suffix}"
    assert place.extract(other, wav="usb").wait().code == 0
    unmount(usb)
    assert stored(out) == stored(other)
