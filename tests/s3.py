"""A real S3 server on this machine, started once for all tests that want one."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from servers import free_ports, run_script, skip_unless_startable

__all__ = ["Bucket", "digests", "s3"]

SHARED_S3 = Path(__file__).parents[2] / "shared" / "s3"
PROGRAMS = ("ceph", "ceph-mon", "ceph-osd", "radosgw", "radosgw-admin")
FIRST_PORT, PORTS = 15007, 3
NAME = "recordings"


@dataclass(frozen=True)
class Bucket:
    """A bucket of a server; the environment says where that is, and has the keys.

    Attributes
    ----------
    environment : dict
        What a process needs in its environment to find it.
    settings : dict
        What the scripts that start and stop the server need.
    """

    environment: dict[str, str]
    settings: dict[str, str]
    url = f"s3://{NAME}"

    @property
    def before(self) -> str:
        """Code for a process that does not inherit the environment."""
        return f"import os; os.environ.update({self.environment!r})\n"

    def stop(self) -> None:
        """End the gateway, as when its machine fails."""
        pid = int(Path(self.settings["S3_TEST_DIR"], "run", "client.rgw.pid").read_text())
        os.kill(pid, signal.SIGKILL)
        while Path(f"/proc/{pid}").exists() and not _is_zombie(pid):
            time.sleep(0.01)

    def start(self) -> None:
        """Bring it back.

        Not by the script, whose gateway answers by two packets, the second
        held back until the first is acknowledged: 40 ms for each request.
        """
        folder, port = self.settings["S3_TEST_DIR"], int(self.settings["S3_TEST_PORT"])
        frontend = f"beast endpoint=127.0.0.1:{port} tcp_nodelay=1"
        command = ["radosgw", "-c", f"{folder}/ceph.conf", "-n", "client.rgw"]
        with open(f"{folder}/gateway.txt", "w") as log:
            done = subprocess.run([*command, "--rgw-frontends", frontend], stdout=log, stderr=log)
        assert done.returncode == 0, Path(f"{folder}/gateway.txt").read_text()
        until = time.monotonic() + 30
        while not _answers(port):
            assert time.monotonic() < until, "the gateway does not answer"
            time.sleep(0.05)


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _is_zombie(pid: int) -> bool:
    return ") Z " in Path(f"/proc/{pid}/stat").read_text()


def digests(url: str) -> dict[str, str]:
    """Digests of what a store in a bucket holds, as `conftest.stored` gives them of local ones."""
    from conftest import digest_of

    from pipeline.paths.remote import RemotePath

    root = RemotePath(url)
    names = (name for name, _ in root.walk() if not name.startswith(".record/"))
    return {f"out/{name}": digest_of(name, (root / name).read_bytes()) for name in names}


@pytest.fixture(scope="session")
def s3() -> Iterator[Bucket]:
    """A bucket of a server of this session alone; this process finds it, too."""
    pytest.importorskip("obstore")
    skip_unless_startable(SHARED_S3, "Ceph", PROGRAMS)
    folder = Path(tempfile.mkdtemp(prefix="s3-"))
    settings = {
        "S3_TEST_DIR": str(folder),
        "S3_TEST_PORT": str(free_ports(FIRST_PORT, PORTS)),
        "S3_TEST_SIZE": "4G",
    }
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        stack.callback(run_script, SHARED_S3 / "stop-s3", settings, folder)
        said = run_script(SHARED_S3 / "start-s3", settings, folder)
        pairs = (word.partition("=") for word in shlex.split(said) if "=" in word)
        environment = {name: value for name, _, value in pairs}
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        for name, value in environment.items():
            patch.setenv(name, value)
        _make_bucket()
        found = Bucket(environment, settings)
        found.stop()
        found.start()
        yield found


def _make_bucket() -> None:
    import obstore
    from obstore.store import S3Store

    store = S3Store(NAME, client_options={"allow_http": True})
    url = obstore.sign(store, "PUT", "", timedelta(seconds=60))
    with urllib.request.urlopen(urllib.request.Request(url, method="PUT"), timeout=30) as answer:
        assert answer.status == 200
