"""Shares of a job, at once, overlapping and killed, store what one thread stores."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import time
from pathlib import Path
from typing import Any

import pytest
from commands import ELSEWHERE, LEASE, Command, Ended, Workplace, wait_for, write_recording
from conftest import Cli, Write, record_lines, stored
from hypothesis import given
from hypothesis import strategies as st

import pipeline as pl
from pipeline.job.verification import verify
from pipeline.record.record import Record
from pipeline.share import Share
from pipeline.store import open_store

WINDOWS, REGIONS = 30_000, 8
BROKEN = "import ramp; ramp.Ramp.__call__ = lambda self, windows: 1 / 0"


def make_place(folder: Path) -> Workplace:
    place = Workplace(folder)
    write_recording(folder / "a.wav", windows=WINDOWS)
    (folder / "out").mkdir()
    return place


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, suffix: str) -> dict[str, str]:
    """What one thread stores."""
    return make_place(tmp_path_factory.mktemp("whole")).undisturbed("x" + suffix)


@pytest.fixture
def place(tmp_path: Path) -> Workplace:
    return make_place(tmp_path)


@pytest.fixture
def out(place: Workplace, suffix: str) -> Path:
    return place.folder / "out" / f"x{suffix}"


def is_finished(out: Path) -> bool:
    return Record(open_store(out).record_folder).finished()


def is_whole(out: Path, whole: dict[str, str]) -> None:
    assert is_finished(out)
    assert (stored(out), verify(out)) == (whole, [])
    assert {path.name for path in out.parent.iterdir()} <= {out.name, f"{out.name}.parts"}


def status(place: Workplace, out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(place.run("status", out, "--json").out)
    return found


def codes(running: list[Command]) -> list[int | None]:
    """Wait for all at once: one that was killed counts as alive until it is waited for."""
    wait_for(lambda: None not in [command.poll() for command in running], 100)
    return [command.poll() for command in running]


def last_line(ended: Ended) -> str:
    return ended.err.strip().splitlines()[-1]


@given(count=st.integers(1, 10**6), n=st.integers(0, 10**9), data=st.data())
def test_shares_are_disjoint_complete_and_balanced(count: int, n: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, count - 1))
    start, stop = Share(index, count).bounds(n)
    assert n // count <= stop - start <= -(-n // count)
    assert start == (Share(index - 1, count).bounds(n)[1] if index else 0)
    assert stop == (Share(index + 1, count).bounds(n)[0] if index < count - 1 else n)


@pytest.mark.parametrize("text", ["4/4", "-1/4", "0/0", "1", "a/b", "1/2/3", "0.5/2", "", "1/-2"])
def test_what_is_no_share_is_refused_before_anything_is_done(
    cli: Cli, write_wav: Write, tmp_path: Path, text: str
) -> None:
    write_wav("a.wav")
    for verb in ("plan", "extract"):
        ended = cli(verb, "a.wav", "--out", "x.zarr", f"--share={text}")
        assert (ended.code, ended.out) == (2, "")
        assert ended.err.startswith("error: share is ")
        assert ended.err.endswith("it must be I/N, with I from 0 to N-1\n")
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]


def test_a_share_overwrites_nothing(cli: Cli, write_wav: Write, tmp_path: Path) -> None:
    write_wav("a.wav")
    ended = cli("extract", "a.wav", "--out", "x.zarr", "--share", "0/2", "--overwrite")
    assert (ended.code, ended.err.startswith("error: a share cannot overwrite")) == (2, True)
    (tmp_path / "run.yaml").write_text("sources: a.wav\nout: x.zarr\nshare: 2\n")
    ended = cli("extract", "--config", "run.yaml")
    assert (ended.code, "share is 2; it must be I/N" in ended.err) == (2, True)


def test_plan_says_what_a_share_is(place: Workplace) -> None:
    options = ["--window", "0.004", "--feature", "ramp:Ramp", "--out", "x.zarr", "--json"]
    shown = place.run("plan", "a.wav", *options, "--share", "2/3")
    assert json.loads(shown.out)["share"] == {"regions": [5, 8], "windows": [5 * 4096, WINDOWS]}
    assert "share" not in json.loads(place.run("plan", "a.wav", *options).out)


def test_shares_that_start_at_once_on_nothing_make_one_store(
    place: Workplace, out: Path, whole: dict[str, str]
) -> None:
    shares = [place.extract(out, "--share", f"{i}/4") for i in range(4)]
    assert codes(shares) == [0] * 4
    ended = [share.wait() for share in shares]
    assert all(", share " in one.err and "2 computed now" in one.err for one in ended)
    assert [last_line(one) for one in ended].count("the store is finished") == 1
    is_whole(out, whole)
    lines = record_lines(out)
    assert sorted(line["region"] for line in lines if line["kind"] == "done") == [*range(REGIONS)]


@pytest.mark.parametrize("seed", range(2))
def test_shares_overlap_and_are_killed_at_random(
    place: Workplace, out: Path, whole: dict[str, str], seed: int
) -> None:
    patience = "pipeline.locks.lock.LEASE_SECONDS = 5.0"  # of one killed before it said who it is
    rng = random.Random(seed)
    shares = [f"{i}/{n}" for n in (2, 3, 5) for i in range(n)]

    def start(names: list[str]) -> list[Command]:
        return [place.extract(out, "--share", name, before=patience) for name in names]

    for _ in range(4):
        running = start(rng.sample(shares, 4))
        for share in rng.sample(running, 3):
            time.sleep(rng.uniform(0, 0.4))
            os.kill(share.pid, signal.SIGKILL)
        assert {*codes(running)} <= {0, -signal.SIGKILL}
    assert {*codes(start(rng.sample(shares, len(shares))))} == {0}
    assert place.extract(out, before=patience).wait().code == 0
    is_whole(out, whole)


def test_a_share_and_a_whole_job_refuse_each_other(
    place: Workplace, out: Path, whole: dict[str, str]
) -> None:
    here = socket.gethostname()
    share = place.held(out, "--share", "1/4")
    message = "error: another job ({}) is writing to {}; wait until it has ended, or stop it, "
    for command in (
        lambda: place.extract(out).wait(),
        lambda: place.extract(out, "--overwrite").wait(),
        lambda: place.run("verify", out, "--repair"),
    ):
        ended = command()
        holder = f"share 1/4 by process {share.pid} on {here}"
        assert (ended.code, ended.err.startswith(message.format(holder, out))) == (2, True)
    assert verify(out) == []
    shown = status(place, out)
    assert shown["running"] == [f"process {share.pid} on {here}"]
    assert shown["shares"] == [
        {"share": "1/4", "holder": shown["running"][0], "regions": 2, "done": 1}
    ]
    assert f"share 1/4: 1 of 2 regions done, process {share.pid}" in place.run("status", out).out
    os.kill(share.pid, signal.SIGKILL)
    share.wait()
    assert status(place, out)["running"] == []
    job = place.held(out)
    ended = place.extract(
        out, "--share", "1/4", before="pipeline.locks.lock.PAUSE_SECONDS = 0.1"
    ).wait()
    holder = f"process {job.pid} on {here}"
    assert (ended.code, ended.err.startswith(message.format(holder, out))) == (2, True)
    place.release()
    assert job.wait().code == 0
    is_whole(out, whole)


def test_a_share_leaves_alone_what_others_write(
    place: Workplace, out: Path, whole: dict[str, str]
) -> None:
    first = place.held(out, "--share", "1/4")
    aside = set(out.parent.rglob("*.partial"))
    second = place.extract(out, "--share", "0/8").wait()
    assert second.code == 0
    still = f"still at work: share 1/4 by process {first.pid} on {socket.gethostname()}; the last"
    assert last_line(second).startswith(still)
    assert aside == set(out.parent.rglob("*.partial"))
    place.release()
    ended = first.wait()
    assert ended.code == 0
    assert last_line(ended).startswith("5 of 8 regions of the store are not done: extract")
    assert not is_finished(out)
    assert place.extract(out).wait().code == 0
    is_whole(out, whole)


def test_a_share_with_nothing_left_to_do_says_so(
    place: Workplace, out: Path, whole: dict[str, str]
) -> None:
    computed = {"0/2": 4, "0/4": 0, "9/10": 1, "1/2": 3, "7/8": 0, "7/100": 0, "0/1": 0}
    for name, number in computed.items():
        ended = place.extract(out, "--share", name).wait()
        assert (ended.code, f" {number} computed now" in ended.err) == (0, True)
        assert ("nothing of this share was left to do" in ended.err) == (number == 0)
    assert last_line(ended) == "the store is finished"
    is_whole(out, whole)


def test_the_share_of_a_host_that_died_holds_others_up_for_a_lease_only(
    place: Workplace, out: Path, whole: dict[str, str]
) -> None:
    share = place.held(out, "--share", "1/4", before=ELSEWHERE)
    ended = place.extract(out, before=LEASE).wait()
    holder = f"share 1/4 by process {share.pid} on elsewhere"
    assert (ended.code, f"another job ({holder})" in ended.err) == (2, True)
    os.kill(share.pid, signal.SIGKILL)
    share.wait()
    place.release()
    assert place.extract(out, before=LEASE).wait().code == 0
    is_whole(out, whole)


@pytest.mark.parametrize("options", [[], ["--share", "0/1"]])
def test_who_was_killed_before_it_said_who_it_is_holds_others_up_for_a_lease_only(
    place: Workplace, out: Path, whole: dict[str, str], options: list[str]
) -> None:
    for name in ("lock", "0-2-01234567.share", "turn"):
        (out.parent / f".{out.name}.{name}").touch()
    first = place.extract(out, *options, before=LEASE).wait()
    assert first.code == 0
    assert place.extract(out, before=LEASE).wait().code == 0
    is_whole(out, whole)


def test_a_share_that_was_stopped_while_a_job_took_over_writes_no_more(
    place: Workplace, out: Path, whole: dict[str, str]
) -> None:
    share = place.held(out, "--share", "1/4", before=ELSEWHERE)
    os.kill(share.pid, signal.SIGSTOP)
    place.release()
    assert place.extract(out, before=LEASE).wait().code == 0
    lines = record_lines(out)
    os.kill(share.pid, signal.SIGCONT)
    ended = share.wait()
    assert (ended.code, "the lock was lost: this job was stopped" in ended.err) == (1, True)
    assert record_lines(out) == lines
    is_whole(out, whole)


def test_a_share_fails_where_its_own_regions_do(
    place: Workplace, out: Path, whole: dict[str, str]
) -> None:
    assert place.extract(out, "--share", "0/2").wait().code == 0
    failed = place.extract(out, "--share", "1/2", before=BROKEN).wait()
    assert failed.code == 1
    assert failed.err.count("ZeroDivisionError") == 4
    assert last_line(failed).startswith("4 of 8 regions of the store are not done")
    assert (status(place, out)["done"], len(status(place, out)["failed"])) == (4, 4)
    assert place.extract(out, "--share", "0/2").wait().code == 0
    assert place.extract(out, "--share", "1/2").wait().code == 0
    is_whole(out, whole)


def test_a_share_reports_what_is_masked_in_it(write_wav: Write, tmp_path: Path) -> None:
    (tmp_path / "audio").mkdir()
    good = write_wav("audio/a.flac", 700)
    bad = write_wav("audio/b.flac", 700, seed=1)
    bad.write_bytes(bad.read_bytes()[: bad.stat().st_size // 2])
    (tmp_path / "audio" / "c.wav").write_bytes(b"no sound")
    sources, out = good.parent, tmp_path / "x.zarr"
    first = pl.extract(sources, out, share="0/2")
    second = pl.extract(sources, out, share="1/2")
    assert (first.ok, first.unreadable, first.masked) == (True, (), ())
    assert (second.ok, second.unreadable, len(second.masked)) == (False, (), 1)
    assert (first.windows + second.windows, first.share, second.share) == (1400, "0/2", "1/2")
    assert second.outlook == "the store is finished"
    whole = pl.extract(sources, out)
    assert (len(whole.unreadable), whole.masked, whole.computed) == (1, second.masked, 0)
    stops = pl.extract(sources, tmp_path / "y.zarr", share="0/2", on_error="stop")
    assert (stops.ok, len(stops.unreadable)) == (False, 1)
