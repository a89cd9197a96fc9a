"""Planning: the job that a command line describes, and what it will do."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.feature_options import parameters_of
from pipeline.options import FEATURE
from pipeline.terminal import step_bars

if TYPE_CHECKING:
    from pipeline.cluster import Capacity, Cluster
    from pipeline.job import Plan
    from pipeline.runfile import Job


def read_job(sources: tuple[str, ...], config: str | None, passed: dict[str, Any]) -> Job:
    """The job that flags and run.yaml describe together."""
    from pipeline.runfile import load_job
    from pipeline.yaml_files import parse_value

    # What may be passed several times and was not is empty.
    flags = {key: value for key, value in passed.items() if value not in (None, ())}
    if sources:
        flags["sources"] = list(sources)
    if "channel" in flags:
        flags["channel"] = parse_value(flags["channel"])
    of_feature = parameters_of(*click.get_current_context().meta[FEATURE])
    names = [name for name in of_feature if name in flags]
    parameters = {name: parse_value(flags.pop(name)) for name in names}
    return load_job(Path(os.path.expanduser(config)) if config else None, flags, parameters)


def make_plan(
    job: Job, report: Path | None = None, quiet: bool = False
) -> tuple[Plan, Cluster, Capacity]:
    """What a job will do, where, and what each worker has; refused where it cannot end well."""
    from pipeline.cluster import capacity_of, check_manager, check_report, load_cluster
    from pipeline.job import Plan, check_fits

    cluster = load_cluster(job.cluster)
    check_manager(cluster)
    check_report(cluster, report)
    worker = capacity_of(cluster)
    with step_bars(quiet) as steps:
        plan = Plan.make(
            job.sources, job.out, job.feature, job.labels, job.settings, progress=steps
        )
    check_fits(plan, worker)
    return plan, cluster, worker
