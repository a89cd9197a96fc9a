"""The benchmarks run, in small, and say what they should."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

SCRIPTS = ROOT / "scripts" / "measure"


def run(script: str, *options: str) -> str:
    command = [sys.executable, "-W", "error", str(SCRIPTS / script), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_table_json_and_figures(tmp_path: Path) -> None:
    said = run(
        *("benchmark", "--folder", str(tmp_path), "--minutes", "0.5", "--rounds", "1"),
        *("--only", "Zarr", "--lengths", "0.1", "0.2"),
    )
    found = json.loads((tmp_path / "benchmark.json").read_text())
    (computing,) = found["computing"]
    assert computing.keys() == {
        "extract to Zarr",
        "extract to Zarr, lz4",
        "extract to Zarr, float16",
    }
    for one in computing.values():
        assert one["windows"] == 30
        assert one["peak"] > 50 * 2**20
        assert f"{one['seconds'] / 30 * 1e3:.3f} (" in said
    (curve,) = found["lengths"].values()
    assert [hours * 60 for hours, *_ in curve] == pytest.approx([0.1, 0.2])
    for name in ("time", "memory"):
        assert (tmp_path / f"{name}.png").stat().st_size > 10_000
    left = {path.name for path in tmp_path.iterdir()}
    assert not {name for name in left if name.startswith("out")}


def test_a_long_job_is_compared_with_its_own_beginning(tmp_path: Path) -> None:
    said = run("length", "--folder", str(tmp_path), "--hours", "0.5")
    assert len(re.findall(r"^\d+/10 +\d+ windows/s +\d+ MB$", said, re.MULTILINE)) >= 8
    assert "1800 windows in" in said
    assert re.search(r"against the first three: speed \d+\.\d{3}, memory \d\.\d{3}$", said.strip())
    assert not list(tmp_path.iterdir())


def test_the_start_of_commands_is_compared_with_imports() -> None:
    said = run("start-up", "--runs", "1").splitlines()
    assert len(said) == 9
    for line in said[3:8]:
        assert re.search(r"( +\d+\.\d{2,3}){4}  at most [23] times .*: (met|missed)$", line), line
    assert said[8] == "import pipeline loads of what it may not: nothing"
