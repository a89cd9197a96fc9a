"""Security: who may join a cluster. Certificates, and what is reached from this machine only."""

from __future__ import annotations

import glob
import ipaddress
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from pipeline.checks import reject_unknown

if TYPE_CHECKING:
    from distributed import Security


def is_loopback(address: str) -> bool:
    """Whether an address, ``tcp://127.0.0.1:8786`` or a bare host, is this machine's own."""
    scheme, _, rest = address.rpartition("://")
    host = rest.rpartition(":")[0] if rest.count(":") in (1, 8) or "]" in rest else rest
    if scheme == "inproc" or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def given_security(values: dict[str, Any]) -> Security:
    """Dask's ``Security`` of these keyword arguments, encrypted unless they say otherwise."""
    from distributed import Security

    reject_unknown(values, Security.__slots__, "key of security")
    for key, value in values.items():
        if key.endswith(("_file", "_cert", "_key")) and not os.path.isfile(value):
            raise ValueError(f"{key} is {value!r}, where no file is; set the path of a PEM file")
    return Security(**{"require_encryption": True, **values})


def new_security() -> Security:
    """Certificates of one cluster, in memory."""
    from distributed import Security

    try:
        made: Security = Security.temporary()
    except ImportError as error:
        raise ValueError(
            "certificates are made by the package cryptography, which is not installed; install "
            "dask-audio-pipeline[jobqueue] or [ssh], or set 'security: false' where nobody else "
            "reaches the network"
        ) from error
    return made


@contextmanager
def temporary_security(folder: str | None = None) -> Iterator[Security]:
    """Certificates of one cluster, in files below a folder that all its machines see.

    That is the working folder if none is named. Only their owner can read them.
    """
    from distributed import Security

    made = new_security()
    parent = os.path.expandvars(os.path.expanduser(folder or os.getcwd()))
    _sweep(parent)
    try:
        holder = tempfile.TemporaryDirectory(prefix=f"{_prefix()}{os.getpid()}-", dir=parent)
    except OSError as error:
        raise ValueError(
            f"certificates cannot be put into {parent} ({error.strerror}); set a folder that all "
            f"machines see as shared_temp_directory"
        ) from error
    with holder as own:
        certificate, key = Path(own).resolve() / "certificate.pem", Path(own).resolve() / "key.pem"
        texts = made.get_tls_config_for_role("worker")
        for path, text in ((certificate, texts["cert"]), (key, texts["key"])):
            path.touch(0o600, exist_ok=False)
            path.write_text(text)
        roles = ("client", "scheduler", "worker")
        yield Security(
            require_encryption=True,
            tls_ca_file=str(certificate),
            **{f"tls_{role}_cert": str(certificate) for role in roles},
            **{f"tls_{role}_key": str(key) for role in roles},
        )


def _prefix() -> str:
    """How the folders of all processes begin that this one can see."""
    try:
        namespace = os.stat("/proc/self/ns/pid").st_ino
    except OSError:  # another system
        namespace = 0
    return f".dask-tls-{socket.gethostname()}-{namespace:x}-"


def _sweep(parent: str) -> None:
    """Remove certificates that killed processes of this host have left."""
    prefix = _prefix()
    for folder in Path(parent).glob(f"{glob.escape(prefix)}*-*"):
        process = folder.name.removeprefix(prefix).partition("-")[0]
        if process.isdecimal() and not psutil.pid_exists(int(process)):
            shutil.rmtree(folder, ignore_errors=True)


def as_configuration(security: Security) -> dict[str, Any]:
    """Certificates as Dask's configuration, for processes that can be passed nothing else."""
    values: dict[str, Any] = {
        "distributed.comm.require-encryption": True,
        "distributed.comm.default-scheme": "tls",
    }
    for role in ("client", "scheduler", "worker"):
        for what, value in security.get_tls_config_for_role(role).items():
            if what in ("cert", "key"):
                values[f"distributed.comm.tls.{role}.{what}"] = value
            elif what == "ca_file":
                values["distributed.comm.tls.ca-file"] = value
    return values
