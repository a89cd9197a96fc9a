"""What fails is tried as often as that may help, and what fails for good ends nothing else."""

from __future__ import annotations

import dataclasses
import errno
import itertools
import json
import logging
import multiprocessing
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from pathlib import Path
from queue import Empty
from types import SimpleNamespace
from typing import Any, cast

import dask
import distributed.utils
import numpy as np
import numpy.typing as npt
import pytest
import scripted
from conftest import Cli, record_lines, stored, wait_until
from distributed import LocalCluster
from hypothesis import given
from hypothesis import strategies as st
from scripted import REGION, Scripted

import pipeline as pl
import pipeline.job.regions
import pipeline.job.retry
from pipeline.cluster.engine import Engine
from pipeline.cluster.entry import Cluster
from pipeline.job.extraction import run
from pipeline.job.plan import Plan
from pipeline.job.regions import Failure, Task
from pipeline.job.report import Report
from pipeline.job.retry import Attempts, Outcome
from pipeline.record import Done
from pipeline.recordings import read_windows
from pipeline.settings import Settings

REGIONS = 24
LOCAL: dict[str, Any] = {
    "n_workers": 2,
    "threads_per_worker": 1,
    "dashboard_address": "127.0.0.1:0",
}
Script = dict[int, list[str]]


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline.job.retry, "PAUSE", 0.02)


class Job:
    """A job of many regions, each a block of its own, that go as a script says."""

    def __init__(self, folder: Path, regions: int = REGIONS) -> None:
        self.folder, self.regions, self.out = folder, regions, folder / "x.zarr"
        self.source = folder / "numbers.npy"
        numbers = np.repeat(np.arange(REGION * regions, dtype=np.float32), 4)
        np.save(self.source, numbers[:, None])
        self.script: Script = {}

    def plan(self, out: Path | None = None, retries: int = 3) -> Plan:
        settings = Settings(samplerate=4, retries=retries)
        feature = Scripted(str(self.folder))
        plan = Plan.make(self.source, out or self.out, feature, settings=settings)
        layout = dataclasses.replace(plan.layout, chunk=1, shard=REGION, region=REGION)
        return dataclasses.replace(plan, layout=layout)

    def run(self, cluster: Cluster, script: Script, retries: int = 3) -> Report:
        self.write(script)
        return run(self.plan(retries=retries), cluster)

    def write(self, script: Script) -> None:
        (self.folder / "script.json").write_text(json.dumps(script))
        (self.folder / "log").unlink(missing_ok=True)

    def attempts(self) -> Counter[int]:
        return scripted.attempts(self.folder)

    def expect(self, report: Report, failed: dict[int, tuple[int, str]]) -> None:
        """That these failed, after so many attempts and for this reason, and no others."""
        assert report.computed == self.regions - len(failed)
        assert not report.ok
        assert not report.stopped
        assert [region for region, _ in report.failed] == sorted(failed)
        lines = {line["region"]: line for line in record_lines(self.out) if line["kind"] != "made"}
        for region, reason in report.failed:
            attempts, part = failed[region]
            assert part in reason
            assert f"failed: region {region}: {reason}" in str(report)
            assert lines[region]["attempts"] == attempts
            assert lines[region]["reason"] in reason
            assert reason.endswith(f" ({attempts} attempts)") == (attempts > 1)
        done = {region for region, line in lines.items() if line["kind"] == "done"}
        assert done == set(range(self.regions)) - set(failed)

    def finish(self, missing: set[int]) -> None:
        """A second run tries only what is missing; the store ends as one that never failed."""
        report = self.run(Cluster(threads=2), {})
        assert report.ok
        assert report.computed == len(missing)
        tried = self.attempts()
        assert {region: tried[region] for region in missing} == dict.fromkeys(missing, 1)
        assert run(self.plan(self.folder / "clean.zarr"), Cluster(threads=2)).ok
        assert stored(self.out) == stored(self.folder / "clean.zarr")
        assert np.array_equal(values(self.out), np.arange(REGION * self.regions))


def values(out: Path) -> Any:
    return np.concatenate([X[:, 0] for X, _ in pl.Batches(out)])


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(tmp_path)


