"""cluster.yaml says where a job runs, and names nothing but Dask cluster managers."""

from __future__ import annotations

import math
import os
import re
import resource
from concurrent.futures import wait
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
from conftest import SHIPPED
from distributed import LocalCluster
from threadpoolctl import threadpool_info

from pipeline.cluster.capacity import capacity_of
from pipeline.cluster.engine import started
from pipeline.cluster.entry import Cluster, load_cluster
from pipeline.process.resources import cores


def blas_threads() -> list[int]:
    """Threads that each BLAS library of this process uses."""
    return [int(pool["num_threads"]) for pool in threadpool_info() if pool["user_api"] == "blas"]


def test_the_shipped_file_names_threads_local_and_existing() -> None:
    found = len(os.sched_getaffinity(0))
    assert load_cluster(SHIPPED) == load_cluster(f"{SHIPPED}:threads")
    assert load_cluster(SHIPPED) == Cluster("threads", threads=found)
    local = load_cluster(f"{SHIPPED}:local")
    assert local.manager == "dask.distributed.LocalCluster"
    assert local.options["processes"] is True
    assert load_cluster(f"{SHIPPED}:existing").address == "tcp://127.0.0.1:8786"
    assert load_cluster(None).threads == found


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        ("clusters: {a: {threads: 1}}", "b", "'b' is not a known cluster"),
        ("clusters: {local: {threads: 1}}", "locla", "did you mean 'local'"),
        ("clusters: {a: {thread: 1}}", "a", "'thread' is not a known key; did you mean 'threads'"),
        ("cluster: {a: {threads: 1}}", "a", "did you mean 'clusters'"),
        ("clusters: {a: {threads: 0}}", "a", "threads is 0; it must be a whole number"),
        ("clusters: {a: {threads: two}}", "a", "threads is 'two'"),
        ("clusters: {a: {threads: 1, address: x}}", "a", "set exactly one"),
        ("clusters: {a: {scale: 1}}", "a", "none of threads, class and address is set"),
        ("clusters: {a: {threads: 1, scale: 2}}", "a", "scale goes with class, not with threads"),
        ("clusters: {a: {class: x, scale: 1, adapt: {}}}", "a", "both scale and adapt"),
        ("clusters: {a: {class: x, options: [1]}}", "a", "options is [1]"),
        ("clusters: {a: {class: x, scale: 0}}", "a", "scale is 0; it must be a whole number"),
        ("clusters: {a: {class: x, scale: two}}", "a", "scale is 'two'; it must be"),
        ("clusters: {a: {class: x, security: 1.5}}", "a", "security is 1.5; it must be true, fal"),
        ("clusters: {a: {threads: 1, security: true}}", "a", "security goes with class, not with"),
        ("clusters: {a: }", "a", "it is empty; set threads, class or address"),
        ("clusters: {}", "a", "names no clusters"),
        ("clusters: {1: {threads: 1}}", "1", "names a cluster 1, which is no text; quote it"),
        ("clusters: {true: {threads: 1}}", "a", "names a cluster True, which is no text"),
        ("{default: 2, clusters: {a: {threads: 1}}}", "a", "names a cluster 2, which is no text"),
        ("clusters: {a: {threads: 1}, b: {threads: 2}}", "", "no 'default:'; pass .*yaml:NAME, of"),
        ("clusters: {a: {threads: 1}", "a", "is not valid YAML at line 1"),
        ("- a\n- b", "a", "holds no mapping"),
        ("!!python/object/apply:os.system ['true']", "a", "is not valid YAML"),
    ],
)
def test_a_file_that_will_not_do_is_refused(
    tmp_path: Path, text: str, name: str, message: str
) -> None:
    path = tmp_path / "cluster.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"^[^\n]*$") as error:
        load_cluster(f"{path}:{name}" if name else path)
    assert re.search(re.escape(message).replace(r"\.\*", ".*"), str(error.value))
    assert "cluster.yaml" in str(error.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"absent\.yaml does not exist"):
        load_cluster(tmp_path / "absent.yaml")


