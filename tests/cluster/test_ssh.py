"""The same job on machines that are reached by SSH: a real sshd, on loopback."""

from __future__ import annotations

import getpass
import os
import platform
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import NUMERICS_VARIABLES, Write, record_lines, stored, wait_until
from servers import PATH, skip_unless_installed

import pipeline as pl
from pipeline.cluster.entry import load_cluster
from pipeline.job.extraction import run
from pipeline.job.plan import Plan
from pipeline.process.numerics import numerics_class
from pipeline.settings import Settings

FEATURE = pl.Spectrogram(n_fft=64, frame_length=20, hop_length=50)


@pytest.fixture(scope="module")
def connect_options(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """How to log in to an sshd that runs for this file, with keys of its own."""
    sshd, folder = find_sshd(), tmp_path_factory.mktemp("ssh")
    for name in ("host", "client"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(command, check=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = {
        "ListenAddress": f"127.0.0.1:{port}",
        "HostKey": folder / "host",
        "AuthorizedKeysFile": folder / "client.pub",
        "PidFile": "none",
        "StrictModes": "no",
        "UsePAM": "no",
        "PasswordAuthentication": "no",
    }
    (folder / "config").write_text("".join(f"{k} {v}\n" for k, v in settings.items()))
    kind, key, *_ = (folder / "host.pub").read_text().split()
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {kind} {key}\n")
    with open(folder / "log", "w") as log:
        server = subprocess.Popen([sshd, "-D", "-e", "-f", folder / "config"], stderr=log)
    try:
        assert wait_until(lambda: "listening" in (folder / "log").read_text())
        yield {
            "port": port,
            "username": getpass.getuser(),
            "client_keys": [str(folder / "client")],
            "known_hosts": str(folder / "known_hosts"),
        }
    finally:
        server.terminate()
        server.wait()


def find_sshd() -> str:
    """The path of sshd."""
    skip_unless_installed("sshd", ("sshd", "ssh-keygen"))
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # where it sheds its rights
    found = shutil.which("sshd", path=PATH)
    assert found
    return found


def remote_python(**variables: str) -> str:
    """Python with such variables in its environment, of which ssh passes on none."""
    settings = (f"{name}={shlex.quote(value)}" for name, value in variables.items())
    return f"env {' '.join(settings)} {shlex.quote(sys.executable)}"


def test_a_job_over_ssh_stores_the_same_bits(
    connect_options: dict[str, Any],
    tmp_path: Path,
    write_wav: Write,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    own = {name: os.environ[name] for name in NUMERICS_VARIABLES if name in os.environ}
    options = {
        "hosts": ["127.0.0.1"] * 3,
        "connect_options": connect_options,
        "worker_options": {"nthreads": 1},
        "remote_python": remote_python(**own),
    }
    entry = {"class": "dask.distributed.SSHCluster", "options": options}
    file = tmp_path / "cluster.yaml"
    file.write_text(yaml.safe_dump({"clusters": {"ssh": entry, "one": {"threads": 1}}}))
    source = write_wav(seconds=9000, samplerate=1000)
    stores = {}
    for name in ("ssh", "one"):
        out = tmp_path / name / "x.zarr"
        plan = Plan.make(source, out, FEATURE, settings=Settings())
        assert run(plan, load_cluster(f"{file}:{name}")).ok
        stores[name] = stored(out)
    assert stores["ssh"] == stores["one"]
    done = record_lines(tmp_path / "ssh" / "x.zarr")
    workers = {line["worker"] for line in done if line["kind"] == "done"}
    assert len(workers) == 2
    assert not {worker for worker in workers if worker.endswith(f":{os.getpid()}")}
    assert [path.name for path in tmp_path.glob(".*")] == []


def test_machines_that_compute_otherwise_are_refused(
    connect_options: dict[str, Any],
    tmp_path: Path,
    write_wav: Write,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if platform.machine() != "x86_64":
        pytest.skip("OpenBLAS knows other kinds of processor under these names")
    monkeypatch.chdir(tmp_path)
    other = "Sandybridge" if "Haswell" in numerics_class() else "Haswell"
    options = {
        "hosts": ["127.0.0.1"] * 2,
        "connect_options": connect_options,
        "worker_options": {"nthreads": 1},
        "remote_python": remote_python(OPENBLAS_CORETYPE=other),
    }
    entry = {"class": "dask.distributed.SSHCluster", "options": options}
    (tmp_path / "cluster.yaml").write_text(yaml.safe_dump({"clusters": {"ssh": entry}}))
    with pytest.raises(ValueError, match=f"the worker at .* computes by .*{other}"):
        pl.extract(write_wav(), "x.zarr", FEATURE, cluster="cluster.yaml:ssh")
    assert not (tmp_path / "x.zarr").exists()