# What may happen to regions in one process; then attempts with three retries, and the reason.
SCRIPT: Script = {
    1: ["eio", "ok"],
    3: ["eio"],
    4: ["timeout", "eio", "timeout", "ok"],
    6: ["bug", "ok"],
    8: ["memory"],
    9: ["exit"],
    11: ["unpicklable"],
    12: ["mute"],
    13: ["eio", "bug"],
    REGIONS - 1: ["timeout"],
}
FAILED = {
    3: (4, "[Errno 5] Input/output error"),
    6: (1, "RuntimeError: no luck (scripted.py, line"),
    8: (1, "MemoryError: too large"),
    9: (1, "SystemExit: 3"),
    11: (1, "UnpicklableError: it holds a lock"),
    12: (1, "MuteError: it says nothing"),
    13: (2, "RuntimeError: no luck"),
    REGIONS - 1: (4, "it took too long"),
}


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_only_what_may_pass_is_tried_again(job: Job, retries: int) -> None:
    failed = {region: (min(n, retries + 1), why) for region, (n, why) in FAILED.items()}
    if retries < 3:
        failed[4] = (retries + 1, "[Errno 5]" if retries else "it took too long")
    if retries == 0:
        failed |= {1: (1, "[Errno 5]"), 13: (1, "[Errno 5]")}
    job.expect(job.run(Cluster(threads=3), SCRIPT, retries), failed)
    passed = {1: 2} if retries else {}
    passed |= {4: 4} if retries == 3 else {}
    expected = dict.fromkeys(range(REGIONS), 1) | passed
    assert job.attempts() == expected | {region: n for region, (n, _) in failed.items()}
    job.finish(set(failed))


