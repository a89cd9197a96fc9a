"""Recordings that must be decoded on the way are shuffled by runs, and decoded once a mixture."""

from __future__ import annotations

import json
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from conftest import write_sound

import pipeline as pl
from pipeline.audio.sound_files import SequentialFile

FEATURE = pl.Spectrogram(n_fft=64, frame_length=20)
RATE = 8000
KINDS = {"x.mp3": "MPEG_LAYER_III", "x.ogg": "VORBIS", "x.opus": "OPUS"}
SECONDS = 24.3


def make(folder: Path, name: str, seconds: float = SECONDS) -> Path:
    """A compressed recording, and one of WAV."""
    folder.mkdir(exist_ok=True)
    write_sound(folder, name, KINDS[name], RATE, 1, seconds)
    write_sound(folder, "y.wav", "PCM_16", RATE, 1, seconds)
    return folder


def by_runs(folder: Path, **options: Any) -> pl.Batches:
    with pytest.warns(UserWarning, match="must be decoded on the way to a window, so windows"):
        return pl.stream(folder, FEATURE, batch_size=5, shuffle=True, **options)


def bits(batches: pl.Batches) -> list[bytes]:
    return [X.tobytes() for X, _ in batches]


@pytest.mark.parametrize("name", KINDS)
def test_runs_have_the_order_and_bits_of_a_store_with_the_same_mix(
    tmp_path: Path, name: str
) -> None:
    folder = make(tmp_path / "sources", name)
    stream = by_runs(folder, seed=3)
    assert stream.mix == 8
    assert pl.extract(folder, tmp_path / "x.zarr", FEATURE).ok
    stored = pl.Batches(tmp_path / "x.zarr", 5, shuffle=True, seed=3, mix=8)
    expected = bits(stored)
    assert bits(stream) == expected
    assert [stream.windows(i).tolist() for i in range(len(stream))] == [
        stored.windows(i).tolist() for i in range(len(stored))
    ]
    loop = iter(stream)
    for _ in range(3):
        next(loop)
    again = by_runs(folder, seed=3)
    again.load_state_dict(json.loads(json.dumps(stream.state_dict())))
    assert bits(again) == expected[3:]


def test_each_mixture_decodes_a_file_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make(tmp_path / "sources", "x.mp3", 90)
    decoded: Counter[str] = Counter()
    read_into = SequentialFile._read_into

    def counted(self: SequentialFile, samples: Any) -> int:
        got = read_into(self, samples)
        decoded[self.format] += got
        return got

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        stream = pl.stream(folder, batch_size=5, shuffle=True, mix=1, threads=2)
    order = stream._order_of(0)
    assert isinstance(order, pl.training.order.Order)
    monkeypatch.setattr("pipeline.audio.sound_files.SequentialFile._read_into", counted)
    bits(stream)
    mixtures = len([*order.mixtures()])
    assert mixtures > 4
    assert 90 * RATE <= decoded["MP3"] <= mixtures * 90 * RATE


@pytest.mark.parametrize(
    ("name", "seconds", "options"),
    [("x.mp3", 24, {"mix": 2}), ("x.ogg", 9.5, {}), ("x.mp3", 24, {"shuffle": False})],
)
def test_nothing_is_said_where_all_is_as_asked_for(
    tmp_path: Path, name: str, seconds: float, options: dict[str, Any]
) -> None:
    folder = make(tmp_path / "sources", name, seconds)
    stream = pl.stream(folder, FEATURE, **{"shuffle": True, **options})
    assert stream.mix == options.get("mix")


def test_drawn_windows_are_said_to_take_long(tmp_path: Path) -> None:
    folder = make(tmp_path / "sources", "x.mp3")
    weights = np.ones(50)
    with pytest.warns(UserWarning, match=r"x\.mp3 must .* weights draws .* takes long"):
        stream = pl.stream(folder, FEATURE, batch_size=None, weights=weights)
    assert stream.mix is None
    assert len(stream) == 50


def test_ogg_is_sought_in_on_the_way_to_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with soundfile.SoundFile(tmp_path / "x.ogg", "w", RATE, 1, "VORBIS") as file:
        for second in np.random.default_rng(0).standard_normal((600, RATE)) / 10:
            file.write(second)  # libsndfile crashes at much more
    decoded = 0
    read_into = SequentialFile._read_into

    def counted(self: SequentialFile, samples: Any) -> int:
        nonlocal decoded
        got = read_into(self, samples)
        decoded += got
        return got

    monkeypatch.setattr(SequentialFile, "_read_into", counted)
    stream = pl.stream(tmp_path / "x.ogg", FEATURE, batch_size=4)
    expected = [stream.read([t])[0] for t in (5, 200, 590)]
    decoded = 0
    X, _ = stream.read([590, 5, 200])
    assert decoded < 100 * RATE
    np.testing.assert_array_equal(X[[1, 2, 0]], np.concatenate(expected))
