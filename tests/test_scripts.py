"""The scripts that make environments."""

import shutil
import subprocess
import sys
from pathlib import Path

from conftest import ROOT

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