def test_a_source_that_cannot_be_read_for_a_moment_is_tried_again(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: Counter[int] = Counter()

    def read(recordings: Any, grid: Any, *more: Any) -> Any:
        tried[grid.offset // REGION] += 1
        if grid.offset == 10 and tried[5] < 3:
            raise OSError(errno.EIO, "the server does not answer", job.source)
        return read_windows(recordings, grid, *more)

    monkeypatch.setattr(pipeline.windows, "read_windows", read)
    report = job.run(Cluster(threads=2), {})
    assert report.ok
    assert tried == dict.fromkeys(range(REGIONS), 1) | {5: 3}
    assert np.array_equal(values(job.out), np.arange(REGION * REGIONS))


def test_the_command_line_says_what_failed_and_goes_on_with_it(cli: Cli, tmp_path: Path) -> None:
    job = Job(tmp_path)
    job.write({0: ["eio"]})
    settings = {"sources": [str(job.source)], "out": "x.zarr", "samplerate": 4}
    feature = {"name": "scripted:Scripted", "folder": str(tmp_path)}
    (tmp_path / "run.yaml").write_text(json.dumps({**settings, "feature": feature}))
    ended = cli("extract", "--config", "run.yaml")
    assert ended.code == 1
    assert "failed: region 0: [Errno 5] Input/output error (4 attempts)" in ended.err
    assert "Traceback" not in ended.err
    assert job.attempts() == {0: 4}
    standing = json.loads(cli("status", "x.zarr", "--json").out)
    assert standing["failed"][0]["attempts"] == 4
    assert standing["pending"] == 0
    ended = cli("extract", "--config", "run.yaml", "--retries", 1)
    assert (ended.code, job.attempts()) == (1, {0: 6})
    job.write({})
    assert cli("extract", "--config", "run.yaml").code == 0
    assert json.loads(cli("status", "x.zarr", "--json").out)["failed"] == []


DIED = "the worker that computed it died"


@pytest.fixture(scope="module")
def quick_workers() -> Iterator[None]:
    """Workers that begin in a tenth of a second, forked from one that has imported everything."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distributed.utils, "_forkserver_preload_set", True)
        preload = ["distributed", "pipeline.job.extraction", "h5py", "zarr", "distributed.nanny"]
        multiprocessing.get_context("forkserver").set_forkserver_preload(preload)
        with dask.config.set({"distributed.worker.multiprocessing-method": "forkserver"}):
            yield


@pytest.mark.usefixtures("quick_workers")
def test_a_worker_that_dies_takes_nothing_with_it(
    job: Job, caplog: pytest.LogCaptureFixture
) -> None:
    script: Script = {
        0: ["bug"],  # these before any crash, so that none of them is a neighbour of one
        1: ["exit"],
        2: ["unpicklable"],
        3: ["eio", "ok"],
        7: ["abort"],  # as a decoder does that finds its heap damaged
        15: ["null"],  # as one does that follows a damaged length
    }
    cluster = Cluster("local", manager="distributed.LocalCluster", options=LOCAL)
    failed = {7: (3, DIED), 15: (3, DIED)}
    failed |= {0: (1, "no luck"), 1: (1, "SystemExit"), 2: (1, "it holds a lock")}
    job.expect(job.run(cluster, script), failed)
    said = [record.message for record in caplog.records if record.levelno >= logging.WARNING]
    assert not [text for text in said if "Restarting worker" in text or "workers died" in text]
    tried = job.attempts()
    assert all(1 <= tried[region] <= 3 for region in (7, 15))  # they may have died in waiting
    assert tried[3] >= 2  # or more: a result that was lost with its worker is computed again
    job.finish(set(failed))


@pytest.fixture(scope="module")
def existing(quick_workers: None) -> Iterator[Cluster]:
    """A scheduler that itself tries a task again when its worker died."""
    # By default the cluster gives up a worker that is being started anew, for the second time,
    # 15 seconds after its first death.
    with (
        dask.config.set({"distributed.deploy.lost-worker-timeout": "1000d"}),
        LocalCluster(**LOCAL) as running,
    ):
        yield Cluster("existing", address=running.scheduler_address)


@pytest.mark.parametrize("retries", [3, 0])
def test_an_existing_scheduler_gives_a_crasher_up_and_no_neighbour(
    job: Job, existing: Cluster, retries: int
) -> None:
    script = {0: ["bug"], 7: ["abort"], 9: ["kill", "ok"]}
    report = job.run(existing, script, retries)
    job.expect(report, {0: (1, "no luck"), 7: (2, DIED)})
    # The scheduler allows for three deaths; it may have died of its neighbour, but not alone.
    assert 4 <= job.attempts()[7] <= 8
    job.finish({0, 7})


@pytest.mark.usefixtures("quick_workers")
def test_a_scheduler_that_is_lost_ends_the_job_with_what_is_done(job: Job, tmp_path: Path) -> None:
    job.write({region: ["slow"] for region in range(REGIONS)})
    file = tmp_path / "address"
    process = multiprocessing.get_context("forkserver").Process(
        target=scripted.serve, args=(str(file),), daemon=True
    )
    process.start()
    assert wait_until(file.exists)

    def progress(state: pl.Progress) -> None:
        if state.regions == 3:
            process.kill()

    report = run(job.plan(), Cluster("a", address=file.read_text()), progress=progress)
    process.join()
    assert report.stopped == "the scheduler was lost, and with it what was running"
    assert "what is done is kept" in str(report)
    assert report.failed == ()
    assert 3 <= report.computed < REGIONS
    kept = {line["region"] for line in record_lines(job.out) if line["kind"] == "done"}
    assert len(kept) == report.computed
    job.finish(set(range(REGIONS)) - kept)


def test_ctrl_c_in_a_pause_ends_at_once(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline.job.retry, "PAUSE", 1e5)

    def interrupt() -> None:
        if wait_until(lambda: job.attempts().total() == REGIONS):
            wait_until(lambda: len(record_lines(job.out)) == REGIONS)  # the one of none, too
            os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    job.write({2: ["eio", "ok"]})
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        run(job.plan(), Cluster(threads=2))
    thread.join()
    assert job.attempts() == dict.fromkeys(range(REGIONS), 1)
    job.finish({2})


def test_what_threads_have_begun_at_ctrl_c_is_kept(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    call, together = Scripted.__call__, threading.Barrier(2, timeout=30)

    def interrupt(feature: Scripted, windows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        if together.wait() == 0:
            os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.5)  # until the other threads know
        return call(feature, windows)

    plan = job.plan()
    job.write({})
    with monkeypatch.context() as patched:
        patched.setattr(Scripted, "__call__", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run(plan, Cluster(threads=2))
    kept = {line["region"] for line in record_lines(job.out) if line["kind"] == "done"}
    assert kept == set(job.attempts()) == {0, 1}
    job.finish(set(range(REGIONS)) - kept)


def test_pauses_grow(job: Job) -> None:
    job.run(Cluster(threads=2), {2: ["eio"], 5: ["timeout"]})
    for region in (2, 5):
        at = [when for other, when in scripted.times(job.folder) if other == region]
        pauses = [b - a for a, b in itertools.pairwise(at)]
        assert len(pauses) == 3
        assert all(pause >= 0.02 * 2**i for i, pause in enumerate(pauses))


class DiedError(Exception):
    """What an engine raises when so many workers died of a task."""

    def __init__(self, deaths: int) -> None:
        self.deaths = deaths


class Simulated(Engine):
    """An engine, its queue and its clock, in one thread: what happens when is drawn.

    A task that crashes takes some of those along that are in flight beside it.
    """

    def __init__(self, draw: random.Random, script: Script, deaths: int) -> None:
        self.draw, self.script, self.died, self.now = draw, script, deaths, 0.0
        self.flying: dict[Future[Any], int] = {}
        self.ended: list[Future[Any]] = []
        self.tried: Counter[int] = Counter()
        self.began: dict[int, list[float]] = {}
        self.failed_at: dict[int, float] = {}
        self.room = 1

    def slots(self) -> int:
        self.room = self.draw.randint(1, 5)  # workers come and go
        return self.room

    def deaths(self, error: BaseException) -> int:
        return getattr(error, "deaths", 0)

    def submit(self, function: object, *arguments: Any) -> Future[Any]:
        (region,) = arguments
        assert len(self.flying) + len(self.ended) < self.room
        assert region not in self.flying.values()
        self.began.setdefault(region, []).append(self.now)
        future: Future[Any] = Future()
        self.flying[future] = region
        return future

    # As the queue of those that ended:
    def put(self, future: Future[Any]) -> None:
        self.ended.append(future)

    def get(self, timeout: float | None) -> Future[Any]:
        assert timeout is None or timeout > 0  # it does not turn on the spot
        if not self.ended and self.flying and (timeout is None or self.draw.random() < 0.7):
            self.now += self.draw.random() * 0.01 if timeout is None else timeout / 2
            self.end_one()
        if self.ended:
            return self.ended.pop(self.draw.randrange(len(self.ended)))
        assert timeout is not None
        self.now += timeout
        raise Empty

    def end_one(self) -> None:
        future = self.draw.choice(list(self.flying))
        region = self.flying.pop(future)
        actions = self.script[region]
        action = actions[min(self.tried[region], len(actions) - 1)]
        self.tried[region] += 1
        if action == "kill":
            for other in list(self.flying):
                if self.draw.random() < 0.5:
                    del self.flying[other]
                    other.set_exception(DiedError(self.died))
            future.set_exception(DiedError(self.died))
        elif action == "ok":
            future.set_result(Done(region, ()))
        else:
            future.set_result(Failure(action, passing=action == "eio"))


def simulate(
    script: Script, retries: int, seed: int, deaths: int = 1
) -> tuple[Simulated, list[Outcome]]:
    simulated = Simulated(random.Random(seed), script, deaths)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline.job.retry, "PAUSE", 1.0)
        patch.setattr(pipeline.job.retry, "SimpleQueue", lambda: simulated)
        patch.setattr(pipeline.job.retry, "time", SimpleNamespace(monotonic=lambda: simulated.now))
        task = cast(Callable[[int], Task], lambda region: region)
        outcomes = list(Attempts(simulated, iter(list(script)), task, retries))
    assert not simulated.flying
    return simulated, outcomes


def scripts(*actions: str) -> st.SearchStrategy[Script]:
    happens = st.lists(st.sampled_from(actions), min_size=1, max_size=6)
    return st.lists(happens, max_size=12).map(lambda found: dict(enumerate(found)))


@given(scripts("ok", "eio", "bug"), st.integers(0, 4), st.integers(0, 10**6))
def test_attempts_are_those_of_the_model(script: Script, retries: int, seed: int) -> None:
    simulated, outcomes = simulate(script, retries, seed)
    assert sorted(outcome.region for outcome in outcomes) == sorted(script)
    for outcome in outcomes:
        actions = [*script[outcome.region], *script[outcome.region][-1:] * 5][: retries + 1]
        ends = next((i for i, action in enumerate(actions) if action != "eio"), retries)
        assert outcome.attempts == simulated.tried[outcome.region] == ends + 1
        if actions[ends] == "ok":
            assert outcome.result == Done(outcome.region, (), worker=outcome.result.worker)  # type: ignore[union-attr]
        else:
            assert outcome.result == Failure(actions[ends], passing=actions[ends] == "eio")
        pauses = [b - a for a, b in itertools.pairwise(simulated.began[outcome.region])]
        assert all(pause >= 2**i for i, pause in enumerate(pauses))


@given(
    scripts("ok", "eio", "bug", "kill"),
    st.integers(0, 4),
    st.sampled_from([1, 4]),
    st.integers(0, 10**6),
)
def test_who_kills_no_worker_is_not_blamed(
    script: Script, retries: int, deaths: int, seed: int
) -> None:
    _, outcomes = simulate(script, retries, seed, deaths)
    assert sorted(outcome.region for outcome in outcomes) == sorted(script)
    for outcome in outcomes:
        actions = script[outcome.region]
        if isinstance(outcome.result, Failure) and DIED in outcome.result.reason:
            assert "kill" in actions
        if set(actions) == {"ok"}:
            assert isinstance(outcome.result, Done)
        if set(actions) == {"kill"}:
            most = max(2, min(pipeline.job.retry.DEATHS, retries + 1)) if deaths == 1 else 2
            assert outcome.attempts == most
            assert isinstance(outcome.result, Failure)
        assert outcome.attempts <= retries + 2


def test_an_error_of_the_engine_itself_is_told_apart() -> None:
    errors = iter([ConnectionError("gone"), ValueError("odd"), CancelledError()])

    class Failing(Engine):
        def submit(self, *_: object) -> Future[Any]:
            future: Future[Any] = Future()
            future.set_exception(next(errors))
            return future

        def slots(self) -> int:
            return 1

    task = cast(Callable[[int], Task], lambda region: region)
    first, second, third = Attempts(Failing(), iter([0, 1, 2]), task, 0)
    assert first.result == Failure("ConnectionError: gone", passing=True)
    assert second.result == Failure("ValueError: odd")
    assert isinstance(third.result, Failure)
    assert third.result.fatal
