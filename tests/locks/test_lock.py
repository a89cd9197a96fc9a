"""One job at a time writes to a store, and a dead one blocks no other for long."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
from commands import ELSEWHERE, LEASE, REGIONS, Ended, Workplace, start
from conftest import done_regions, stored

from pipeline.job.verification import verify
from pipeline.locks import processes
from pipeline.locks.lease import FileLease


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, suffix: str) -> dict[str, str]:
    """What a job stores that nothing disturbs."""
    return Workplace(tmp_path_factory.mktemp("whole")).undisturbed("x" + suffix)


@pytest.fixture
def place(tmp_path: Path) -> Workplace:
    place = Workplace(tmp_path)
    (tmp_path / "out").mkdir()
    return place


def lock_of(out: Path) -> Path:
    return out.with_name(f".{out.name}.lock")


def refused(ended: Ended, pid: int, host: str, out: Path) -> None:
    assert ended == (
        2,
        "",
        f"error: another job (process {pid} on {host}) is writing to {out}; wait until it has "
        f"ended, or stop it, and run the same command again\n",
    )


def is_whole(out: Path, whole: dict[str, str]) -> None:
    assert stored(out) == whole
    assert verify(out) == []
    assert {path.name for path in out.parent.iterdir()} <= {out.name, f"{out.name}.parts"}


def test_a_second_job_is_refused_and_the_first_not_disturbed(
    place: Workplace, suffix: str, whole: dict[str, str]
) -> None:
    out, other = place.folder / "out" / f"x{suffix}", place.folder / f"other{suffix}"
    running = place.held(out)
    (place.folder / "link").symlink_to("out")
    (place.folder / f"link{suffix}").symlink_to(f"out/x{suffix}")
    here = socket.gethostname()
    for options in ([], ["--overwrite"], ["--hop", "0.008", "--overwrite"]):
        refused(place.extract(out, *options).wait(), running.pid, here, out)
    refused(place.run("verify", out, "--repair"), running.pid, here, out)
    for name in (f"out/x{suffix}", f"link{suffix}"):
        refused(place.extract(name).wait(), running.pid, here, out)
    through = place.folder / "link" / f"x{suffix}"
    refused(place.extract(through).wait(), running.pid, here, through)
    (place.folder / "held").unlink()
    assert lock_of(out).exists()
    assert not [path for path in out.rglob("*") if path.name.endswith(".lock")]
    place.release()
    assert place.extract(other).wait().code == 0
    ended = running.wait()
    assert (ended.code, f"{REGIONS} computed now" in ended.err) == (0, True)
    is_whole(out, whole)
    assert {name.replace("other", "out"): digest for name, digest in stored(other).items()} == whole


def test_jobs_on_other_stores_run_beside_it(
    place: Workplace, suffix: str, whole: dict[str, str]
) -> None:
    outs = [place.folder / "out" / f"{name}{suffix}" for name in "xy"]
    first, second = (place.held(out) for out in outs)
    place.release()
    assert [first.wait().code, second.wait().code] == [0, 0]
    assert all(stored(out) == whole for out in outs)


def test_the_lock_of_a_killed_job_of_this_host_does_not_block(
    place: Workplace, suffix: str, whole: dict[str, str]
) -> None:
    out = place.folder / "out" / f"x{suffix}"
    for_ever = "pipeline.locks.lock.LEASE_SECONDS = 10000.0\n"
    running = place.held(out, before=for_ever)
    os.kill(running.pid, signal.SIGKILL)
    assert running.wait().code == -signal.SIGKILL
    assert lock_of(out).exists()
    place.release()
    again = place.extract(out, before=for_ever).wait()
    assert (again.code, f"{REGIONS - 1} computed now" in again.err) == (0, True)
    is_whole(out, whole)


def test_the_lock_of_another_host_is_taken_when_it_shows_no_sign_of_life(
    place: Workplace, suffix: str, whole: dict[str, str]
) -> None:
    out = place.folder / "out" / f"x{suffix}"
    running = place.held(out, before=ELSEWHERE)
    second = place.extract(out, "--overwrite", before=LEASE).wait()
    refused(second, running.pid, "elsewhere", out)
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    place.release()
    again = place.extract(out, before=LEASE).wait()
    assert (again.code, f"{REGIONS - 1} computed now" in again.err) == (0, True)
    is_whole(out, whole)


@pytest.mark.parametrize("other", [False, True])
def test_a_job_that_was_stopped_while_another_took_over_writes_no_more(
    place: Workplace, suffix: str, whole: dict[str, str], other: bool
) -> None:
    """Whether the other has ended, or is still at work on something else in its place."""
    out = place.folder / "out" / f"x{suffix}"
    running = place.held(out, before=ELSEWHERE)
    os.kill(running.pid, signal.SIGSTOP)
    if other:
        options = ("--dtype", "float16", "--overwrite")
        second = place.held(out, *options, before=LEASE)
    else:
        place.release()
        assert place.extract(out, before=LEASE).wait().code == 0
    os.kill(running.pid, signal.SIGCONT)
    if other:
        place.release()
        assert second.wait().code == 0
    ended = running.wait()
    assert (ended.code, ended.out) == (1, "")
    message = ended.err.strip().splitlines()[-1]
    assert message.startswith(f"stopped: {out}: ")
    assert verify(out) == []
    if other:
        fresh = place.folder / "fresh" / f"x{suffix}"
        assert place.extract(fresh, "--dtype", "float16").wait().code == 0
        assert stored(out) == stored(fresh)
    else:
        assert "the lock was lost: this job was stopped for so long" in message
        is_whole(out, whole)


def test_a_job_that_is_stopped_is_still_at_work(place: Workplace) -> None:
    out = place.folder / "out" / "x.zarr"
    running = place.held(out, before="pipeline.locks.lock.LEASE_SECONDS = 0.5")
    os.kill(running.pid, signal.SIGSTOP)
    time.sleep(1)
    try:
        shown = start(
            "status", out, cwd=place.folder, before="pipeline.locks.lock.LEASE_SECONDS = 0.5"
        )
        assert re.search(rf"^running +process {running.pid} on ", shown.wait().out, re.MULTILINE)
    finally:
        os.kill(running.pid, signal.SIGCONT)
        place.release()
    assert running.wait().code == 0


@pytest.mark.parametrize("ahead", [-1e6, 0.0, 40.0, 1e6])
def test_a_lock_that_is_just_being_made_is_left_alone_whatever_the_clock_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ahead: float
) -> None:
    """Another host may be between making the file and writing into it."""
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + ahead)
    file = lock_of(tmp_path / "x.zarr")
    file.touch()
    inode = file.stat().st_ino
    with pytest.raises(TimeoutError):
        FileLease(file, 1.0).acquire(0.6)
    assert file.stat().st_ino == inode
    os.utime(file, ns=(0, 0))  # it shows a sign of life
    lock = FileLease(file, 1.0)
    with pytest.raises(TimeoutError):
        lock.acquire(0.6)
    assert file.stat().st_ino == inode
    lock.acquire(1.0)  # and then shows none for so long
    lock.release()


def test_the_lock_is_gone_however_a_job_ends(place: Workplace, suffix: str) -> None:
    out = place.folder / "out" / f"x{suffix}"
    running = place.held(out)
    os.kill(running.pid, signal.SIGINT)
    place.release()
    ended = running.wait()
    message = "interrupted; the same command goes on where it was"
    assert (ended.code, ended.err.splitlines()[-1]) == (130, message)
    assert not lock_of(out).exists()
    fails = "import ramp; ramp.Ramp.__call__ = lambda self, windows: 1 / 0"
    ended = place.extract(out, before=fails).wait()
    assert (ended.code, ended.err.count("ZeroDivisionError")) == (1, REGIONS - done_regions(out))
    assert not lock_of(out).exists()
    assert place.extract(out, "--hop", "0.008").wait().code == 2
    assert not lock_of(out).exists()
    assert place.extract(out).wait().code == 0
    assert place.run("verify", out, "--repair").code == 0
    assert not lock_of(out).exists()


def test_two_that_start_at_the_same_moment(
    place: Workplace, suffix: str, whole: dict[str, str]
) -> None:
    for i in range(10):
        folder = place.folder / "out" / str(i)
        out = folder / f"x{suffix}"
        both = [place.extract(out) for _ in range(2)]
        codes = sorted(command.wait().code for command in both)
        assert codes in ([0, 0], [0, 2])
        assert {path.name for path in folder.iterdir()} <= {out.name, f"{out.name}.parts"}
        assert (stored(out), verify(out)) == (whole, [])


@pytest.mark.parametrize("proc", [True, False])
def test_processes_of_this_host_are_known_with_and_without_proc(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, proc: bool
) -> None:
    if not proc:
        monkeypatch.setattr(processes, "PROC", tmp_path / "proc" / "self")
    child = subprocess.Popen(["sleep", "60"])
    try:
        assert (processes.namespace() != 0) == proc
        assert processes.began(child.pid) == processes.began(child.pid) is not None
        assert processes.is_stopped(child.pid) is False
        child.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, child.pid, os.WSTOPPED)
        assert processes.is_stopped(child.pid) is True
    finally:
        child.kill()
        child.wait()
    assert processes.began(child.pid) is None
    assert processes.is_stopped(child.pid) is None
