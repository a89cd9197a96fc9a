"""Every line of code in the README runs, in the order in which it stands there."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import h5py
import numpy as np
import pytest
import soundfile
import xarray
from conftest import ROOT, SHIPPED

CODE = re.compile(r"^```(?!text$)(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)
BLOCKS = CODE.findall((ROOT / "README.md").read_text())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with what the README takes to be there."""
    (tmp_path / "recordings").mkdir()
    rng = np.random.default_rng(0)
    for name in ("a.wav", "b.flac"):
        soundfile.write(tmp_path / "recordings" / name, rng.standard_normal((60_000, 2)) / 9, 8000)
    (tmp_path / "events.csv").write_text("path,start,end,label\na.wav,0.5,2.5,owl\n")
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "a.Table.1.selections.txt").write_text(
        "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tSpecies\n"
        "1\tSpectrogram 1\t1\t0.5\t2.5\towl\n"
    )
    (tmp_path / "cluster.yaml").write_bytes(SHIPPED.read_bytes())
    return tmp_path


def test_every_line_of_code_runs(folder: Path) -> None:
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    assert Counter(kind for kind, _ in BLOCKS) == {"sh": 4, "python": 5, "yaml": 1}
    for kind, code in BLOCKS:
        if kind == "yaml":
            (folder / "run.yaml").write_text(code)
            continue
        if "import torch" in code and importlib.util.find_spec("torch") is None:
            continue
        if kind == "sh":
            # The tests are what scripts/test runs; here they would never end.
            code = re.sub(r"^scripts/test\b", "test -x scripts/test", code, flags=re.MULTILINE)
        command = (
            ["bash", "-euc", code] if kind == "sh" else [sys.executable, "-W", "error", "-c", code]
        )
        done = subprocess.run(
            command,
            cwd=ROOT if "scripts/" in code else folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=200,
        )
        assert done.returncode == 0, f"{code}\n{done.stdout}\n{done.stderr}"
    assert (folder / "window.png").stat().st_size > 10_000
    for name in ("report.html", "owls.html"):
        assert "</html>" in (folder / name).read_text()
    with h5py.File(folder / "owls.h5") as file:
        assert file["features"].shape == (14, 513, 1599)


def test_the_names_in_the_readme_are_those_in_a_store(folder: Path) -> None:
    import pipeline as pl

    sources, out = folder / "recordings", folder / "x.zarr"
    times = {"datetime": "%Y%m%d_%H", "timezone": "UTC"}
    (sources / "a.wav").rename(sources / "a_20250503_03.wav")
    (folder / "a_20250503_03.csv").write_text("start,end,label\n0.5,2.5,owl\n")
    assert pl.extract(sources, out, labels=folder / "a_*.csv", **times).ok
    table = re.search(r"\| `features` .*?\n\n", (ROOT / "README.md").read_text(), re.DOTALL)
    assert table
    first_cells = re.findall(r"^\| (.*?) \|", table.group(), re.MULTILINE)
    named = {name for cell in first_cells for name in re.findall(r"`(\w+)`", cell)}
    assert named == set(xarray.open_zarr(out).variables)


def test_what_a_job_comes_to_is_what_the_code_says() -> None:
    command = [sys.executable, ROOT / "scripts" / "measure" / "scale"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert len(printed.splitlines()) == 5
    assert printed in (ROOT / "README.md").read_text()
