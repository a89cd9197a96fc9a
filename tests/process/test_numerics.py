"""Which arithmetic computes is known, recorded, and not mixed unless that is allowed."""

from __future__ import annotations

import json
import os
import platform
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import xarray
from conftest import NUMERICS_VARIABLES, SHIPPED, SUFFIXES, Cli, Write, record_lines, stored

import pipeline as pl
from pipeline.process.numerics import numerics_class

# Kinds of processor that OpenBLAS knows, and what NumPy must be forbidden, from the oldest on.
WITHOUT = {"v2": "X86_V3 X86_V4 AVX512_ICL AVX512_SPR", "v3": "X86_V4 AVX512_ICL AVX512_SPR"}
KINDS = ("Haswell", "Sandybridge")
COMPUTE = """
import sys, numpy as np, pipeline as pl
from pipeline.process.numerics import numerics_class
rng = np.random.default_rng(0)
windows = (rng.standard_normal((20, 8000)) * 0.1).astype(np.float32)
np.save(sys.argv[1], pl.Spectrogram()(windows))
print(numerics_class())
"""

pytestmark = pytest.mark.skipif(
    platform.machine() != "x86_64" or "openblas" not in numerics_class(),
    reason="other arithmetic is chosen as OpenBLAS and NumPy choose it on x86-64",
)


def environment(kind: str | None = None, level: str | None = None) -> dict[str, str]:
    """Of a process that takes this machine for another kind; as it is, if none is given."""
    found = {k: v for k, v in os.environ.items() if k not in NUMERICS_VARIABLES}
    if kind is not None:
        found["OPENBLAS_CORETYPE"] = kind
    if level is not None:
        found["NPY_DISABLE_CPU_FEATURES"] = WITHOUT[level]
    return found


def another() -> dict[str, str]:
    """Of a process of another class than this one."""
    return environment(next(kind for kind in KINDS if kind not in numerics_class()))


