"""Real servers and programs; scripts/install-servers installs them."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from itertools import count
from pathlib import Path

import pytest

PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"


def skip_unless_startable(folder: Path, name: str, programs: tuple[str, ...]) -> None:
    """Skip a test whose server cannot be started here."""
    if not folder.is_dir():
        pytest.skip(f"the scripts that start {name} are not at {folder}")
    skip_unless_installed(name, programs)


def skip_unless_installed(name: str, programs: tuple[str, ...]) -> None:
    """Skip a test that needs programs which are not here."""
    missing = [program for program in programs if not shutil.which(program, path=PATH)]
    if missing:
        pytest.skip(
            f"{name} is not installed ({', '.join(missing)}); "
            "scripts/install-servers can do so, as root"
        )


def run_script(script: Path, settings: dict[str, str], folder: Path) -> str:
    """Run a script that starts or stops a server; what it says."""
    # Its output goes to files: daemons that inherit a pipe would keep it open.
    out, err = folder / f"{script.name}.out", folder / f"{script.name}.err"
    with open(out, "w") as stdout, open(err, "w") as stderr:
        done = subprocess.run(
            [script],
            stdout=stdout,
            stderr=stderr,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **settings},
            timeout=240,
        )
    assert done.returncode == 0, err.read_text()
    return out.read_text()


def free_ports(first: int, number: int) -> int:
    """The first of so many ports in a row at which nothing listens, or just did."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])  # others look at the same time
    for start in count(first + 100 * worker, number):
        try:
            for port in range(start, start + number):
                with socket.socket() as listener:
                    listener.bind(("127.0.0.1", port))
        except OSError:
            continue
        return start
    raise AssertionError("no port is free")
