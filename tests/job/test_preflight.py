"""A worker on which a job cannot go well is found before the job starts."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import FEATURE, ROOT, Write, planned, stored, wait_until
from distributed import LocalCluster

import pipeline as pl
import pipeline.cluster.workers
import pipeline.job.execution
from pipeline.cluster.entry import Cluster
from pipeline.job.extraction import run
from pipeline.job.regions import Failure, run_region
from pipeline.process.versions import installed_versions
from pipeline.store.store import new_store


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    """The address of a scheduler that has no workers of its own."""
    with LocalCluster(n_workers=0, dashboard_address="127.0.0.1:0") as running:
        yield running.scheduler_address


@contextmanager
def worker(scheduler: str, *prefix: str, path: Path = ROOT) -> Iterator[None]:
    """A worker in a process of its own, in another folder than the client."""
    command = [*prefix, sys.executable, "-m", "distributed.cli.dask_worker", scheduler]
    command += ["--no-dashboard", "--no-nanny", "--nthreads", "1", "--host", "127.0.0.1"]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, cwd="/", env=os.environ | {"PYTHONPATH": str(path)}
    )
    try:
        yield
    finally:
        process.kill()
        process.communicate()


def refusal(scheduler: str, source: Path, out: Path, feature: pl.Feature = FEATURE) -> str:
    """What a job says that is refused; it has left nothing."""
    with pytest.raises(ValueError, match=r"^the worker at tcp://127\.0\.0\.1:\d+ .*; .*") as error:
        run(planned(source, out, feature), Cluster("a", address=scheduler))
    assert not out.exists()
    assert "\n" not in str(error.value)
    return str(error.value)


def hidden(folder: Path) -> tuple[str, ...]:
    """What is put before a command, for which a folder is then empty."""
    hide = ("unshare", "--mount", "sh", "-c", 'mount -t tmpfs none "$0" && exec "$@"', str(folder))
    if os.geteuid() != 0 or not shutil.which("unshare"):
        pytest.skip("only root can hide a folder from a worker")
    if subprocess.run([*hide, "true"], capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount")
    return hide


def test_a_worker_that_sees_all_does_the_job(
    scheduler: str, write_wav: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline.cluster.workers, "PATIENCE", 0.2)
    monkeypatch.setattr(pipeline.cluster.workers, "INTERVAL", 0.1)
    source, said, out = write_wav(seconds=200), [""], tmp_path / "out" / "x.zarr"
    job = threading.Thread(
        target=lambda: run(
            planned(source, out), Cluster("a", address=scheduler), notice=said.append
        )
    )
    job.start()
    assert wait_until(lambda: said[-1].startswith("waiting for workers: there is none now"))
    with worker(scheduler):
        job.join(60)
    assert said[-1] == "workers have come, with 1 threads"
    assert run(planned(source, tmp_path / "one" / "x.zarr"), Cluster(threads=1)).ok
    assert stored(out) == stored(tmp_path / "one" / "x.zarr")
    assert [path.name for path in out.parent.iterdir()] == ["x.zarr"]


def test_other_code_is_refused_and_both_are_named(
    scheduler: str, write_wav: Write, tmp_path: Path
) -> None:
    shutil.copytree(ROOT / "pipeline", tmp_path / "other" / "pipeline")
    with open(tmp_path / "other" / "pipeline" / "audio" / "ogg.py", "a") as file:
        file.write("# changed\n")
    with worker(scheduler, path=tmp_path / "other"):
        said = refusal(scheduler, write_wav(), tmp_path / "x.zarr")
    own = installed_versions()["dask-audio-pipeline"]
    assert f"where the client has {own}; install the same there" in said
    assert said.count("(code ") == 2


def test_a_part_of_the_package_that_is_not_there_is_named(
    scheduler: str, write_wav: Write, tmp_path: Path
) -> None:
    (tmp_path / "other" / "pipeline").mkdir(parents=True)
    (tmp_path / "other" / "pipeline" / "__init__.py").touch()
    with worker(scheduler, path=tmp_path / "other"):
        said = refusal(scheduler, write_wav(), tmp_path / "x.zarr")
    assert "No module named 'pipeline.job'" in said


def test_a_feature_that_is_not_there_is_named(
    scheduler: str, write_wav: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = tmp_path / "mine" / "birds.py"
    module.parent.mkdir()
    module.write_text(
        "class Chirp:\n"
        "    shape, frequencies, times = (1,), (0.0,), None\n"
        "    def __call__(self, windows):\n"
        "        return windows[:, :1]\n"
    )
    monkeypatch.syspath_prepend(module.parent)
    import birds  # type: ignore[import-not-found]

    with worker(scheduler):
        said = refusal(scheduler, write_wav(), tmp_path / "x.zarr", birds.Chirp())
    assert "cannot load the feature (ModuleNotFoundError: No module named 'birds')" in said


def test_a_feature_of_other_code_is_named(
    scheduler: str, write_wav: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (
        "class Chirp:\n"
        "    shape, frequencies, times = (1,), (0.0,), None\n"
        "    def __call__(self, windows):\n"
        "        return windows[:, :1]\n"
    )
    for folder, more in (("here", ""), ("there", "# changed\n")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "thrush.py").write_text(text + more)
    monkeypatch.syspath_prepend(tmp_path / "here")
    import thrush  # type: ignore[import-not-found]

    with worker(scheduler, path=Path(f"{tmp_path / 'there'}:{ROOT}")):
        said = refusal(scheduler, write_wav(), tmp_path / "x.zarr", thrush.Chirp())
    assert re.search(
        r"has other code of the feature thrush:Chirp: source \w{8} where the client has source "
        r"\w{8}; install the same there",
        said,
    )


def test_a_feature_that_cannot_be_sent_is_refused(
    scheduler: str, write_wav: Write, tmp_path: Path
) -> None:
    class Locked:
        shape, frequencies, times, version = (1,), np.zeros(1), None, 1

        def __init__(self) -> None:
            self.lock = threading.Lock()

        def __call__(self, windows: Any, /) -> Any:
            return windows[:, :1]

    with worker(scheduler), pytest.raises(ValueError, match=r"Locked cannot be sent to workers"):
        run(planned(write_wav(), tmp_path / "x.zarr", Locked()), Cluster("a", address=scheduler))
    assert not (tmp_path / "x.zarr").exists()


def test_a_folder_that_is_on_one_machine_only_is_found_out(
    scheduler: str, write_wav: Write, tmp_path: Path
) -> None:
    source, out = write_wav("in/a.wav"), tmp_path / "out" / "x.zarr"
    out.parent.mkdir()
    with worker(scheduler, *hidden(out.parent)):
        assert f"does not see {out.parent}, where the store" in refusal(scheduler, source, out)
    with worker(scheduler, *hidden(source.parent)):
        said = refusal(scheduler, source, out)
        assert f"cannot read {source}: No such file or directory; give sources on a path" in said
    assert list(out.parent.iterdir()) == []


def test_other_versions_that_come_later_end_the_job(write_wav: Write, tmp_path: Path) -> None:
    plan = planned(write_wav(), tmp_path / "x.zarr")
    task = pipeline.job.execution._task(plan, new_store(plan.out), 0)
    other = dataclasses.replace(task, versions=task.versions | {"numpy": "1.0"})
    found = run_region(other)
    assert isinstance(found, Failure)
    assert found.fatal
    assert f"numpy {installed_versions()['numpy']} where the client has 1.0" in found.reason
