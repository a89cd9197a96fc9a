"""Shards are cut by the bytes of the features, and jobs that were cut otherwise go on."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from conftest import SUFFIXES, features_of, stored

import pipeline as pl
from pipeline.cluster.entry import Cluster
from pipeline.inputs import Inputs
from pipeline.job.extraction import run
from pipeline.job.plan import Plan
from pipeline.layout import choose_layout
from pipeline.settings import Settings
from pipeline.share import Share


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A recording of 400 s, and a short one at 500 kHz and of two channels."""
    folder = tmp_path / "audio"
    folder.mkdir()
    rng = np.random.default_rng(0)
    soundfile.write(folder / "a.wav", 0.1 * rng.standard_normal(400 * 8000), 8000, "PCM_16")
    soundfile.write(folder / "b.wav", 0.1 * rng.standard_normal((500_000, 2)), 500_000, "PCM_16")
    return folder


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_one_wide_recording_changes_no_shard(folder: Path, tmp_path: Path, suffix: str) -> None:
    settings = Settings(samplerate=8000)
    both, alone = (
        Plan.make(source, tmp_path / f"x{suffix}", pl.Spectrogram(), settings=settings)
        for source in (folder, folder / "a.wav")
    )
    assert both.layout == dataclasses.replace(alone.layout, n_windows=401)
    assert both.layout.shard == 32


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_job_with_other_shards_goes_on_with_them(
    folder: Path, tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, fresh = tmp_path / f"x{suffix}", tmp_path / f"fresh{suffix}"
    feature = pl.MelSpectrogram(n_mels=8, n_fft=128)
    settings = Settings(samplerate=8000)

    def older(self: Inputs, settings: Settings, *, region_is_file: bool) -> Any:
        """As the widest recording had it."""
        layout = choose_layout(401, self.feature.shape, settings.dtype, 4 * 8000)
        return dataclasses.replace(layout, chunk=4, shard=4, region=16)

    def planned(out: Path) -> Plan:
        return Plan.make(folder, out, feature, settings=settings)

    with monkeypatch.context() as patch:
        patch.setattr(Inputs, "layout", older)
        begun = planned(out)
        run(begun, Cluster(threads=2), share=Share(1, 3))
    plan = planned(out)
    assert (plan.layout.shard, plan.fingerprint) == (4, begun.fingerprint)
    report = run(plan, Cluster(threads=2))
    assert report.ok
    assert run(planned(fresh), Cluster(threads=2)).ok
    assert planned(fresh).layout.shard != 4
    np.testing.assert_array_equal(features_of(out), features_of(fresh))
    assert stored(out) != stored(fresh)
    # Of another job nothing is taken over.
    other = Plan.make(folder, out, feature, settings=Settings(samplerate=8000, dtype="float16"))
    assert other.layout.shard != 4


def test_a_stream_mixes_by_the_shards_of_the_store(folder: Path, tmp_path: Path) -> None:
    out, feature = tmp_path / "x.zarr", pl.Spectrogram(n_fft=64)
    assert pl.extract(folder, out, feature, samplerate=8000).ok
    options: Any = {"shuffle": True, "mix": 2, "seed": 1}
    with_store = np.concatenate([X for X, _ in pl.Batches(out, **options)])
    streamed = np.concatenate(
        [X for X, _ in pl.stream(folder, feature, samplerate=8000, **options)]
    )
    np.testing.assert_array_equal(streamed, with_store)


@pytest.mark.parametrize(("n_windows", "shard"), [(2000, 8), (10**5, 64), (10**7, 1024)])
def test_a_small_job_of_long_windows_can_be_shared_out(n_windows: int, shard: int) -> None:
    """Of 60 s at 8 kHz, with few features: 33 h of audio would be two shards."""
    layout = choose_layout(n_windows, (60,), "float32", 60 * 32_000)
    assert layout.shard == shard
    assert layout.n_regions >= 60
