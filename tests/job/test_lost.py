"""A recording that is lost for good costs its own windows, and no others."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from conftest import SUFFIXES, Cli, Write, record_folder, save_hdf5

import pipeline as pl

RATE = 1000


def forget_regions_from(out: Path, first: int) -> None:
    """Leave a store as of a job that was killed before it stored these regions."""
    (record_folder(out) / "finished").unlink()
    for log in (record_folder(out) / "log").glob("*.jsonl"):
        lines = log.read_text().splitlines(keepends=True)
        kept = [line for line in lines if json.loads(line).get("region", 0) < first]
        log.write_text("".join(kept))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_job_goes_on_without_a_recording_that_is_lost(
    write_wav: Write, cli: Cli, tmp_path: Path, suffix: str
) -> None:
    out, folder = tmp_path / f"x{suffix}", tmp_path / "in"
    for name in "abc":
        write_wav(f"in/{name}.wav", 9000, RATE, seed=ord(name))
    extract = ["extract", folder, "--out", out, "--frame-length", "20", "--n-fft", "64"]
    assert cli(*extract).code == 0
    whole = np.concatenate([X for X, _ in pl.Batches(out, 1000)])
    regions = json.loads(cli("status", out, "--json").out)["regions"]
    assert regions > 3
    region = json.loads(cli("info", out, "--json").out)["shape"][0] // regions
    forget_regions_from(out, 1)
    (folder / "b.wav").unlink()

    refused = cli(*extract)
    assert refused.code == 2
    assert f"{folder / 'b.wav'} is no longer there (--on-lost mask" in refused.err
    done = cli(*extract, "--on-lost", "mask")
    assert done.code == 1
    assert f"{folder / 'b.wav'}: it is no longer there" in done.err
    batches = pl.Batches(out, 1000)
    found = np.concatenate([X for X, _ in batches])
    lost = np.arange(27000) // 9000 == 1
    assert np.array_equal(found[batches.valid], whole[batches.valid])
    assert np.array_equal(~batches.valid, lost & (np.arange(27000) >= region))
    assert cli("verify", out).code == 0
    again = cli(*extract, "--on-lost", "mask")
    assert "0 computed now" in again.err


def test_labels_that_are_lost_with_a_recording_are_those_of_the_store(
    cli: Cli, tmp_path: Path
) -> None:
    out, folder = tmp_path / "x.zarr", tmp_path / "in"
    folder.mkdir()
    for name in ("a", "b"):
        path = save_hdf5(folder / name, np.ones(3 * RATE, np.float32), RATE)
        with h5py.File(path, "a") as file:
            file["label"] = np.array([1, 0, ord(name)])
    extract = ["extract", tmp_path / "in", "--out", out, "--frame-length", "20"]
    assert cli(*extract).code == 0
    (tmp_path / "in" / "b.h5").unlink()
    (out / "features" / "c.0.0.0").unlink()
    assert cli(*extract, "--on-lost", "mask").code == 1
    batches = pl.Batches(out, 6)
    assert batches[0][1].tolist() == [1, 0, ord("a"), 1, 0, ord("b")]  # type: ignore[union-attr]
    assert batches.valid.tolist() == [True] * 3 + [False] * 3


def test_new_recordings_are_refused_all_the_same(
    write_wav: Write, cli: Cli, tmp_path: Path
) -> None:
    for name in "ab":
        write_wav(f"in/{name}.wav")
    extract = ["extract", tmp_path / "in", "--out", tmp_path / "x.zarr"]
    assert cli(*extract).code == 0
    (tmp_path / "in" / "b.wav").unlink()
    write_wav("in/c.wav")
    refused = cli(*extract, "--on-lost", "mask")
    assert refused.code == 2
    assert f"{tmp_path / 'in' / 'c.wav'} is new among the sources" in refused.err
