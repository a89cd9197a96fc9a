"""Labels of real recordings, by hand: y of a dozen windows, from the tables as people read them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pipeline as pl
from pipeline.inputs import Inputs
from pipeline.labels import LabelSource
from pipeline.settings import Settings

FEATURE = pl.Spectrogram(n_fft=32, frame_length=20)


def found(sources: Path, labels: str, **settings: Any) -> LabelSource:
    """The labels of recordings in a folder, of label files named by a glob there."""
    checked = Settings.from_mapping(settings)
    made = Inputs.find(sources, FEATURE, str(sources / labels), checked).labels
    assert made is not None
    return made


def names(labels: LabelSource, start: int, stop: int) -> list[str]:
    """The classes of each window, and a mark where not all were looked for."""
    block = labels.block(start, stop)
    assert labels.classes is not None
    return [
        " ".join([*(labels.classes[k] for k in np.flatnonzero(y)), *(["?"] * (not known.all()))])
        for y, known in zip(block["label"], block["annotated"], strict=True)
    ]


@pytest.mark.parametrize("tables", ["*.selections.txt", "*-annotated-*.csv"])
def test_songs_of_flies(tables: str, audio: Path) -> None:
    # Raven's tables, and SongExplorer's in samples, of the same events.
    labels = found(audio / "fly-song-2500Hz", tables)
    assert names(labels, 0, 9) == [
        "ambient not_mel-sine",  # ambient 0.841 to 1.778, not_mel-sine 0.941 to 1.189
        "ambient not_mel-pulse not_mel-sine",  # not_mel-pulse 1.324 to 1.572
        "mel-sine not_mel-pulse",  # mel-sine 2.515 to 3.766, not_mel-pulse 2.705 to 3.603
        "mel-sine not_mel-pulse",
        "not_mel-sine",  # 4.021 to 4.566, and 4.888 to 5.146
        "mel-sine not_mel-pulse not_mel-sine",  # mel-sine from 5.856, not_mel-pulse 5.284 to 5.502
        "mel-sine not_mel-pulse",  # mel-sine to 6.262, and 6.462 to 7.366
        "mel-sine not_mel-pulse",  # not_mel-pulse 6.555 to 7.261
        "",
    ]
    assert "mel-pulse" in names(labels, 88, 89)[0].split()  # points at 88.926, 88.958 and 88.989
    # The second recording begins with window 200.
    assert names(labels, 200, 208) == [
        *("", "", "ambient not_mel-pulse", "ambient not_mel-sine", "ambient", ""),
        *("ambient not_mel-sine", "ambient not_mel-sine"),
    ]


@pytest.mark.parametrize(
    ("table", "settings"),
    [
        ("blackbird.Table.1.selections.txt", {}),
        ("annotations.csv", {"label_column": "label:species"}),
    ],
)
def test_birds_of_a_table_whose_times_go_on_from_file_to_file(
    table: str, settings: dict[str, Any], audio: Path
) -> None:
    labels = found(audio / "blackbird-48k", table, **settings)
    assert labels.shape == (90, 3)
    # Third segment of the first file, 10 to 15 s: the babbler.
    assert names(labels, 8, 12) == [*["Eurasian Blackbird"] * 2, *["Abbott's Babbler"] * 2]
    assert names(labels, 14, 16) == ["Abbott's Babbler", "Eurasian Blackbird"]
    # 50 s in the table is 20 s in the second file, and window 50 of all: the wren.
    assert names(labels, 48, 56) == [
        *["Eurasian Blackbird"] * 2, *["Eurasian Wren"] * 5, "Eurasian Blackbird"
    ]  # fmt: skip
    assert names(labels, 60, 90) == ["Eurasian Blackbird"] * 30


@pytest.mark.parametrize("table", ["spinetail.txt", "spinetail.Table.1.selections.txt"])
def test_calls_of_a_bird_with_their_frequencies(table: str, audio: Path) -> None:
    labels = found(audio / "spinetail-44k", table)
    assert names(labels, 0, 12) == [
        "CRER SP",  # SP 0.101 to 0.368, CRER from 0.507
        "CRER SP",  # SP 1.204 to 1.483
        "CRER SP",  # SP from 2.725
        "CRER SP",  # CRER to 3.042, SP to 3.219
        "",
        "CRER",  # 5.221 to 7.870
        "CRER SP",  # SP 6.261 to 6.666
        "CRER SP",  # SP from 7.946
        "SP",  # to 8.288, and from 8.897
        "SP",  # to 9.302, and from 9.974
        "SP",  # to 10.354
        "CRER SP",  # CRER from 11.330, SP from 11.773
    ]
    # Half of the window, or half of the event.
    halves = {"min_fraction_of_window": 0.5, "min_fraction_of_event": 0.5}
    labels = found(audio / "spinetail-44k", table, **halves)
    assert names(labels, 0, 12) == [
        "SP",  # of CRER, 2.535 s long, 0.493 s are here
        "CRER SP",
        "CRER SP",  # 0.275 of 0.494 s of the SP that begins at 2.725
        "",  # CRER 0.042 s, SP 0.219 s
        "",
        "CRER",  # 0.779 s
        "CRER SP",
        "CRER",  # of SP, 0.054 of 0.342 s
        "SP",  # 0.288 of the same
        "SP",  # 0.302 of 0.406 s
        "SP",  # 0.354 of 0.380 s
        "CRER SP",  # CRER 0.670 s, SP 0.227 of 0.304 s
    ]


def test_who_speaks_when_and_what_was_annotated(audio: Path) -> None:
    labels = found(audio / "meeting-16k", "*.[ru][te][tm]*")
    assert labels.shape == (154, 10)
    assert names(labels, 5, 12) == [
        "",
        "speaker90",  # 6.69 to 7.12
        "speaker90 speaker91",  # speaker91 7.55 to 8.35
        "speaker90 speaker91",  # speaker90 8.32 to 10.02
        "speaker90 speaker91",  # speaker91 9.92 to 11.03
        "speaker90 speaker91",
        "speaker90 speaker91",  # speaker90 10.57 to 14.70
    ]
    # trn01 has one sample more than its UEM's 30 s: nobody looked at its last window.
    assert names(labels, 30, 34) == ["", "", "FEO066", "FEO066"]  # 2.977 to 3.368
    assert names(labels, 58, 61) == ["FEO065 FEO066 MÉO069", "FEO065 FEO066 MÉO069", "?"]


def test_a_part_that_is_not_in_the_uem_is_not_known(audio: Path) -> None:
    folder = audio / "meeting-16k"
    labels = found(folder, "trn.rttm")  # without the UEM, whole recordings were annotated
    assert names(labels, 0, 2) == ["?", "?"]  # sample.wav is in no file
    assert names(labels, 58, 61)[2] == ""
    assert names(found(folder, "trn.rttm", unlabelled="negative"), 0, 2) == ["", ""]


def test_digits_and_drums_without_gaps(audio: Path) -> None:
    labels = found(audio / "digits-8k", "digits_long.csv", label_column="digit")
    # 6 to 0.549 s, 0 to 1.130, 2 to 1.614, 1 to 2.144, 4 to 2.608, 7 to 3.033, 0 to 3.566, ...
    assert names(labels, 0, 4) == ["0 6", "0 1 2", "1 4 7", "0 3 6 7"]
    labels = found(audio / "drums-48k-24bit-stereo", "drums_long.csv")
    assert names(labels, 0, 14) == [
        *("Snare", "Tambourine", "Kick", "RimClick", "Kick", "TomLow", "Kick", "RimClick"),
        *("Snare", "TomLow", "TomHigh", "TomLow"),
        *("HiHatClosed Stick", "AgogoLow HiHatClosed"),  # from here on at halves of seconds
    ]


def test_parts_of_windows_that_are_music(audio: Path) -> None:
    table = "musanmix-smn-gender.csv"
    labels = found(audio / "speech-music-mp3", table, label_kind="fraction")
    assert labels.classes == ("male", "music", "noEnergy", "noise")
    y = labels.block(21, 30)["label"]
    np.testing.assert_allclose(y[:, 1], [1, 0.48, *[0] * 7], atol=1e-6)  # to 22.48 s
    np.testing.assert_allclose(y[:, 2], [0, 0.52, *[1] * 6, 0.08], atol=1e-6)  # to 29.08 s
    np.testing.assert_allclose(y[:, 3], [*[0] * 8, 0.92], atol=1e-6)


def test_frames_of_a_call(audio: Path) -> None:
    labels = found(audio / "spinetail-44k", "spinetail.txt", label_kind="frame")
    n_frames = labels.shape[2]
    sp = np.flatnonzero(labels.block(0, 1)["label"][0, 1])
    assert labels.dims == ("window", "class", "time")
    # 0.101 to 0.368 s
    assert abs(sp[0] - 0.101385 * n_frames) <= 1
    assert abs(sp[-1] - 0.367520 * n_frames) <= 1
    assert len(sp) == sp[-1] - sp[0] + 1


def test_one_label_a_recording(audio: Path) -> None:
    folder = audio / "scenes-stereo-ogg"
    labels = found(folder, "labels.csv", samplerate=24000)
    assert labels.classes == ("birds", "boat", "city", "train", "wind")
    y = labels.block(0, labels.shape[0])["label"]
    assert (np.diff(y) >= 0).all()
    assert (np.unique(y) == range(5)).all()


def test_tables_of_raven_with_their_traps(audio: Path, tmp_path: Path) -> None:
    import soundfile

    tables = audio / "raven-tables-only"
    for name, seconds in (
        ("EmptyExample", 3), ("2020_10_27_132148", 368), ("MSD-0003_20180427_2minstart00", 6)
    ):  # fmt: skip
        soundfile.write(tmp_path / f"{name}.wav", np.ones(100 * seconds), 100)
    files = "".join(f"{table}\n" for table in sorted(tables.glob("*selections.txt")))
    assert files.count("\n") == 3
    label_map = {"": None}  # one row of the ragged table has no label
    checked = Settings.from_mapping({"label_map": label_map})
    glob = str(tables / "*.selections.txt")
    labels = Inputs.find(tmp_path, FEATURE, glob, checked).labels
    assert labels is not None
    assert labels.classes is not None
    # 2020: selections 363.771 to 364.068, 366.021 to 366.269, 366.590 to 366.875: each twice there
    assert names(labels, 362, 368) == ["", "27", "27", "", "27", ""]
    # The empty table says that nothing is in its 3 s; they come after the 368 of the first.
    assert names(labels, 368, 371) == ["", "", ""]
    # MSD: WOTH 1.898 to 4.111, EATO 3.182 to 4.542
    assert names(labels, 371, 376) == ["", "WOTH", "WOTH", "EATO WOTH", "EATO WOTH"]