def features(path: Path, env: dict[str, str]) -> tuple[str, npt.NDArray[np.float32]]:
    """The class of a process, and what it computes."""
    command = [sys.executable, "-c", COMPUTE, str(path)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    return done.stdout.strip(), np.load(path)


def test_one_class_gives_the_same_bits_and_any_others_nearly_the_same(tmp_path: Path) -> None:
    environments = [
        environment(),
        environment(),
        environment("Prescott", "v2"),
        environment("Haswell", "v2"),
        environment("Haswell", "v3"),
        environment("Haswell", "v3"),
    ]
    found: dict[str, list[npt.NDArray[np.float32]]] = {}
    for i, env in enumerate(environments):
        name, values = features(tmp_path / f"{i}.npy", env)
        found.setdefault(name, []).append(values)
    assert len(found) >= 3
    for some in found.values():
        assert all(np.array_equal(values, some[0]) for values in some)
    first = next(iter(found.values()))[0]
    for some in found.values():
        np.testing.assert_allclose(some[0], first, rtol=0, atol=1e-5)


def audio_pipeline(*arguments: object, env: dict[str, str], cwd: Path) -> Any:
    command = [sys.executable, "-m", "pipeline", *map(str, arguments)]
    return subprocess.run(command, env=env, cwd=cwd, capture_output=True, text=True)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_share_of_another_class_is_refused_unless_it_is_allowed(
    write_wav: Write, cli: Cli, tmp_path: Path, suffix: str
) -> None:
    out = tmp_path / f"x{suffix}"
    extract = ["extract", write_wav(seconds=300), "--out", out]
    assert cli(*extract, "--share", "0/2").code == 0
    refused = audio_pipeline(*extract, "--share", "1/2", env=another(), cwd=tmp_path)
    assert (refused.returncode, refused.stdout) == (2, "")
    (said,) = refused.stderr.splitlines()
    assert numerics_class() in said
    assert "OPENBLAS_CORETYPE" in said
    assert "--numerics any" in said
    assert cli("status", out, "--json").out.count('"share"') == 0

    allowed = [*extract, "--share", "1/2", "--numerics", "any"]
    done = audio_pipeline(*allowed, env=another(), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    classes = {line["numerics"] for line in record_lines(out) if line["kind"] == "done"}
    assert len(classes) == 2
    for verb in ("status", "info"):
        counts = json.loads(cli(verb, out, "--json").out)["numerics"]
        assert counts.keys() == classes
        assert sum(counts.values()) == 300
    store = xarray.open_zarr(out) if suffix == ".zarr" else xarray.open_dataset(out)
    assert store.attrs["numerics"] == "any"
    store.close()
    assert cli("verify", out).code == 0
    assert cli(*extract).code == 0  # nothing is computed, and so nothing is mixed
    whole = tmp_path / f"whole{suffix}"
    assert cli(*extract[:-1], whole).code == 0
    mixed, uniform = (pl.Batches(path, 300)[0][0] for path in (out, whole))
    np.testing.assert_allclose(mixed, uniform, rtol=0, atol=1e-5)


def test_a_store_says_which_class_computed_it(write_wav: Write, cli: Cli, tmp_path: Path) -> None:
    out = tmp_path / "x.zarr"
    assert cli("extract", write_wav(), "--out", out).code == 0
    assert xarray.open_zarr(out).attrs["numerics"] == numerics_class()
    assert json.loads(cli("info", out, "--json").out)["numerics"] == {numerics_class(): 3}


def test_a_job_goes_on_by_its_own_class_alone(write_wav: Write, cli: Cli, tmp_path: Path) -> None:
    out, extract = tmp_path / "x.zarr", ["extract", write_wav(seconds=300), "--out"]
    assert cli(*extract, out).code == 0
    whole = stored(out)
    (damaged,) = (out / "features").glob("c.0.*")
    damaged.unlink()
    refused = audio_pipeline(*extract, out, env=another(), cwd=tmp_path)
    assert (refused.returncode, "numerics any" in refused.stderr) == (2, True)
    assert cli(*extract, out).code == 0
    assert stored(out) == whole


def test_workers_of_another_class_are_refused_before_anything_is_computed(
    write_wav: Write, tmp_path: Path
) -> None:
    (tmp_path / "cluster.yaml").write_text(
        "clusters: {two: {class: dask.distributed.LocalCluster, options: {n_workers: 1}}}"
    )
    extract = ["extract", write_wav(), "--cluster", "cluster.yaml:two"]
    kind = another()["OPENBLAS_CORETYPE"]
    (tmp_path / "dask.yaml").write_text(
        f"distributed: {{nanny: {{pre-spawn-environ: {{OPENBLAS_CORETYPE: {kind}}}}}}}"
    )
    env = environment() | {"DASK_CONFIG": str(tmp_path / "dask.yaml")}
    refused = audio_pipeline(*extract, "--out", "x.zarr", env=env, cwd=tmp_path)
    assert refused.returncode == 2
    said = refused.stderr.splitlines()[-1]
    assert said.startswith("error: the worker at ")
    assert kind in said
    assert not (tmp_path / "x.zarr").exists()
    allowed = [*extract, "--numerics", "any", "--out", "x.zarr"]
    assert audio_pipeline(*allowed, env=env, cwd=tmp_path).returncode == 0
    (done,) = (line for line in record_lines(tmp_path / "x.zarr") if line["kind"] == "done")
    assert kind in done["numerics"]


def test_workers_are_made_alike_as_cluster_yaml_says(write_wav: Write, tmp_path: Path) -> None:
    """What its comments name, in the environment of all, makes one class of them."""
    text = SHIPPED.read_text()
    (line,) = (
        line for line in text.splitlines() if line.startswith("#   export OPENBLAS_CORETYPE")
    )
    wanted = dict(word.split("=", 1) for word in shlex.split(line.partition("export ")[2]))
    assert wanted.keys() == set(NUMERICS_VARIABLES)
    name, _ = features(tmp_path / "x.npy", environment() | wanted)
    assert "Haswell" in name
    assert "X86_V3" in name


def test_of_shares_that_begin_at_once_one_makes_the_store_and_the_other_is_refused(
    write_wav: Write, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, wav = tmp_path / "x.zarr", write_wav(seconds=300)
    extract = ["extract", wav, "--out", out]

    def meanwhile(*_: object) -> None:
        done = audio_pipeline(*extract, "--share", "0/2", env=another(), cwd=tmp_path)
        assert done.returncode == 0

    monkeypatch.setattr("pipeline.job.execution.check_workers", meanwhile)
    refused = cli(*extract, "--share", "1/2")
    assert (refused.code, "--numerics any" in refused.err) == (2, True)
    assert {line["numerics"] for line in record_lines(out) if line["kind"] == "done"} != {
        numerics_class()
    }
