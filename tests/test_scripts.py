"""The scripts that make environments."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from conftest import ROOT

EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
MAKE = ("environment", "constraints.txt", "lowest")
# It says what version it is as the real one does, and only notes what it is told to install.
PYTHON = f"""#!/bin/sh
case $1 in
--version) exec {sys.executable} --version ;;
-m) echo "$@" >>"$(dirname "$0")/../installed" ;;
esac
"""


def test_what_the_tests_run_in_is_not_installed_again_while_they_run(tmp_path: Path) -> None:
    (tmp_path / "scripts").mkdir()
    for name in ("pyproject.toml", *(f"scripts/{n}" for n in MAKE)):
        shutil.copy(ROOT / name, tmp_path / name)
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(PYTHON)
    python.chmod(0o755)
    env = {"PATH": "/usr/bin:/bin", "PYTHON": sys.executable}

    def installed(*extras: str) -> list[str]:
        for extra in extras:
            subprocess.run([tmp_path / "scripts" / "environment", extra], env=env, check=True)
        log = tmp_path / ".venv" / "installed"
        return [line.split()[-1] for line in log.read_text().splitlines()]

    assert installed("plot", "plot", "remote") == [".[plot]", ".[remote]"]
    assert installed("all", "plot", "ssh", "test", "torch", "all")[2:] == [".[all]"]
    (tmp_path / "pyproject.toml").write_text("[project]")
    assert installed("plot")[3:] == [".[plot]"]


def named(extra: str) -> set[str]:
    """The packages that an extra names, itself or by other extras."""
    found = set()
    for requirement in EXTRAS[extra]:
        name, others = re.fullmatch(r"([\w-]+)(?:\[(.*)\])?(?:>=.*)?", requirement).groups()
        found |= set().union(*map(named, others.split(","))) if others else {name}
    return found


def test_all_has_what_every_extra_names() -> None:
    every = set().union(*map(named, EXTRAS))
    # One does without a cluster of its kind, in place of the other comes a build without CUDA.
    assert every - named("all") == {"dask-kubernetes", "tensorflow"}
    assert "tensorflow-cpu" in named("all")


def test_the_lowest_versions_are_tested_without_frameworks() -> None:
    assert not named("test") & named("frameworks")
    command = [sys.executable, ROOT / "scripts" / "lowest"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert {"numpy==2.1", "torch==2.5"} < {*lines}
