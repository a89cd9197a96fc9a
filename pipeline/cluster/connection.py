"""The connection: a client of the cluster that an entry describes, started if need be."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from multiprocessing import resource_tracker
from shutil import which
from typing import TYPE_CHECKING, Any

from pipeline.cluster.entry import Cluster
from pipeline.cluster.managers import check_manager, find_manager, is_exposed, prepare
from pipeline.cluster.security import given_security, is_loopback, new_security, temporary_security

if TYPE_CHECKING:
    from distributed import Client, Security

    from pipeline.cluster.workers import Submissions


class StartError(ConnectionError):
    """A cluster did not start, though its options may be right."""


def connect(
    cluster: Cluster,
    stack: ExitStack,
    notice: Callable[[str], None],
    lost: Callable[[StartError], None],
) -> Client:
    """A client of what is started, or of the scheduler that runs already; `stack` ends both.

    `notice` is called with a sentence for people when a worker will not come, and `lost` with
    the error when none will.
    """
    from distributed import Client

    security = _security(cluster, stack, notice)
    if cluster.manager is None:
        return _client_at_address(cluster, security, stack)

    from pipeline.cluster.workers import Submissions

    none_submitted = f"cluster {cluster.name!r}: no job could be submitted: "
    submissions = Submissions(notice, lambda reason: lost(StartError(none_submitted + reason)))
    manager = _start_manager(cluster, security, stack, submissions)
    client: Client = stack.enter_context(Client(manager, set_as_default=False))
    _scale(cluster, manager)
    return client


def _client_at_address(cluster: Cluster, security: Security | None, stack: ExitStack) -> Client:
    from distributed import Client

    try:
        # Without a security, the client asks Dask's configuration.
        options = {} if security is None else {"security": security}
        with ThreadPoolExecutor(1) as thread:  # for a notebook's has a loop of its own
            thread.submit(asyncio.run, _reach(str(cluster.address), **options)).result()
        found: Client = stack.enter_context(
            Client(cluster.address, timeout="10s", set_as_default=False, **options)
        )
        return found
    except (TypeError, RuntimeError) as error:
        raise ValueError(
            f"cluster {cluster.name!r}: {cluster.address} and its certificates do not fit "
            f"({error}); set tls:// and security: {{tls_ca_file, tls_client_cert, "
            f"tls_client_key}}, or tcp:// and neither"
        ) from error
    except (OSError, ValueError) as error:
        raise ConnectionError(
            f"no Dask scheduler answers at {cluster.address} ({error}); start one with "
            f"'dask scheduler', or set the address of one that runs"
        ) from error


async def _reach(address: str, security: Security | None = None) -> None:
    """Try an address before a client does: one that fails is left to the garbage collector.

    It may then be closed in the thread that starts the next client's loop, and block it.
    """
    from distributed import Security
    from distributed.comm.core import connect as reach

    arguments = (security or Security()).get_connection_args("client")
    await (await reach(address, timeout=10, **arguments)).close()


def _security(cluster: Cluster, stack: ExitStack, notice: Callable[[str], None]) -> Security | None:
    """Certificates for an entry, where it needs any."""
    if isinstance(cluster.security, dict):
        return given_security(cluster.security)
    if cluster.security is False:
        return None
    if cluster.address is not None:
        plain = not cluster.address.startswith("tls://")
        if plain and (cluster.security or not is_loopback(cluster.address)):
            raise ValueError(
                f"cluster {cluster.name!r}: what is sent to {cluster.address} could be read and "
                f"commanded by others; start its scheduler with certificates and pass tls://, or "
                f"set 'security: false' where nobody else reaches the network"
            )
        return None
    if cluster.security is None and not is_exposed(cluster, find_manager(cluster)):
        if cluster.options.get("processes") is False:  # nobody reaches what is in this one
            return None
        if find_spec("cryptography") is not None:
            return new_security()
        notice(
            f"cluster {cluster.name!r} is not encrypted, and whoever has an account on this "
            f"machine can run commands in it; install dask-audio-pipeline[jobqueue] to encrypt "
            f"it, or set 'security: false' where that is you alone"
        )
        return None
    folder = cluster.options.get("shared_temp_directory")
    return stack.enter_context(temporary_security(folder))


def _start_manager(
    cluster: Cluster,
    security: Security | None,
    stack: ExitStack,
    submissions: Submissions | None = None,
) -> Any:
    """Start a cluster, without the workers that `_scale` asks for."""
    import dask

    check_manager(cluster)
    found = find_manager(cluster)
    options, configuration = prepare(cluster, found, security)
    if submissions is not None and found.kind == "jobqueue":
        command = found.job_class.submit_command
        if command and which(program := command.split()[0]) is None:
            raise ValueError(
                f"cluster {cluster.name!r}: its jobs are submitted by {program}, which is not on "
                f"this machine's PATH; start on a node that has it, or load its module"
            )
        options["job_cls"] = submissions.followed(found.job_class)
    # Whether a task whose worker died is tried again is decided here, not there.
    configuration["distributed.scheduler.allowed-failures"] = 0
    # Dask would cancel one that takes longer to come back, but replace none of a group.
    stack.enter_context(dask.config.set({"distributed.deploy.lost-worker-timeout": "1000d"}))
    with dask.config.set(configuration), _ctrl_c_kept_from_children():
        try:
            return stack.enter_context(found.make(**options))
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"cluster {cluster.name!r}: {cluster.manager} does not start with its options: "
                f"{_line(error)}; fix them in the cluster file"
            ) from error
        except Exception as error:  # each manager has its own
            reason = _line(error)
            if found.kind == "local" and "Nanny failed" in reason:  # its processes run the script
                reason += "; in a script, begin below: if __name__ == '__main__':"
            raise StartError(
                f"cluster {cluster.name!r}: {cluster.manager} did not start ({reason})"
            ) from error


def _line(error: Exception) -> str:
    return " ".join(str(error.__cause__ or error).split())


def _scale(cluster: Cluster, manager: Any) -> None:
    """Ask for workers, and for others in the place of those that will be lost."""
    from distributed import LocalCluster, SpecCluster

    from pipeline.cluster.workers import Replacing

    loses_jobs = isinstance(manager, SpecCluster) and not isinstance(manager, LocalCluster)
    replacing = {"Adaptive": Replacing} if loses_jobs else {}
    if cluster.adapt is not None:
        manager.adapt(**replacing, **cluster.adapt)
    elif cluster.scale is not None:
        scale = cluster.scale if isinstance(cluster.scale, dict) else {"n": cluster.scale}
        manager.scale(**scale)
        if replacing:
            workers = len(manager.plan)  # those of whole jobs
            manager.adapt(**replacing, minimum=workers, maximum=workers)


def job_script(cluster: Cluster) -> str | None:
    """The script of each job of an entry, which is not submitted; None if it has no jobs."""
    check_manager(cluster)
    if cluster.manager is None or find_manager(cluster).kind != "jobqueue":
        return None
    with ExitStack() as stack:
        security = _security(cluster, stack, lambda _: None)
        script = _start_manager(cluster, security, stack).job_script()
        return str(script).replace("dummy-name", f"{cluster.manager.rpartition('.')[2]}-0")


@contextmanager
def _ctrl_c_kept_from_children() -> Iterator[None]:
    """Keep Ctrl-C from the threads that the block starts, and from processes that they start.

    A terminal sends it to every process of the job, but it is the client that ends the
    workers; each of them would report, as an error, that it was interrupted.
    """
    resource_tracker.ensure_running()  # the thread that starts it would take signals again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
