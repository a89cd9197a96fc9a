"""Managers: the Dask cluster classes that an entry may name, and what we add to their options."""

from __future__ import annotations

import importlib
import inspect
import math
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple

from pipeline.checks import reject_unknown, whole
from pipeline.cluster.entry import Cluster
from pipeline.cluster.security import as_configuration, is_loopback
from pipeline.cluster.walltime import lifetime_arguments, walltime_seconds

if TYPE_CHECKING:
    from distributed import Security

# Importing a module runs it, so a YAML file may name only these packages; and with
# which extra of ours each is installed.
PACKAGES = {"dask": None, "distributed": None, "dask_jobqueue": "jobqueue"}
PACKAGES |= {"dask_kubernetes": "kubernetes"}
HERE = "127.0.0.1:0"  # where a dashboard listens
# Options that are objects of Python, or would name some, or that stand beside `options`.
NOT_IN_YAML = {
    *("self", "args", "kwargs", "job_kwargs", "base_class_kwargs", "worker_kwargs"),
    *("loop", "asynchronous", "scheduler", "security", "job_cls", "scheduler_cls"),
    *("worker_class", "plugins", "preload", "preload_argv", "preload_nanny", "preload_nanny_argv"),
}
SCALE = ("n", "jobs", "memory", "cores")
ADAPT = (
    *("minimum", "maximum", "minimum_jobs", "maximum_jobs", "minimum_cores", "maximum_cores"),
    *("minimum_memory", "maximum_memory", "interval", "wait_count", "target_duration"),
)


class Manager(NamedTuple):
    """A Dask cluster class, or Dask's function that makes such a cluster.

    Attributes
    ----------
    make : callable
        Starts it, given its options.
    kind : str
        ``local``, ``ssh``, ``jobqueue`` or ``other``.
    """

    make: Callable[..., Any]
    kind: str

    @property
    def system(self) -> str | None:
        """The batch system, as dask-jobqueue's configuration names it."""
        name: str | None = getattr(getattr(self.make, "job_cls", None), "config_name", None)
        return name

    def options(self) -> set[str]:
        """Names of its keyword arguments, those included that it hands on."""
        from distributed import LocalCluster, Nanny, SpecCluster, Worker

        if self.kind == "local":
            return _parameters(*LocalCluster.__mro__, Nanny, Worker)
        if self.kind == "ssh":
            return _parameters(self.make, SpecCluster) | {"shared_temp_directory"}
        return _parameters(*inspect.getmro(self.make)) | self.job_options()  # type: ignore[arg-type]

    def job_options(self) -> set[str]:
        """Names of those that say what a job of a batch system is."""
        return _parameters(*getattr(self.make, "job_cls", object).__mro__)


def _parameters(*parts: Any) -> set[str]:
    signatures = (inspect.signature(part) for part in parts if part is not object)
    return {name for signature in signatures for name in signature.parameters} - NOT_IN_YAML


def find_manager(cluster: Cluster) -> Manager:
    """The manager that an entry names.

    Raises
    ------
    ValueError
        If it is not a Dask cluster manager, or not installed.
    """
    from distributed import LocalCluster, SSHCluster
    from distributed.deploy.cluster import Cluster as DaskCluster

    module, _, attribute = (cluster.manager or "").rpartition(".")
    package, found = module.partition(".")[0], None
    if package in PACKAGES:
        try:
            with _own_ctrl_c():
                found = getattr(importlib.import_module(module), attribute, None)
        except ImportError as error:
            extra = PACKAGES[package]
            missing = extra is not None and find_spec(package) is None
            install = f"dask-audio-pipeline[{extra}]" if missing else "the package that has it"
            raise ValueError(
                f"cluster {cluster.name!r}: {cluster.manager} cannot be imported ({error}); "
                f"install {install}"
            ) from error
    if found is SSHCluster:
        if find_spec("asyncssh") is None:
            raise ValueError(
                f"cluster {cluster.name!r}: {cluster.manager} needs the package asyncssh; install "
                f"dask-audio-pipeline[ssh]"
            )
        return Manager(SSHCluster, "ssh")
    if not (isinstance(found, type) and issubclass(found, DaskCluster)):
        raise ValueError(
            f"cluster {cluster.name!r}: {cluster.manager} is not a Dask cluster manager; give the "
            f"full name of one, such as dask.distributed.LocalCluster"
        )
    if issubclass(found, LocalCluster):
        return Manager(found, "local")
    return Manager(found, "jobqueue" if hasattr(found, "job_cls") else "other")


def check_manager(cluster: Cluster) -> None:
    """Refuse a class that is not a Dask cluster manager, or options that it does not know.

    Nothing is started.

    Raises
    ------
    ValueError
        If they will not do.
    """
    if cluster.manager is None:
        return
    manager = find_manager(cluster)
    try:
        reject_unknown(cluster.options, sorted(manager.options()), f"option of {cluster.manager}")
        _check_workers(cluster, manager)
        if manager.kind == "jobqueue":
            _lifetime(cluster.options, manager)
            make_job(cluster.options, manager)
        if manager.kind == "other" and cluster.security is not False:
            raise ValueError(
                f"{cluster.manager} cannot encrypt what its workers say to each other; give "
                f"'security: false' if nobody else reaches their network"
            )
    except ValueError as error:
        raise ValueError(f"cluster {cluster.name!r}: {error}") from error