def test_an_address_where_nothing_listens_is_named() -> None:
    cluster = Cluster("a", address="tcp://127.0.0.1:1")
    with (
        pytest.raises(ConnectionError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:1"),
        started(cluster),
    ):
        pass


def test_threads_do_not_fight_over_blas_threads() -> None:
    before = blas_threads()
    with started(Cluster(threads=2)) as engine:
        assert set(engine.submit(blas_threads).result()) == {1}
        assert engine.slots() == 4
        assert engine.workers() == engine.everywhere(os.getpid) == {}
    assert blas_threads() == before


@pytest.mark.parametrize("wanted", [{"scale": 1}, {"adapt": {"minimum": 1, "maximum": 1}}, {}])
def test_a_manager_is_given_its_options_and_scaled(wanted: dict[str, Any]) -> None:
    options: dict[str, Any] = {"threads_per_worker": 3, "dashboard_address": "127.0.0.1:0"}
    options["n_workers"] = 0 if wanted else 1
    cluster = Cluster("a", manager="dask.distributed.LocalCluster", options=options, **wanted)
    assert capacity_of(cluster).threads == 3
    with started(cluster) as engine:
        futures = [engine.submit(os.getpid) for _ in range(4)]
        wait(futures)
        assert {future.result() for future in futures} != {os.getpid()}
        assert set(engine.submit(blas_threads).result()) == {1}
        assert engine.slots() == 6


@pytest.mark.parametrize("adapt", [{"maximum": math.inf}, {}, {"maximum": 10**9}])
def test_what_is_submitted_is_bounded_where_the_number_of_workers_is_not(
    adapt: dict[str, Any],
) -> None:
    options = {"n_workers": 1, "threads_per_worker": 1, "dashboard_address": "127.0.0.1:0"}
    options |= {"processes": False}
    cluster = Cluster("a", manager="dask.distributed.LocalCluster", options=options, adapt=adapt)
    with started(cluster) as engine:
        assert engine.submit(abs, -1).result() == 1
        assert 2 <= engine.slots() < 1000


def test_an_error_on_a_worker_comes_back_as_it_was() -> None:
    options = {"n_workers": 1, "processes": False, "dashboard_address": "127.0.0.1:0"}
    cluster = Cluster("a", manager="distributed.LocalCluster", options=options)
    with started(cluster) as engine:
        assert isinstance(engine.submit(int, "x").exception(), ValueError)


def page_faults() -> int:
    """Pages that an array of 2 MB, made twenty times, takes anew; other threads' do not count."""
    before = resource.getrusage(resource.RUSAGE_THREAD).ru_minflt
    for _ in range(20):
        np.ones(2**18)
    return resource.getrusage(resource.RUSAGE_THREAD).ru_minflt - before


def test_a_worker_keeps_the_memory_that_it_has_freed() -> None:
    options = {"n_workers": 1, "threads_per_worker": 1, "dashboard_address": "127.0.0.1:0"}
    cluster = Cluster("a", manager="distributed.LocalCluster", options=options)
    with started(cluster) as engine:
        engine.submit(page_faults).result()
        assert engine.submit(page_faults).result() < 5 * 512  # of 4 kB, not 20 times as many


def test_what_others_share_is_left_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a scheduler that was started by others, for whom its workers compute, too."""
    environment = {"distributed.nanny.pre-spawn-environ": {"OPENBLAS_NUM_THREADS": "2"}}
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "2")  # what it is now goes before
    options: dict[str, Any] = {"n_workers": 1, "dashboard_address": "127.0.0.1:0"}
    with (
        dask.config.set(environment),
        LocalCluster(**options) as theirs,
        started(Cluster("a", address=theirs.scheduler_address)) as engine,
    ):
        assert set(engine.submit(blas_threads).result()) == {1}
        (after,) = engine.everywhere(blas_threads).values()
    assert set(after) == {min(2, cores())}
