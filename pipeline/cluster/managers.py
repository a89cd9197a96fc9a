"""Managers: the Dask cluster classes that an entry may name, and what we add to their options."""

from __future__ import annotations

import importlib
import inspect
import math
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pipeline.checks import reject_unknown, whole
from pipeline.cluster.entry import Cluster
from pipeline.cluster.security import as_configuration, is_loopback
from pipeline.cluster.walltime import UNITS, lifetime_arguments, walltime_seconds

if TYPE_CHECKING:
    from distributed import Security

# Importing a module runs it, so a YAML file may name only these packages; and with
# which extra of ours each is installed.
PACKAGES = {"dask": None, "distributed": None, "dask_jobqueue": "jobqueue"}
PACKAGES |= {"dask_kubernetes": "kubernetes"}
HERE = "127.0.0.1:0"  # where a dashboard listens
# Options that are objects of Python, or would name some, or that are keys beside `options`.
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
    """A Dask cluster class, or Dask's function that makes such a cluster."""

    make: Callable[..., Any]
    kind: Literal["local", "ssh", "jobqueue", "other"]

    @property
    def job_class(self) -> Any:
        """The class of its jobs; None if it submits none to a batch system."""
        return getattr(self.make, "job_cls", None)

    @property
    def system(self) -> Any:
        """The batch system, as dask-jobqueue's configuration names it; None if there is none."""
        return getattr(self.job_class, "config_name", None)

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
        return _parameters(*(self.job_class or object).__mro__)


def _parameters(*parts: Any) -> set[str]:
    signatures = (inspect.signature(part) for part in parts if part is not object)
    return {name for signature in signatures for name in signature.parameters} - NOT_IN_YAML


def find_manager(cluster: Cluster) -> Manager:
    """The manager that an entry names."""
    from distributed import LocalCluster, SSHCluster
    from distributed.deploy.cluster import Cluster as DaskCluster

    module, _, attribute = (cluster.manager or "").rpartition(".")
    package, found = module.partition(".")[0], None
    what = f"cluster {cluster.name!r}: {cluster.manager}"
    if package in PACKAGES:
        try:
            with _own_ctrl_c():
                found = getattr(importlib.import_module(module), attribute, None)
        except ImportError as error:
            extra = PACKAGES[package]
            missing = extra is not None and find_spec(package) is None
            install = f"dask-audio-pipeline[{extra}]" if missing else "the package that has it"
            raise ValueError(f"{what} cannot be imported ({error}); install {install}") from error
    if found is SSHCluster:
        if find_spec("asyncssh") is None:
            raise ValueError(f"{what} needs the package asyncssh; install dask-audio-pipeline[ssh]")
        return Manager(SSHCluster, "ssh")
    if not (isinstance(found, type) and issubclass(found, DaskCluster)):
        raise ValueError(
            f"{what} is not a Dask cluster manager; set the full name of one, such as "
            f"dask.distributed.LocalCluster"
        )
    if issubclass(found, LocalCluster):
        return Manager(found, "local")
    return Manager(found, "jobqueue" if hasattr(found, "job_cls") else "other")


def check_manager(cluster: Cluster) -> None:
    """Refuse a class that is no Dask cluster manager, or options that it does not know.

    Nothing is started.
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
                f"{cluster.manager} cannot encrypt what its workers say to each other; set "
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
        raise ValueError("n_workers is 0, so that it starts none; set at least 1, or scale")
    if manager.kind == "ssh" and counted:
        raise ValueError(
            "SSH starts a worker for each host but the first; leave out scale and adapt"
        )
    if manager.kind == "jobqueue":
        if "n_workers" in cluster.options:
            raise ValueError("n_workers does not replace lost workers; set scale beside options")
        if not counted:
            raise ValueError("it starts no workers; set scale, such as 'scale: 4', or adapt")


def _check_whole(values: dict[str, Any], names: Iterable[str], least: int = 0) -> None:
    for name in names:
        if (value := values.get(name)) is not None:
            whole(name, value, least, f"of at least {least}")


def make_job(options: dict[str, Any], manager: Manager) -> Any:
    """A job of a batch system, made to see its script: not submitted, without a log folder."""
    names = manager.job_options() - {"log_directory"}
    job = {name: value for name, value in options.items() if name in names}
    try:
        return manager.job_class("tcp://127.0.0.1:1", **job | {"name": "check"})
    except (TypeError, ValueError, ArithmeticError) as error:
        reason = str(error).partition(", for example")[0]
        raise ValueError(f"no job can be made of these options: {reason}; fix them") from error


def is_exposed(cluster: Cluster, manager: Manager) -> bool:
    """Whether other machines reach the cluster of an entry."""
    host, interface = cluster.options.get("host"), cluster.options.get("interface")
    here = is_loopback(str(host)) if host else interface in (None, "lo")
    return manager.kind != "local" or not here


def prepare(
    cluster: Cluster, manager: Manager, security: Security | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Options that a manager is started with, and Dask's configuration while it starts.

    To the entry's own are added: dashboards that listen on loopback, certificates, and the
    lifetime of workers.
    """
    options = dict(cluster.options)
    configuration: dict[str, Any] = {}
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
        scheduler = _configured(options, manager, "scheduler_options")
        options["scheduler_options"] = {"dashboard_address": HERE, **scheduler}
        own = _configured(options, manager, "worker_extra_args")
        no_dashboard = _unless_set(own, ["--no-dashboard"], "--dashboard")
        address = _unless_set(own, ["--dashboard-address", HERE])
        lifetime = _lifetime(options, manager)
        options["worker_extra_args"] = [*no_dashboard, *address, *lifetime, *own]
    return options, configuration


def _configured(options: dict[str, Any], manager: Manager, name: str) -> Any:
    """An option of a batch system, or else what Dask's configuration says."""
    import dask

    if options.get(name) is not None:
        return options[name]
    section = options.get("config_name", manager.system)
    return dask.config.get(f"jobqueue.{section}.{name.replace('_', '-')}", None)


def _unless_set(own: Iterable[object], arguments: list[str], *others: str) -> list[str]:
    """Arguments, unless the entry's own set the first of them, or one of the others."""
    names = {str(argument).partition("=")[0] for argument in own}
    return [] if names & {arguments[0], *others} else arguments


def _lifetime(options: dict[str, Any], manager: Manager) -> list[str]:
    walltime = _configured(options, manager, "walltime")
    if walltime is None or manager.system not in UNITS:
        return []
    seconds = walltime_seconds(walltime, manager.system)
    own = _configured(options, manager, "worker_extra_args") or []
    return [] if seconds is None else _unless_set(own, lifetime_arguments(seconds))


@contextmanager
def _own_ctrl_c() -> Iterator[None]:
    """Keep what Ctrl-C does; importing dask_jobqueue makes it end the process in silence."""
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGINT) is not before:
            signal.signal(signal.SIGINT, before)