def _check_workers(cluster: Cluster, manager: Manager) -> None:
    options, scale, adapt = cluster.options, cluster.scale, cluster.adapt or {}
    if isinstance(scale, dict):
        reject_unknown(scale, SCALE, "key of scale")
    reject_unknown(adapt, ADAPT, "key of adapt")
    _check_whole(options, ("n_workers",))
    _check_whole(options, ("nthreads", "threads_per_worker"), 1)
    _check_whole(adapt, ("minimum", "minimum_jobs", "minimum_cores"))
    most = {key: value for key, value in adapt.items() if value != math.inf}
    _check_whole(most, ("maximum", "maximum_jobs", "maximum_cores"), 1)
    counted = scale is not None or cluster.adapt is not None
    if options.get("n_workers") == 0 and not counted:
        raise ValueError("n_workers is 0, so that it starts none; give at least 1, or scale")
    if manager.kind == "ssh" and counted:
        raise ValueError("SSH starts a worker for each host but the first; give no scale or adapt")
    if manager.kind == "jobqueue":
        if "n_workers" in cluster.options:
            raise ValueError("n_workers does not replace lost workers; give scale beside options")
        if not counted:
            raise ValueError("it starts no workers; give scale, such as 'scale: 4', or adapt")


def _check_whole(values: dict[str, Any], names: Iterable[str], least: int = 0) -> None:
    for name in names:
        if (value := values.get(name)) is not None:
            whole(name, value, least, f"of at least {least}")


def make_job(options: dict[str, Any], manager: Manager) -> Any:
    """A job of a batch system, which is not submitted; but no folder for its logs.

    Raises
    ------
    ValueError
        If none can be made of these options.
    """
    names = manager.job_options() - {"log_directory"}
    job = {name: value for name, value in options.items() if name in names}
    try:
        return manager.make.job_cls("tcp://127.0.0.1:1", **job | {"name": "check"})  # type: ignore[attr-defined]
    except (TypeError, ValueError, ArithmeticError) as error:
        reason = str(error).partition(", for example")[0]
        raise ValueError(f"no job can be made of these options: {reason}; mend them") from error


def is_exposed(cluster: Cluster, manager: Manager) -> bool:
    """Whether other machines reach the cluster of an entry."""
    if manager.kind == "local":
        host, interface = cluster.options.get("host"), cluster.options.get("interface")
        return not (is_loopback(str(host)) if host else interface in (None, "lo"))
    return True


def prepare(
    cluster: Cluster, manager: Manager, security: Security | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Options that a manager is started with.

    Parameters
    ----------
    cluster : Cluster
        The entry.
    manager : Manager
        That it names.
    security : Security, optional
        The certificates, in files.

    Returns
    -------
    dict, dict
        The entry's options, with dashboards that listen on loopback, certificates and the
        lifetime of workers added; and Dask's configuration while the cluster starts.
    """
    options = dict(cluster.options)
    configuration: dict[str, Any] = {}
    if manager.kind == "other":
        return options, configuration
    if manager.kind == "local":
        options.setdefault("dashboard_address", HERE)
    if security is not None:
        options["security"] = security
    if manager.kind == "ssh":
        options.pop("shared_temp_directory", None)
        for name in ("scheduler_options", "worker_options"):
            options[name] = {"dashboard_address": HERE, **options.get(name, {})}
        if security is not None:
            configuration = as_configuration(security)
    if manager.kind == "jobqueue":
        for name in ("scheduler_options", "worker_extra_args"):
            options[name] = _given(options, manager, name)
        options["scheduler_options"] = {"dashboard_address": HERE, **options["scheduler_options"]}
        options["worker_extra_args"] = [
            *_new(options["worker_extra_args"], ["--no-dashboard"], "--dashboard"),
            *_new(options["worker_extra_args"], ["--dashboard-address", HERE]),
            *_lifetime(options, manager),
            *options["worker_extra_args"],
        ]
    return options, configuration


def _given(options: dict[str, Any], manager: Manager, name: str) -> Any:
    """An option of a batch system, or else what Dask's configuration says."""
    import dask

    if options.get(name) is not None:
        return options[name]
    section = options.get("config_name", manager.system)
    return dask.config.get(f"jobqueue.{section}.{name.replace('_', '-')}", None)


def _new(given: Iterable[object], arguments: list[str], *others: str) -> list[str]:
    """Arguments, unless the first of them is given already."""
    names = {str(argument).partition("=")[0] for argument in given}
    return [] if names & {arguments[0], *others} else arguments


def _lifetime(options: dict[str, Any], manager: Manager) -> list[str]:
    walltime = _given(options, manager, "walltime")
    if walltime is None or manager.system not in ("slurm", "pbs", "moab", "sge", "lsf", "oar"):
        return []
    seconds = walltime_seconds(walltime, manager.system)
    given = _given(options, manager, "worker_extra_args") or []
    return [] if seconds is None else _new(given, lifetime_arguments(seconds))


@contextmanager
def _own_ctrl_c() -> Iterator[None]:
    """Keep what Ctrl-C does: dask_jobqueue, as it is imported, lets it end the process in silence.

    Only the main thread can change that, so it is changed there or not at all.
    """
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGINT) is not before:
            signal.signal(signal.SIGINT, before)
