"""With --no-skips a test that is skipped has failed, for the reason that it gives."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SKIPPING = """
import pytest

def test_by_itself():
    pytest.skip("no server")

@pytest.mark.skipif(True, reason="no package")
def test_by_a_mark():
    pass

@pytest.fixture
def recordings():
    pytest.skip("no recordings")

def test_by_a_fixture(recordings):
    pass

@pytest.mark.xfail
def test_that_is_expected_to_fail():
    raise ValueError
"""
SKIPPED = "import pytest; pytest.skip('no file', allow_module_level=True)"


def run(folder: Path, *options: str) -> tuple[int, str]:
    """The exit code of pytest on two such files, and what it prints."""
    (folder / "test_skipping.py").write_text(SKIPPING)
    (folder / "test_skipped.py").write_text(SKIPPED)
    command = [sys.executable, "-m", "pytest", "-p", "no_skips", "--continue-on-collection-errors"]
    tests = {"PYTHONPATH": str(Path(__file__).parent), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(
        [*command, *options], cwd=folder, env=os.environ | tests, capture_output=True, text=True
    )
    return done.returncode, done.stdout


def test_what_is_skipped_fails_where_nothing_may_be(tmp_path: Path) -> None:
    code, said = run(tmp_path)
    assert (code, "4 skipped, 1 xfailed in" in said) == (0, True), said
    code, said = run(tmp_path, "--no-skips")
    assert (code, "1 failed, 1 xfailed, 3 errors in" in said) == (1, True), said
    for reason in ("no server", "no package", "no recordings", "no file"):
        assert f"Skipped: {reason}" in said
