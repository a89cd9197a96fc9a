"""Nobody else joins: what other machines reach is encrypted, and certificates are one's own."""

from __future__ import annotations

import asyncio
import gc
import socket
import ssl
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import distributed
import pytest
from distributed import Client, LocalCluster, Security
from distributed.comm.core import connect as reach

from pipeline.cluster.connection import job_script
from pipeline.cluster.engine import Engine, started
from pipeline.cluster.entry import Cluster
from pipeline.cluster.managers import check_manager, find_manager, is_exposed
from pipeline.cluster.security import given_security, is_loopback, temporary_security

LOCAL = "dask.distributed.LocalCluster"
SMALL = {"n_workers": 1, "threads_per_worker": 1, "dashboard_address": "127.0.0.1:0"}
SLURM = {"cores": 1, "memory": "1GiB", "walltime": "01:00:00"}


def scheduler_address() -> str:
    """Where a worker's scheduler is."""
    return str(distributed.get_worker().scheduler.address)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A cluster with certificates that were made for it."""
    folder = str(tmp_path_factory.mktemp("shared"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        with started(Cluster("a", manager=LOCAL, options=SMALL, security=True)) as running:
            yield running


@pytest.fixture(scope="module")
def address(engine: Engine) -> str:
    return str(engine.submit(scheduler_address).result())


def test_a_client_without_the_certificate_is_refused(address: str) -> None:
    assert address.startswith("tls://")
    plain = address.replace("tls://", "tcp://")
    foreign = Security.temporary()  # certificates of another cluster
    for where, security in ((address, Security()), (plain, Security()), (address, foreign)):
        arguments = security.get_connection_args("client")
        with pytest.raises((OSError, TypeError)):
            asyncio.run(reach(where, timeout=1, **arguments))
    host, _, port = address.removeprefix("tls://").partition(":")
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection((host, int(port))) as raw,
        pytest.raises((ssl.SSLError, ConnectionError)),
        context.wrap_socket(raw) as wrapped,  # of nobody
    ):
        wrapped.recv(1)


def test_an_existing_scheduler_is_joined_with_its_certificates_alone(tmp_path: Path) -> None:
    with (
        temporary_security(str(tmp_path)) as security,
        LocalCluster(**SMALL, security=security) as running,
    ):
        files = security.get_tls_config_for_role("client")
        given = {
            "tls_ca_file": files["ca_file"],
            "tls_client_cert": files["cert"],
            "tls_client_key": files["key"],
        }
        where = running.scheduler_address
        with started(Cluster("a", address=where, security=given)) as engine:
            assert engine.submit(int, "3").result() == 3
        for wrong in (
            Cluster("a", address=where),
            Cluster("a", address=where.replace("tls", "tcp"), security=given),
        ):
            with (
                pytest.raises(ValueError, match=r"'a': t.* its certificates do not fit"),
                started(wrong),
            ):
                pass


def test_a_client_that_was_refused_leaves_nothing_in_the_way_of_the_next() -> None:
    def clients() -> set[int]:
        # Not isinstance, which asks weak references to what is gone.
        return {id(found) for found in gc.get_objects() if issubclass(type(found), Client)}

    before = clients()
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        nobody = f"tcp://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(ConnectionError, match="no Dask"), started(Cluster("a", address=nobody)):
            pass
    assert clients() <= before


def test_certificates_are_read_by_their_owner_only_and_are_removed(tmp_path: Path) -> None:
    with temporary_security(str(tmp_path)) as security:
        (folder,) = tmp_path.iterdir()
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        files = list(folder.iterdir())
        assert len(files) == 2
        for path in files:
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert path.read_text().startswith("-----BEGIN")
        for role in ("client", "scheduler", "worker"):
            named = security.get_tls_config_for_role(role)
            assert {named["ca_file"], named["cert"], named["key"]} == set(map(str, files))
        assert security.require_encryption
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_leaves_is_removed_by_the_next(tmp_path: Path) -> None:
    code = f"""if True:
        import os, signal, sys
        from pipeline.cluster.security import temporary_security
        with temporary_security({str(tmp_path)!r}):
            print("made", flush=True)
            sys.stdin.read()
    """
    command = [sys.executable, "-c", code]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as killed, subprocess.Popen(command, **pipes) as alive:
        for process in (killed, alive):
            assert process.stdout is not None
            assert process.stdout.readline() == "made\n"
        assert len(list(tmp_path.iterdir())) == 2
        killed.kill()
        killed.wait()
        elsewhere = tmp_path / f".dask-tls-elsewhere-0-{killed.pid}-abcdefgh"
        elsewhere.mkdir()
        with temporary_security(str(tmp_path)):
            there = {path.name for path in tmp_path.iterdir()}
        assert len(there) == 3
        assert not any(f"-{killed.pid}-" in name for name in there - {elsewhere.name})
        assert any(f"-{alive.pid}-" in name for name in there)
        alive.communicate("")
    assert [path.name for path in tmp_path.iterdir()] == [elsewhere.name]


def test_a_local_cluster_is_encrypted_unless_that_is_turned_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said: list[str] = []

    def address(security: bool | None) -> str:
        entry = Cluster("a", manager=LOCAL, options=SMALL, security=security)
        with started(entry, said.append) as engine:
            return str(engine.submit(scheduler_address).result())

    assert address(None).startswith("tls://127.0.0.1:")
    assert address(False).startswith("tcp://127.0.0.1:")
    assert not [line for line in said if "encrypt" in line]
    assert list(tmp_path.iterdir()) == []  # certificates of one machine are in no file
    monkeypatch.setattr("pipeline.cluster.connection.find_spec", lambda name: None)
    assert address(None).startswith("tcp://127.0.0.1:")
    assert [line for line in said if "cluster 'a' is not encrypted, and whoever has an" in line]


def test_a_job_script_names_the_files_and_not_what_is_in_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    entry = Cluster("a", manager="dask_jobqueue.SLURMCluster", options=SLURM, scale=1)
    script = job_script(entry)
    assert script is not None
    assert f"--tls-key {tmp_path}/.dask-tls-" in script
    assert "tls://" in script
    assert "--no-dashboard --dashboard-address 127.0.0.1:0" in script
    assert "-----BEGIN" not in script
    off = Cluster("a", manager="dask_jobqueue.SLURMCluster", options=SLURM, scale=1, security=False)
    script = job_script(off)
    assert script is not None
    assert "tls" not in script
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "exposed"),
    [
        ({}, False),
        ({"host": "127.0.0.1"}, False),
        ({"host": "tcp://localhost:0"}, False),
        ({"interface": "lo"}, False),
        ({"host": "0.0.0.0"}, True),
        ({"host": "10.0.0.7"}, True),
        ({"interface": "eth0"}, True),
    ],
)
def test_a_local_cluster_is_encrypted_where_others_reach_it(
    options: dict[str, Any], exposed: bool
) -> None:
    cluster = Cluster("a", manager=LOCAL, options=options)
    assert is_exposed(cluster, find_manager(cluster)) == exposed


@pytest.mark.parametrize(
    ("address", "loopback"),
    [
        ("tcp://127.0.0.1:8786", True),
        ("127.0.0.1:8786", True),
        ("127.8.9.1", True),
        ("localhost:8786", True),
        ("tcp://[::1]:8786", True),
        ("inproc://10.0.0.7/1/2", True),
        ("tcp://10.0.0.7:8786", False),
        ("tcp://[fe80::1]:8786", False),
        ("login1:8786", False),
        ("tcp://localhost.example.org:8786", False),
    ],
)
def test_what_is_reached_from_this_machine_only_is_known(address: str, loopback: bool) -> None:
    assert is_loopback(address) == loopback


def test_a_key_or_file_that_is_wrong_is_named() -> None:
    with pytest.raises(ValueError, match=r"'tls_ca' is not .* did you mean 'tls_ca_file'"):
        given_security({"tls_ca": "ca.pem"})
    with pytest.raises(ValueError, match=r"tls_ca_file is 'no\.pem', where no file is"):
        given_security({"tls_ca_file": "no.pem"})
    with (
        pytest.raises(ValueError, match="cannot be put into /no/folder"),
        temporary_security("/no/folder"),
    ):
        pass


def test_without_cryptography_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def temporary() -> None:
        raise ImportError

    monkeypatch.setattr(Security, "temporary", temporary)
    with (
        pytest.raises(ValueError, match=r"install dask-audio-pipeline\[jobqueue\]"),
        temporary_security(),
    ):
        pass


def test_a_manager_that_cannot_encrypt_must_be_told_to_do_without() -> None:
    entry = Cluster("a", manager="distributed.SpecCluster")
    with pytest.raises(ValueError, match=r"cannot encrypt .* set 'security: false'"):
        check_manager(entry)
    check_manager(Cluster("a", manager="distributed.SpecCluster", security=False))


@pytest.mark.parametrize(
    "entry",
    [
        Cluster("a", address="tcp://10.0.0.7:8786"),
        Cluster("a", address="login1:8786"),
        Cluster("a", address="tcp://127.0.0.1:8786", security=True),
    ],
)
def test_a_scheduler_that_is_open_to_others_must_be_asked_for(entry: Cluster) -> None:
    with pytest.raises(ValueError, match=r"could be read and .* 'security: false'"), started(entry):
        pass
