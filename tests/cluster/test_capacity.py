"""A job is held to the memory that its workers have, before it computes anything."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Cli, Result, Write

from pipeline.cluster.capacity import capacity_of
from pipeline.cluster.entry import Cluster
from pipeline.process.limits import memory_limit

LOCAL = "dask.distributed.LocalCluster"
GROUPS = [Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")]


@pytest.fixture
def small_group() -> Iterator[Path]:
    """A control group of 400 MB, inside another one of more."""
    root = next((root for root in GROUPS if (root / "cgroup.procs").exists()), None)
    version_1 = root is not None and root.name == "memory"
    outer = (root or GROUPS[0]) / f"outer-{os.getpid()}"
    inner = outer / "inner"
    try:
        inner.mkdir(parents=True)
        if not version_1:
            (outer / "cgroup.subtree_control").write_text("+memory")
        name = "memory.limit_in_bytes" if version_1 else "memory.max"
        (outer / name).write_text("1000000000")
        (inner / name).write_text("400000000")
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error}")
    else:
        yield inner
    finally:
        for folder in (inner, outer):
            if folder.exists():
                folder.rmdir()


def limited(command: str, *arguments: object, cwd: Path) -> Result:
    """The command line in a shell that has limited itself."""
    script = f'{command}; exec "$@"'
    run = [sys.executable, "-m", "pipeline", *map(str, arguments)]
    done = subprocess.run(
        ["sh", "-c", script, "sh", *run], cwd=cwd, capture_output=True, text=True, timeout=100
    )
    return Result(done.returncode, done.stdout, done.stderr)


def entry(text: str) -> str:
    Path("some.yaml").write_text(f"{{default: a, clusters: {{a: {{{text}}}}}}}")
    return "some.yaml"


@pytest.mark.usefixtures("cli")
def test_threads_are_held_to_the_control_group_that_they_are_in(
    write_wav: Write, tmp_path: Path, small_group: Path
) -> None:
    source = write_wav(seconds=200)
    job = ("extract", source, "--out", "x.zarr")
    enter = f"echo $$ > {small_group}/cgroup.procs"
    shown = limited(enter, *job, "--cluster", entry("threads: 6"), cwd=tmp_path)
    assert shown.code == 2
    assert "6 threads need 0." in shown.err
    assert "but the control group of this process allows 0.4 GB; run on fewer threads" in shown.err
    assert shown.err.count("\n") == 1
    assert not Path("x.zarr").exists()
    shown = limited(enter, *job, "--cluster", entry("threads: 1"), cwd=tmp_path)
    assert shown.code == 0


@pytest.mark.usefixtures("cli")
def test_threads_are_held_to_what_ulimit_allows(write_wav: Write, tmp_path: Path) -> None:
    job = ("plan", write_wav(seconds=200), "--out", "x.zarr", "--cluster", entry("threads: 6"))
    for limit in ("-v 500000", "-d 400000"):
        shown = limited(f"ulimit {limit}", *job, cwd=tmp_path)
        assert shown.code == 2
        assert "6 threads need 0.495 GB, but ulimit leaves it 0." in shown.err
    assert shown.err.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            f"class: {LOCAL}, options: {{n_workers: 1, threads_per_worker: 2, memory_limit: 3e8}}",
            "has 0.3 GB, and is paused at 80 % of that; raise memory_limit, or lower",
        ),
        (
            f"class: {LOCAL}, options: {{n_workers: 2, memory_limit: 100MB}}",
            "has 0.1 GB, and is paused at 80 % of that; raise memory_limit",
        ),
        (
            f"class: {LOCAL}, options: {{threads_per_worker: 1}}, scale: 5000",
            "GB for 5000 workers; start fewer",
        ),
        (
            "class: dask_jobqueue.SLURMCluster, scale: 1, "
            "options: {cores: 8, processes: 8, memory: 1GiB}",
            "has 0.134 GB, and is paused at 80 % of that; raise memory, or lower processes",
        ),
    ],
)
@pytest.mark.parametrize("verb", ["plan", "extract"])
def test_workers_that_are_too_small_are_refused_before_any_is_started(
    cli: Cli, write_wav: Write, verb: str, text: str, message: str
) -> None:
    source = write_wav(seconds=20)
    shown = cli(verb, source, "--out", "x.zarr", "--cluster", entry(text))
    assert shown.code == 2
    assert message in shown.err
    assert shown.err.count("\n") == 1
    assert not Path("x.zarr").exists()


def test_workers_that_are_large_enough_are_taken(cli: Cli, write_wav: Write) -> None:
    options = "{n_workers: 1, threads_per_worker: 1, memory_limit: 400MB}"
    source = write_wav(seconds=20)
    shown = cli(
        "extract",
        source,
        "--out",
        "x.zarr",
        "--cluster",
        entry(f"class: {LOCAL}, options: {options}"),
    )
    assert shown.code == 0


def test_a_worker_of_an_address_that_is_too_small_is_named(cli: Cli, write_wav: Write) -> None:
    from distributed import LocalCluster

    source = write_wav(seconds=20)
    options: dict[str, Any] = {"threads_per_worker": 2, "dashboard_address": "127.0.0.1:0"}
    with LocalCluster(n_workers=1, memory_limit="250MB", **options) as running:
        address = running.scheduler_address
        shown = cli(
            "extract", source, "--out", "x.zarr", "--cluster", entry(f"address: '{address}'")
        )
    assert shown.code == 2
    assert "2 threads need 0." in shown.err
    assert "but the worker at tcp://127.0.0.1:" in shown.err
    assert "has 0.25 GB, and is paused at 80 % of that; give it more memory" in shown.err
    assert not Path("x.zarr").exists()


@pytest.mark.parametrize(
    ("options", "threads"),
    [
        ({"n_workers": 1, "threads_per_worker": 3}, 3),
        (
            {"n_workers": 1},
            capacity_of(Cluster(threads=1)).threads and len(os.sched_getaffinity(0)),
        ),
        ({"n_workers": 2, "threads_per_worker": 2, "processes": False}, 4),
    ],
)
def test_a_local_worker_has_the_threads_that_dask_gives_it(
    options: dict[str, Any], threads: int
) -> None:
    assert capacity_of(Cluster("a", manager=LOCAL, options=options)).threads == threads


@pytest.mark.parametrize(
    ("cores", "threads"), [({"cores": 8, "processes": 2}, 4), ({"cores": 16}, 4)]
)
def test_a_job_has_the_threads_that_its_processes_leave(
    cores: dict[str, Any], threads: int
) -> None:
    options = {"memory": "64GiB", **cores}
    found = capacity_of(Cluster("a", None, "dask_jobqueue.SLURMCluster", options, scale=1))
    assert found.threads == threads


def test_what_leaves_no_limit_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    assert capacity_of(Cluster("a", address="tcp://127.0.0.1:1")).memory is None
    assert memory_limit().n_bytes > 0
    for name in ("_of_groups", "_of_ulimit"):
        monkeypatch.setattr(f"pipeline.process.limits.{name}", lambda: ())
    assert memory_limit().words == "the machine has"
