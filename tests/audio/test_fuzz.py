"""Damaged at random: what is promised of reading holds, and the check of it can fail."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from conftest import ROOT

SCRIPT = ROOT / "scripts" / "measure" / "fuzz"


@pytest.fixture(scope="module")
def fuzz() -> ModuleType:
    loader = importlib.machinery.SourceFileLoader("fuzz", str(SCRIPT))
    spec = importlib.util.spec_from_loader("fuzz", loader)
    assert spec
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def test_damaged_files_are_read_as_promised(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), "--mutations", "88", "--seed", "7"]
    done = subprocess.run([*command, "--folder", str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "88 mutations, 0 not as they must be, seed 7" in done.stdout


def test_mutations_are_the_same_for_the_same_seed(fuzz: ModuleType) -> None:
    data, other = bytes(range(250)) * 4, bytes(999)
    for seed in range(50):
        one, again = (fuzz.mutate(data, other, np.random.default_rng(seed)) for _ in range(2))
        assert one == again
        assert one.data[: one.first] == data[: one.first]
        if one.last is not None:
            assert one.data[one.last :] == data[one.last :][: len(one.data[one.last :])]


def test_the_checks_find_what_is_wrong(fuzz: ModuleType) -> None:
    rows = np.ones((4, 8), np.float32)
    other, partly, infinite = rows.copy(), rows.copy(), rows.copy()
    other[2, 3] = np.nextafter(np.float32(1), np.float32(2))
    partly[1, :4], infinite[0] = np.nan, np.inf
    fuzz.check_same(rows, rows.copy(), "windows")
    fuzz.check_masks(rows)
    fuzz.check_features(rows, 4)
    with pytest.raises(AssertionError, match="1 rows differ, the first is 2"):
        fuzz.check_same(rows, other, "windows")
    with pytest.raises(AssertionError, match="NaN in part"):
        fuzz.check_masks(partly)
    with pytest.raises(AssertionError, match="infinite"):
        fuzz.check_masks(infinite)
    with pytest.raises(AssertionError, match="4 features of 5 windows"):
        fuzz.check_features(rows, 5)
    with pytest.raises(AssertionError, match="not finite"):
        fuzz.check_features(partly, 4)


def test_a_shifted_window_is_found(fuzz: ModuleType) -> None:
    samples = np.arange(32, dtype=np.float32)
    rows, bounds = samples.reshape(4, 8), np.array([(i, i + 8) for i in range(0, 32, 8)])
    plain = fuzz.Original(Path("x.wav"), 8, samples, 100, 2, False)
    cut = fuzz.Mutation("overwrite", bytes(164), 120, 130)  # of samples 10 to 14
    damaged = rows.copy()
    damaged[1] = np.nan
    fuzz.check_against_original(damaged, bounds, plain, cut)
    with pytest.raises(AssertionError, match="samples 0 to 8 were not touched"):
        fuzz.check_against_original(damaged + 1, bounds, plain, cut)
    damaged[3] = samples[23:31]
    with pytest.raises(AssertionError, match="samples 24 to 32 were not touched"):
        fuzz.check_against_original(damaged, bounds, plain, cut)
    coded = fuzz.Original(Path("x.flac"), 8, samples, None, 0, True)
    with pytest.raises(AssertionError, match="samples 24 to 32 are others, unmasked"):
        fuzz.check_against_original(damaged, bounds, coded, cut)
