"""No flipped bit, wherever it is, is ever read as something else: it is found, and said."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from conftest import SUFFIXES, record_folder

import pipeline as pl
from pipeline.job.status import stand, summarize
from pipeline.job.verification import verify

# Of all files together; a campaign asks for more.
FLIPS = int(os.environ.get("FLIPS", "120"))


def files_of(out: Path) -> list[Path]:
    roots = [out, Path(f"{out}.parts")]
    files = [path for root in roots for path in ([root] if root.is_file() else root.rglob("*"))]
    return sorted(path for path in files if path.is_file() and path.stat().st_size)


def all_batches(out: Path) -> dict[str, Any]:
    batches = pl.Batches(out, 16)
    read = [*batches]
    return {
        "X": np.concatenate([X for X, _ in read]),
        "y": np.concatenate([y for _, y in read]),
        "valid": batches.valid,
        "classes": batches.classes,
    }


USES: tuple[Callable[[Path], dict[str, Any]], ...] = (all_batches, summarize)


def same(found: dict[str, Any], whole: dict[str, Any]) -> bool:
    return found.keys() == whole.keys() and all(
        np.array_equal(found[name], whole[name]) for name in whole
    )


def flipped(files: list[Path], flips: int) -> Iterator[tuple[Path, int]]:
    """Flips a bit of one file after the other, and back again."""
    rng = np.random.default_rng(0)
    for i in range(flips):
        path = files[i % len(files)]
        data = bytearray(path.read_bytes())
        bit = int(rng.integers(8 * len(data)))
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)
        yield path, bit
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_no_flipped_bit_is_read_as_something_else(tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"x{suffix}"
    for name in "ab":
        noise = 0.1 * np.random.default_rng(ord(name)).standard_normal(40_000)
        soundfile.write(tmp_path / f"{name}.wav", noise, 1000)
    (tmp_path / "c.wav").write_bytes((tmp_path / "a.wav").read_bytes()[:30_001])  # masked in part
    labels = np.resize(["wren", "robin", "owl"], 120)
    feature = pl.Spectrogram(n_fft=32, frame_length=20)
    sources = sorted(tmp_path.glob("*.wav"))
    assert not pl.extract(sources, out, feature, labels.tolist()).ok
    whole = [use(out) for use in USES]
    told = stand(out)
    assert (len(told["masked"]), verify(out)) == (1, [])
    files = files_of(out)
    assert record_folder(out) / "finished" in files
    for path, bit in flipped(files, FLIPS):
        where = f"bit {bit} of {path}"
        assert verify(out), where
        for use, expected in zip(USES, whole, strict=True):
            with suppress(OSError, ValueError):  # said in a sentence
                assert same(use(out), expected), where
        with suppress(OSError, ValueError):
            now = stand(out)
            # A line that is lost is told of, for what it said is not.
            assert now == told or now["damaged_lines"], where
    assert verify(out) == []
    for use, expected in zip(USES, whole, strict=True):
        assert same(use(out), expected)
