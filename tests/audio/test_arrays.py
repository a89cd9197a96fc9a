"""Arrays: what is not there, in the file or beside it, is never read as numbers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import soundfile

import pipeline.audio.readers
from pipeline import WindowGrid, scan
from pipeline.audio.readers import open_reader, probe
from pipeline.labels.files import load_labels
from pipeline.recordings import read_windows, why_unreadable

ONES = np.ones(4000, np.float32)


def make_parts(folder: Path, rows: int = 12_000) -> Path:
    """Audio that is virtually made of three files."""
    layout = h5py.VirtualLayout((rows,), "f4")
    for i in range(3):
        with h5py.File(folder / f"part{i}.h5", "w") as file:
            file["x"] = ONES
        layout[4000 * i : 4000 * (i + 1)] = h5py.VirtualSource(f"part{i}.h5", "x", (4000,))
    with h5py.File(folder / "x.h5", "w") as file:
        file.create_virtual_dataset("audio", layout).attrs["sampling_rate"] = 1000
    return folder / "x.h5"


def shorten(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["x"] = ONES[:10]


def rename(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file.move("x", "y")


def link_inside(path: Path) -> None:
    """Make a part that is in another part, which is missing."""
    layout = h5py.VirtualLayout((4000,), "f4")
    layout[:] = h5py.VirtualSource("deep.h5", "x", (4000,))
    with h5py.File(path, "w") as file:
        file.create_virtual_dataset("x", layout)


@pytest.mark.parametrize("harm", [os.unlink, shorten, rename, link_inside])
def test_audio_of_which_a_part_is_missing_is_refused(harm: Any, tmp_path: Path) -> None:
    path = make_parts(tmp_path)
    recordings = scan(path)
    assert (read_windows(recordings, WindowGrid(recordings)) == 1).all()
    harm(tmp_path / "part1.h5")
    with pytest.raises(OSError, match=r"its samples are in .*(part1|deep)\.h5.* put"):
        probe(path)
    with pytest.raises(OSError, match=r"x\.h5: its samples are in"):
        read_windows(recordings, WindowGrid(recordings))


def test_audio_that_its_parts_do_not_cover_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="its parts hold 12000 of 13000 samples; add the others"):
        probe(make_parts(tmp_path, 13_000))


def test_a_virtual_dataset_may_be_of_the_same_file(tmp_path: Path) -> None:
    layout = h5py.VirtualLayout((4000,), "f4")
    layout[:] = h5py.VirtualSource(".", "x", (4000,))
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["x"] = ONES
        file.create_virtual_dataset("audio", layout).attrs["sampling_rate"] = 1000
    assert (open_reader(tmp_path / "x.h5").read(0, 4000) == 1).all()


@pytest.mark.parametrize("harm", [os.unlink, lambda path: os.truncate(path, 99)])
def test_audio_that_is_outside_of_its_file_must_be_there(harm: Any, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        outside = [(str(tmp_path / "x.bin"), 0, 16_000)]
        audio = file.create_dataset("audio", (4000,), "f4", external=outside)
        audio[:] = 1
        audio.attrs["sampling_rate"] = 1000
    assert (open_reader(tmp_path / "x.h5").read(0, 4000) == 1).all()
    harm(tmp_path / "x.bin")
    with pytest.raises(OSError, match=r"its samples are in .*x\.bin, which is"):
        probe(tmp_path / "x.h5")


def test_a_link_to_a_file_that_is_missing_is_no_audio(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["audio"] = h5py.ExternalLink("missing.h5", "x")
    with pytest.raises(OSError, match="can't open file"):
        probe(tmp_path / "x.h5")


@pytest.mark.parametrize("order", ["C", "F"])
def test_an_array_that_is_cut_while_it_is_read_ends_no_process(order: Any, tmp_path: Path) -> None:
    values = np.ones((100_000, 2), np.float32, order)
    np.save(tmp_path / "x.npy", values)
    recordings = scan(tmp_path / "x.npy", samplerate=1000)
    reader = open_reader(tmp_path / "x.npy")
    assert (reader.read(0, 10) == 1).all()
    os.truncate(tmp_path / "x.npy", 4096)
    assert np.isnan(reader.read(50_000, 100_000)).all()
    reader.close()
    with pytest.raises(OSError, match=r"x\.npy: it has changed since it was scanned"):
        read_windows(recordings, WindowGrid(recordings))


@pytest.mark.parametrize("announced", [1_600_000_000, 100_000_000])
def test_a_header_that_announces_hundreds_of_times_what_is_there_is_refused(
    announced: int, tmp_path: Path
) -> None:
    path = tmp_path / "x.wav"
    soundfile.write(path, np.zeros(16_000), 8000)
    data = path.read_bytes()
    for n, refused in ((announced, True), (800_000, False)):
        path.write_bytes(data[:40] + n.to_bytes(4, "little") + data[44:])
        if refused:
            with pytest.raises(OSError, match=f"announces {n} bytes, but it has 32044 bytes; cor"):
                probe(path)
        else:
            assert probe(path).n_samples == 400_000


def test_a_sample_that_is_no_float32_is_told_from_one_that_cannot_be_read(tmp_path: Path) -> None:
    values = np.zeros(4000)
    values[500], values[2500] = np.nan, 1e300
    np.save(tmp_path / "x.npy", values)
    soundfile.write(tmp_path / "x.wav", values, 1000, "DOUBLE")
    for name in ("x.npy", "x.wav"):
        recordings = scan(tmp_path / name, samplerate=1000)
        grid = WindowGrid(recordings)
        read = read_windows(recordings, grid)
        assert np.isnan(read).any(axis=1).tolist() == [True, False, True, False]
        said = f"{tmp_path / name}: sample 500 (0.500 s) is not a number"
        assert why_unreadable(recordings, grid, 0) == said
        said = f"{tmp_path / name}: sample 2500 (2.500 s) is beyond float32"
        assert why_unreadable(recordings, grid, 2) == said


@pytest.mark.parametrize("error", [TypeError, AttributeError, NameError, IndexError])
def test_a_fault_of_our_own_is_not_taken_for_damage(
    error: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    soundfile.write(tmp_path / "x.wav", np.zeros(16_000), 8000)

    def fail(*_: object) -> None:
        raise error("a fault")

    monkeypatch.setattr(pipeline.audio.readers, "open_sequential", fail)
    with pytest.raises(error, match="a fault"):
        scan(tmp_path / "x.wav")


def test_labels_that_are_no_dataset_are_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_group("label")
    with pytest.raises(OSError, match="its 'label' is no dataset"):
        load_labels(tmp_path / "x.h5")


def test_chunks_that_were_never_written_are_told_of_and_not_silence(tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        audio = file.create_dataset("audio", (8000, 2), np.int16, chunks=(1000, 1))
        audio.attrs["sampling_rate"] = 8000
        audio[:5500] = 1
    with pytest.raises(OSError, match="4 of the 16 chunks of its 'audio' were never written"):
        probe(path)
    with h5py.File(path, "a") as file:
        file["audio"][5500:] = 0
    assert probe(path).n_samples == 8000


def test_compressed_chunks_that_are_too_large_to_be_read_in_parts_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.audio.arrays.MOST_CHUNK_BYTES", 10**4)
    for name, options, refused in (("a", {"compression": "gzip"}, True), ("b", {}, False)):
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            audio = file.create_dataset(
                "audio", data=np.ones(8000, "f4"), chunks=(8000,), **options
            )
            audio.attrs["sampling_rate"] = 8000
        if refused:
            with pytest.raises(OSError, match=r"compressed in chunks of .* MB, each of which"):
                probe(tmp_path / f"{name}.h5")
        else:
            assert probe(tmp_path / f"{name}.h5").n_samples == 8000
