"""Scanning and reading where Linux's own functions are missing, as on macOS and Windows."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import soundfile
from other_systems import BARE

READ = """
    from pathlib import Path
    from pipeline.labels.files import load_labels, read_label
    from pipeline.process import boot, memory_limit, numerics_class
    recordings = pl.scan(".", samplerate=8000)
    windows = pl.open_windows(recordings, pl.WindowGrid(recordings)).compute(scheduler="threads")
    assert np.isfinite(windows).all(), windows
    for name in ("x.npy", "x.h5"):
        assert list(read_label(Path(name))) == [3, 1, 2]
    assert load_labels(Path("labels.csv")) == ["owl", "fox"]
    assert boot() == "" and memory_limit().words == "the machine has" and numerics_class()
    print(*recordings.paths, windows.shape, windows[::3].std(axis=1).round(1))
"""


def test_all_formats_and_labels_are_read(tmp_path: Path) -> None:
    samples = np.random.default_rng(0).normal(size=20_000).astype(np.float32) / 10
    for ending in ("flac", "mp3", "ogg", "wav"):
        soundfile.write(tmp_path / f"x.{ending}", samples, 8000)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["audio"], file["label"] = samples, [3, 1, 2]
        file["audio"].attrs["sampling_rate"] = 8000
    np.save(tmp_path / "x.npy", samples)
    np.save(tmp_path / "x-lbl.npy", [3, 1, 2])
    (tmp_path / "labels.csv").write_text("label\nowl\nfox\n")
    command = [sys.executable, "-c", BARE + READ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    names = "x.flac x.h5 x.mp3 x.npy x.ogg x.wav"
    spread = "[0.1 0.1 0.1 0.1 0.1 0.1]"
    assert (done.stdout, done.stderr) == (f"{names} (18, 8000) {spread}\n", "")
