"""The example of training: it learns, and learns the same straight from the recordings."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from runpy import run_path

import numpy as np
import pytest
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("torch")
SCRIPT = ROOT / "scripts" / "train.py"
AVERAGE_PRECISION = run_path(str(SCRIPT))["average_precision"]
# The script, with batches of another order the second time.
OTHER_ORDER = """
import runpy, sys, pipeline as pl
stream = pl.stream
pl.stream = lambda *sources, **options: stream(*sources, **options, seed=1)
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def trained(
    folder: Path, *words: object, code: str | None = None
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *(["-c", code] if code else []), SCRIPT, "--folder", folder, *words]
    return subprocess.run([*map(str, command)], capture_output=True, text=True)


def losses(printed: str) -> list[float]:
    return [float(loss) for loss in re.findall(r"^epoch .* loss ([\d.]+)$", printed, re.MULTILINE)]


def score(printed: str) -> tuple[float, float]:
    found = re.search(
        r"^test +accuracy ([\d.]+), average precision ([\d.]+)$", printed, re.MULTILINE
    )
    assert found, printed
    return float(found[1]), float(found[2])


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_calls_are_learnt_the_same_from_a_store_and_from_the_recordings(
    tmp_path: Path, dtype: str
) -> None:
    done = trained(tmp_path, "--minutes", 5, "--epochs", 2, "--dtype", dtype)
    assert done.returncode == 0, done.stderr
    assert min(score(done.stdout)) > 0.95
    first, second, *again = losses(done.stdout)
    assert second < first / 2
    assert again == [first, second]
    assert "batches are the same" in done.stdout


def test_losses_that_differ_are_told(tmp_path: Path) -> None:
    words = ("--minutes", 4, "--epochs", 1)
    done = trained(tmp_path, *words, code=OTHER_ORDER)
    assert (done.returncode, done.stderr) == (1, "")
    assert "batches are NOT the same" in done.stdout


def test_a_source_that_is_not_there_is_told_in_a_sentence(tmp_path: Path) -> None:
    done = trained(tmp_path, "nowhere.wav")
    assert done.returncode == 2
    assert re.fullmatch(r"error: .*nowhere\.wav.*\n", done.stderr)


def test_flies_are_heard_to_sing(audio: Path, tmp_path: Path) -> None:
    folder = audio / "fly-song-2500Hz"
    labels = ("--labels", folder / "*.selections.txt", "--classes", "mel-sine")
    done = trained(tmp_path, folder, *labels, "--window", 0.25)
    assert done.returncode == 0, done.stderr
    assert score(done.stdout)[1] > 0.2  # 0.04 of the windows have it
    assert "batches are the same" in done.stdout


@given(st.permutations(range(12)), st.lists(st.booleans(), min_size=12, max_size=12).filter(any))
def test_average_precision_is_that_of_scikit_learn(order: list[int], call: list[bool]) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    found = AVERAGE_PRECISION(np.array(call, float), np.array(order, np.float32))
    assert found == pytest.approx(metrics.average_precision_score(call, order))
