"""What an entry asks of a manager is what that knows, and is checked before anything starts."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import SHIPPED, Cli, Write

from pipeline.cluster.capacity import capacity_of
from pipeline.cluster.connection import job_script
from pipeline.cluster.entry import Cluster, load_cluster
from pipeline.cluster.managers import check_manager, find_manager
from pipeline.cluster.walltime import lifetime_arguments, walltime_seconds

ENTRIES = list(yaml.safe_load(SHIPPED.read_text())["clusters"])
JOBQUEUE = ("slurm", "pbs", "lsf", "sge", "htcondor", "oar")
# What each system is asked for by the shipped entry.
ASKED = {
    "slurm": ["#SBATCH --cpus-per-task=8", "#SBATCH --mem=16G", "#SBATCH -t 04:00:00"],
    "pbs": ["#PBS -l select=1:ncpus=8:mem=16GB", "#PBS -l walltime=04:00:00"],
    "lsf": ["#BSUB -n 8", "#BSUB -W 04:00"],
    "sge": ["#$ -pe smp 8", "#$ -l h_rt=04:00:00"],
    "htcondor": ["MY.DaskWorkerCores = 8", "MY.DaskWorkerMemory = 17179869184"],
    "oar": ["#OAR -l /nodes=1/core=8,walltime=04:00:00", "#OAR -p memcore>=2048"],
}
# The keyword arguments of KubeCluster in the documentation of dask-kubernetes 2026.3.
KUBERNETES = {
    *("name", "namespace", "image", "n_workers", "resources", "env", "worker_command"),
    *("port_forward_cluster_ip", "create_mode", "shutdown_on_close", "idle_timeout"),
    *("resource_timeout", "scheduler_service_type", "custom_cluster_spec"),
    *("scheduler_forward_port", "jupyter", "quiet"),
}
SLURM = {"cores": 4, "processes": 2, "memory": "4GiB", "walltime": "01:00:00"}


def slurm(**more: Any) -> Cluster:
    return Cluster("a", None, "dask_jobqueue.SLURMCluster", SLURM | more, scale=2)


def test_the_shipped_file_has_an_entry_for_each_kind_of_cluster() -> None:
    assert set(ENTRIES) == {"threads", "local", "existing", "ssh", *JOBQUEUE, "kubernetes"}


@pytest.mark.parametrize("name", ENTRIES)
def test_the_shipped_entries_are_right(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    entry = load_cluster(f"{SHIPPED}:{name}")
    if name == "kubernetes" and importlib.util.find_spec("dask_kubernetes") is None:
        assert entry.options.keys() <= KUBERNETES
        assert entry.security is False
        return
    script = job_script(entry)
    assert (script is not None) == (name in JOBQUEUE)
    if script is not None:
        assert not [line for line in ASKED[name] if line not in script]
        assert f"{sys.executable} -m distributed.cli.dask_worker tls://" in script
        lifetime = "220m --lifetime-stagger 5m" if name == "htcondor" else "13740s --lifetime-stag"
        assert script.count(f"--lifetime {lifetime}") == 1
        assert "--nworkers 8" in script
        assert "dummy" not in script
        assert capacity_of(entry).threads == 1
    assert list(tmp_path.iterdir()) == []


def test_what_is_commented_out_in_the_shipped_file_is_right_too() -> None:
    text = re.sub(r"^      # (?=\w+: )", " " * 6, SHIPPED.read_text(), flags=re.MULTILINE)
    assert "\n      account: project" in text
    for name, entry in yaml.safe_load(text)["clusters"].items():
        if "class" in entry and name != "kubernetes":
            cluster = Cluster(name, None, entry["class"], entry["options"], scale=1)
            if name == "ssh":
                cluster = Cluster(name, None, entry["class"], entry["options"])
            check_manager(cluster)


def test_the_verb_prints_what_would_be_submitted(cli: Cli) -> None:
    shown = cli("cluster", f"{SHIPPED}:slurm")
    assert shown.code == 0
    assert shown.err == ""
    assert shown.out.startswith("#!/usr/bin/env bash\n\n#SBATCH -J dask-worker\n")
    for name, what in (
        ("threads", "threads: "),
        ("local", "dask.distributed.LocalCluster"),
        ("ssh", "dask.distributed.SSHCluster"),
        ("existing", "tcp://127.0.0.1:8786"),
    ):
        shown = cli("cluster", f"{SHIPPED}:{name}")
        assert shown.code == 0
        assert shown.out.startswith(f"{name}: ")
        assert what in shown.out


WRONG = {
    "class: os.system": "os.system is not a Dask cluster manager",
    "class: subprocess.Popen": "subprocess.Popen is not a Dask cluster manager",
    "class: dask.array.Array": "dask.array.Array is not a Dask cluster manager",
    "class: distributed.Client": "distributed.Client is not a Dask cluster manager",
    "class: dask.no_such": "dask.no_such is not a Dask cluster manager",
    "class: dask.no.X": "dask.no.X cannot be imported",
    "class: x": "x is not a Dask cluster manager",
    "class: dask_yarn.YarnCluster": "dask_yarn.YarnCluster is not a Dask cluster manager",
    "class: dask.distributed.LocalCluster, options: {worker_class: os.system}": "'worker_class' is",
    "class: dask.distributed.LocalCluster, options: {n_wokers: 1}": "did you mean 'n_workers'?",
    "class: dask.distributed.SSHCluster, options: {host: [a, b]}": "did you mean 'hosts'?",
    "class: dask.distributed.SSHCluster, options: {hosts: [a]}, scale: 1": "SSH starts a worker",
    "class: dask_jobqueue.SLURMCluster, options: {wallltime: '1'}, scale: 1": "an 'walltime'?",
    "class: dask_jobqueue.SLURMCluster, options: {memry: 1GB}, scale: 1": "did you mean 'memory'?",
    "class: dask_jobqueue.SLURMCluster, options: {job_cpus: 1}, scale: 1": "mean 'job_cpu'?",
    "class: dask_jobqueue.SLURMCluster, options: {cores: 1, memory: 1GB}": "set scale, such as",
    "class: dask_jobqueue.SLURMCluster, options: {n_workers: 2}": "set scale beside options",
    "class: dask_jobqueue.SLURMCluster, scale: {job: 2}": "did you mean 'jobs'?",
    "class: dask_jobqueue.SLURMCluster, adapt: {minimun: 2}": "did you mean 'minimum'?",
    "class: dask_jobqueue.SLURMCluster, options: {walltime: soon}, scale: 1": "walltime is 'soon'",
    "class: dask_jobqueue.SLURMCluster, scale: 1": "You must specify how much cores and memory",
    "class: dask_jobqueue.SLURMCluster, options: {cores: 1, memory: 1GB, processes: 0}, scale: 1": (
        "no job can be made of these options"
    ),
    "class: dask.distributed.LocalCluster, options: {n_workers: 0}": "n_workers is 0, so that it",
    "class: dask.distributed.LocalCluster, options: {n_workers: two}": "n_workers is 'two'; it",
    "class: dask.distributed.LocalCluster, options: {threads_per_worker: 0}": "at least 1",
    "class: dask.distributed.LocalCluster, adapt: {maximum: few}": "maximum is 'few'; it must be",
    "class: dask_jobqueue.SLURMCluster, options: {cores: x, memory: 1GB}, scale: 1": "no job can",
}


@pytest.mark.parametrize("entry", WRONG)
def test_an_entry_that_is_wrong_is_refused_in_a_sentence(cli: Cli, entry: str) -> None:
    Path("some.yaml").write_text(f"{{default: one, clusters: {{one: {{{entry}}}}}}}")
    shown = cli("cluster", "some.yaml")
    assert shown.code == 2
    assert shown.out == ""
    assert shown.err.startswith("error: cluster 'one': ")
    assert WRONG[entry] in shown.err
    assert shown.err.count("\n") == 1


@pytest.mark.parametrize(
    ("manager", "package", "extra"),
    [
        ("dask_jobqueue.SLURMCluster", "dask_jobqueue", "jobqueue"),
        ("dask_kubernetes.operator.KubeCluster", "dask_kubernetes", "kubernetes"),
        ("dask.distributed.SSHCluster", "asyncssh", "ssh"),
    ],
)
def test_a_manager_that_is_not_installed_is_named_with_its_extra(
    manager: str, package: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec

    def without(name: str) -> Any:
        return None if name == package else found(name)

    monkeypatch.setattr("pipeline.cluster.managers.find_spec", without)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ValueError, match=rf"install dask-audio-pipeline\[{extra}\]"):
        find_manager(Cluster("a", manager=manager))


def test_arguments_of_workers_that_are_given_are_kept() -> None:
    given = ["--lifetime", "5m", "--dashboard-address=0.0.0.0:9000", "--resources", "GPU=1"]
    script = job_script(slurm(worker_extra_args=given))
    assert script is not None
    assert script.count("--lifetime 5m") == script.count("--lifetime") == 1
    assert "--dashboard-address=0.0.0.0:9000" in script
    assert script.count("--dashboard-address") == 1
    assert "--resources GPU=1" in script


@pytest.mark.parametrize(
    ("walltime", "system", "seconds"),
    [
        ("01:30:00", "slurm", 5400),
        ("90", "slurm", 5400),
        (90, "slurm", 5400),
        ("90:30", "slurm", 5430),
        ("1-12", "slurm", 36 * 3600),
        ("1-12:30", "slurm", 36 * 3600 + 1800),
        ("2-00:00:10", "slurm", 48 * 3600 + 10),
        ("UNLIMITED", "slurm", None),
        ("48:00:00", "pbs", 48 * 3600),
        ("5400", "pbs", 5400),
        ("90:00", "moab", 5400),
        ("5400", "sge", 5400),
        ("01:30", "lsf", 5400),
        ("90", "lsf", 5400),
        ("1:30", "oar", 5400),
        ("2", "oar", 7200),
    ],
)
def test_walltimes_are_read_as_each_system_writes_them(
    walltime: str | int, system: str, seconds: int | None
) -> None:
    assert walltime_seconds(walltime, system) == seconds


@pytest.mark.parametrize("walltime", ["", "soon", "1:2:3:4", "-5", "1.5"])
def test_what_is_no_walltime_is_refused(walltime: str) -> None:
    with pytest.raises(ValueError, match="it must be a time such as '01:30:00'"):
        walltime_seconds(walltime, "slurm")


@pytest.mark.parametrize("seconds", [60, 600, 1800, 4 * 3600, 7 * 24 * 3600])
def test_a_worker_leaves_before_its_job_is_ended(seconds: int) -> None:
    first, lifetime, second, stagger = lifetime_arguments(seconds)
    assert (first, second) == ("--lifetime", "--lifetime-stagger")
    latest = int(lifetime.rstrip("s")) + int(stagger.rstrip("s"))
    assert seconds * 0.75 <= latest < seconds
    assert seconds - latest >= min(60, seconds // 6)


def test_a_time_that_yaml_would_take_for_a_number_is_text(tmp_path: Path) -> None:
    file = tmp_path / "cluster.yaml"
    file.write_text("clusters: {a: {class: x, options: {walltime: 12:00:00, cores: 12}}}")
    assert load_cluster(f"{file}:a").options == {"walltime": "12:00:00", "cores": 12}


def test_a_cluster_that_does_not_start_ends_the_job_with_code_1(cli: Cli, write_wav: Write) -> None:
    write_wav("a.wav")
    options = "{hosts: [127.0.0.1, 127.0.0.1], connect_options: {port: 1}}"
    entry = f"{{class: dask.distributed.SSHCluster, options: {options}}}"
    Path("some.yaml").write_text(f"{{default: a, clusters: {{a: {entry}}}}}")
    shown = cli("extract", "a.wav", "--out", "x.zarr", "--cluster", "some.yaml")
    assert shown.code == 1
    assert "stopped: cluster 'a': dask.distributed.SSHCluster did not start (" in shown.err
    assert "run the same command again" in shown.err
    assert not Path("x.zarr").exists()


def test_a_script_that_lacks_the_guard_is_told_of_it(write_wav: Write, tmp_path: Path) -> None:
    write_wav("a.wav")
    entry = "{class: dask.distributed.LocalCluster, options: {n_workers: 1}}"
    (tmp_path / "some.yaml").write_text(f"{{default: a, clusters: {{a: {entry}}}}}")
    call = "pl.extract('a.wav', 'x.zarr', cluster='some.yaml')"
    (tmp_path / "script.py").write_text(f"import pipeline as pl\nprint({call})\n")
    command = [sys.executable, "script.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "did not start (" in done.stdout
    assert "in a script, begin below: if __name__ == '__main__':" in done.stdout


def test_threads_have_no_performance_report(cli: Cli, write_wav: Write) -> None:
    write_wav("a.wav")
    shown = cli("extract", "a.wav", "--out", "x.zarr", "--performance-report", "r.html")
    assert shown.code == 2
    assert "threads are none; pass --cluster" in shown.err
    assert not Path("x.zarr").exists()


def test_a_performance_report_is_written(cli: Cli, write_wav: Write) -> None:
    write_wav("a.wav")
    entry = "{class: dask.distributed.LocalCluster, options: {n_workers: 1}}"
    Path("some.yaml").write_text(f"{{default: a, clusters: {{a: {entry}}}}}")
    command = ("extract", "a.wav", "--out", "x.zarr", "--cluster", "some.yaml")
    shown = cli(*command, "--performance-report", "no/r.html")
    assert shown.code == 2
    assert "no/r.html cannot be written" in shown.err
    shown = cli(*command, "--performance-report", "r.html")
    assert shown.code == 0
    assert "dashboard: http://127.0.0.1:" in shown.err
    assert "<html" in Path("r.html").read_text()


def test_ctrl_c_stays_what_it_was() -> None:
    """Of the process that is tested, other tests may have changed it."""
    code = f"""if True:
        import signal
        from pipeline.cluster import load_cluster
        from pipeline.cluster.managers import check_manager
        check_manager(load_cluster({str(SHIPPED)!r} + ":slurm"))
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    """
    subprocess.run([sys.executable, "-c", code], check=True)
