"""From what people keep beside their recordings to y, one for each window."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import pytest

import pipeline as pl
from pipeline.features import Spectrogram
from pipeline.inputs import Inputs
from pipeline.job.plan import Plan
from pipeline.labels.files import load_labels, read_label
from pipeline.labels.values import Labels, check_count, make_labels
from pipeline.recordings.scanning import scan
from pipeline.settings import Settings

Write = Callable[..., Path]
Array = npt.NDArray[Any]
FEATURE = Spectrogram(n_fft=64, frame_length=20)


# --- values to labels -----------------------------------------------------


@pytest.mark.parametrize(
    ("values", "expected", "kind", "classes"),
    [
        ([0, 1, 1], [0, 1, 1], "i", None),
        ([True, False], [True, False], "b", None),
        ([0.5, 1], [0.5, 1.0], "f", None),
        (np.array([3, 4], np.uint8), [3, 4], "u", None),
        ([[0, 1], [1, 1]], [[0, 1], [1, 1]], "i", None),
        (["0", "-2", "10"], [0, -2, 10], "i", None),
        (["0", "0.5", "1e-3"], [0, 0.5, 0.001], "f", None),
        (["owl", "fox", "owl", "ant"], [2, 1, 2, 0], "i", ("ant", "fox", "owl")),
        (["1", "fox"], [0, 1], "i", ("1", "fox")),
        (np.array(["ñ", "日"]), [0, 1], "i", ("ñ", "日")),
        (["99999999999999999999", "1"], [1, 0], "i", ("1", "99999999999999999999")),
        (["9" * 5000, "1"], [1, 0], "i", ("1", "9" * 5000)),
        (["9223372036854775807", "-1"], [2**63 - 1, -1], "i", None),
        (["007", "7", "08"], [0, 2, 1], "i", ("007", "08", "7")),
        (["1_1", "1_2"], [0, 1], "i", ("1_1", "1_2")),
        (["nan", "inf", "-inf"], [2, 1, 0], "i", ("-inf", "inf", "nan")),
        (["1e999", "1"], [1, 0], "i", ("1", "1e999")),
        (["\u0661", "\u0662"], [0, 1], "i", ("\u0661", "\u0662")),
        (["1.5", "\u0661.5"], [0, 1], "i", ("1.5", "\u0661.5")),
        (["01.5", "1.5"], [0, 1], "i", ("01.5", "1.5")),
        (["+1", "-1"], [1, -1], "f", None),
        ([".5", "1.", "-0.25E+1"], [0.5, 1, -2.5], "f", None),
        ([" 1", "1"], [0, 1], "i", (" 1", "1")),
        (["0x1", "1"], [0, 1], "i", ("0x1", "1")),
        (["1\n", "1"], [1, 0], "i", ("1", "1\n")),
        (np.array(["owl", "fox"], dtype=object), [1, 0], "i", ("fox", "owl")),
    ],
)
def test_values_become_numbers_or_indices_into_sorted_names(
    values: Any, expected: list[Any], kind: str, classes: tuple[str, ...] | None
) -> None:
    labels = make_labels(values)
    assert labels.values.dtype.kind == kind
    np.testing.assert_array_equal(labels.values, expected)
    assert labels.classes == classes


def test_indices_point_at_the_names_that_were_given() -> None:
    names = np.random.default_rng(0).choice(["robin", "wren", "Crow", "no bird"], 50).tolist()
    labels = make_labels(names)
    assert labels.classes is not None
    assert [labels.classes[i] for i in labels.values] == names


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (np.zeros((2, 2, 2)), r"shape \(2, 2, 2\) and dtype float64"),
        (5, r"shape \(\) and dtype int64"),
        ([1 + 2j], "dtype complex128"),
        ([["a", "b"]], r"shape \(1, 2\) and dtype <U1"),
    ],
)
def test_other_values_are_refused_with_what_is_allowed(values: Any, found: str) -> None:
    with pytest.raises(ValueError, match=f"{found}; they must be numbers .* of shape"):
        make_labels(values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["", "1"], "labels are text, but not all of them; give text for each window"),
        (["owl", ""], "labels are text, but not all of them; give text for each window"),
        ([None, 1], "labels are text, but not all of them; give text for each window"),
        ([[0, 1], [1]], "labels differ in length; give one number for each window, or one row"),
        ([[0, 1], 1], "labels differ in length; give one number for each window, or one row"),
    ],
)
def test_missing_and_ragged_values_are_refused_and_never_made_up(values: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_labels(values)


def test_a_wrong_count_names_both_counts_and_both_things() -> None:
    labels = make_labels([0, 1, 0])
    check_count(len(labels.values), 3, "labels.csv", "the audio")
    message = r"^labels\.csv has 3 labels, but the audio has 4 windows; give one label for each"
    with pytest.raises(ValueError, match=message):
        check_count(len(labels.values), 4, "labels.csv", "the audio")
    with pytest.raises(ValueError, match="has 2 labels"):
        check_count(len(make_labels(np.zeros((2, 3))).values), 3, "labels.npy", "the audio")


# --- files of labels ------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0\n1\n1\n", ["0", "1", "1"]),
        ("0\r\n1\r\n", ["0", "1"]),
        ("0\n1", ["0", "1"]),
        ("label\n0\n1\n", ["0", "1"]),
        ("\ufeffLabel\nowl\n", ["owl"]),
        ("start,label,end\n0,owl,1\n1, fox ,2\n", ["owl", "fox"]),
        ('start, LABEL \n0,"owl, barn"\n', ["owl, barn"]),
        ("ñ\n日\n", ["ñ", "日"]),
    ],
)
def test_text_has_one_label_a_row(text: str, expected: list[str], tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_bytes(text.encode())
    assert load_labels(path) == expected


@pytest.mark.parametrize("values", [np.array([0, 1, 2]), np.eye(3, dtype=np.float32)])
def test_arrays_of_labels_are_kept_as_they_are(values: Array, tmp_path: Path) -> None:
    np.save(tmp_path / "y.npy", values)
    with h5py.File(tmp_path / "y.HDF5", "w") as file:
        file["label"] = values
    for name in ("y.npy", "y.HDF5"):
        loaded = load_labels(tmp_path / name)
        assert isinstance(loaded, np.ndarray)
        assert loaded.dtype == values.dtype
        np.testing.assert_array_equal(loaded, values)


@pytest.mark.parametrize("dtype", ["str", "bytes", "object"])
def test_names_in_an_array_become_classes(dtype: str, tmp_path: Path) -> None:
    names = ["owl", "ñandú", "owl"]
    np.save(tmp_path / "y.npy", names)
    with h5py.File(tmp_path / "y.h5", "w") as file:
        if dtype == "bytes":  # of one length
            encoded = [name.encode() for name in names]
            file["label"] = np.array(encoded, dtype=h5py.string_dtype(length=8))
        else:
            file["label"] = names if dtype == "str" else np.array(names, dtype=object)
    for name in ("y.npy", "y.h5"):
        labels = make_labels(load_labels(tmp_path / name))
        assert labels.classes == ("owl", "ñandú")
        assert labels.values.tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    ("name", "content", "error", "message"),
    [
        ("y.csv", None, FileNotFoundError, "does not exist; give a file of labels"),
        ("y.csv", b"a,b\n1,2\n", ValueError, "several columns, but none is named 'label'; name"),
        ("y.csv", b"a,label\n0,1\n1\n", ValueError, "no label in row 2; give one for each"),
        ("y.csv", b"", ValueError, "has no label at all; give one for each window"),
        ("y.csv", b"label\n", ValueError, "has no label at all; give one for each window"),
        ("y.csv", b"start,label\n", ValueError, "has no label at all; give one for each window"),
        ("y.csv", b"label\nowl\n\nfox\n", ValueError, "no label in row 2; give one for each"),
        ("y.csv", b"a,label\n0,1\n\n2,1\n", ValueError, "no label in row 2; give one for each"),
        ("y.csv", b"0\n\n1\n", ValueError, "; (name|give) one "),
        ("y.csv", b"\xff\xfe\x00", OSError, r"cannot be read as labels .*; give \.npy, HDF5 with"),
        ("y.npy", b"", OSError, r"cannot be read as labels .*; give \.npy, HDF5 with 'label'"),
        ("y.h5", b"text", OSError, r"cannot be read as labels .*; give \.npy, HDF5 with 'label'"),
    ],
)
def test_files_that_are_no_labels_are_named_with_a_remedy(
    name: str, content: bytes | None, error: type[Exception], message: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(error, match=rf"/{name} .*{message}"):
        load_labels(tmp_path / name)


def test_hdf5_without_label_is_refused_and_a_folder_is(tmp_path: Path) -> None:
    h5py.File(tmp_path / "y.h5", "w").close()
    for path in (tmp_path / "y.h5", tmp_path):
        with pytest.raises(OSError, match=rf"{path.name} cannot be read as labels"):
            load_labels(path)


# --- labels of a job ------------------------------------------------------


def make_npy(folder: Path, name: str, windows: float, label: Any = None) -> Path:
    """Noise at 100 Hz, and labels beside it."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    np.save(folder / f"{name}.npy", rng.standard_normal(round(100 * windows)))
    if label is not None:
        np.save(folder / f"{name}-lbl.npy", label)
    return folder / f"{name}.npy"


def make_hdf5(folder: Path, name: str, windows: float, label: Any = None) -> Path:
    """The same, in the article's HDF5."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    with h5py.File(folder / f"{name}.h5", "w") as file:
        file["audio"] = rng.standard_normal((round(100 * windows), 2))
        file["audio"].attrs["sampling_rate"] = 100
        if label is not None:
            file["label"] = label
    return folder / f"{name}.h5"


def find(sources: Any, labels: Any = None, **settings: Any) -> Labels | None:
    settings = {"samplerate": 100} | settings
    return Inputs.find(sources, FEATURE, labels, Settings(**settings)).labels


MAKERS = pytest.mark.parametrize("make", [make_npy, make_hdf5])


@MAKERS
def test_stored_labels_are_found_and_joined_in_order(
    make: Callable[..., Path], tmp_path: Path
) -> None:
    make(tmp_path / "in", "b", 1.5, [5, 6])
    make(tmp_path / "in", "a", 3, [1, 2, 3])
    labels = find(tmp_path / "in")
    assert labels is not None
    assert labels.values.tolist() == [1, 2, 3, 5, 6]
    settings = Settings(samplerate=100)
    plan = Plan.make(tmp_path / "in", tmp_path / "out.zarr", FEATURE, settings=settings)
    assert plan.labels is not None
    assert plan.labels.values.tolist() == [1, 2, 3, 5, 6]


@MAKERS
def test_stored_text_labels_become_classes_that_all_recordings_share(
    make: Callable[..., Path], tmp_path: Path
) -> None:
    make(tmp_path / "in", "a", 2, ["owl", "nightingale"])
    make(tmp_path / "in", "b", 2.5, ["fox", "owl", "ñ"])
    labels = find(tmp_path / "in")
    assert labels is not None
    assert labels.classes == ("fox", "nightingale", "owl", "ñ")
    assert labels.values.tolist() == [2, 1, 0, 2, 3]


def test_stored_labels_of_both_kinds_and_several_classes_are_joined(tmp_path: Path) -> None:
    make_npy(tmp_path / "in", "a", 2, [[0, 1], [1, 0]])
    make_hdf5(tmp_path / "in", "b", 1, [[1, 1]])
    labels = find(tmp_path / "in")
    assert labels is not None
    assert labels.values.tolist() == [[0, 1], [1, 0], [1, 1]]


@MAKERS
def test_stored_labels_are_of_windows_as_they_are_cut(
    make: Callable[..., Path], tmp_path: Path
) -> None:
    path = make(tmp_path, "a", 2.5, [0, 1, 2, 3])
    labels = find(path, hop=0.5)
    assert labels is not None
    assert labels.values.tolist() == [0, 1, 2, 3]
    for settings, count in (({}, 3), ({"tail": "drop"}, 2), ({"window": 0.5}, 5)):
        with pytest.raises(ValueError, match=rf"label of .*/a\.\w+ has 4 .* has {count} windows"):
            find(path, **settings)


@MAKERS
def test_some_recordings_with_labels_and_some_without_are_refused(
    make: Callable[..., Path], tmp_path: Path
) -> None:
    make(tmp_path / "in", "a", 1, [1])
    make(tmp_path / "in", "b", 1)
    message = r"/b\.\w+ has no labels, but others .*; give labels for all, or for none"
    with pytest.raises(ValueError, match=message):
        find(tmp_path / "in")
    labels = find(tmp_path / "in", labels=[7, 8])
    assert labels is not None
    assert labels.values.tolist() == [7, 8]


def test_recordings_without_labels_have_none(write_wav: Write, tmp_path: Path) -> None:
    path = write_wav("a.wav", samplerate=100)
    np.save(tmp_path / "a-lbl.npy", [1, 2, 3])  # belongs to a.npy, not to a.wav
    assert read_label(path) is None
    assert read_label(make_hdf5(tmp_path, "b", 1)) is None
    assert find([path, tmp_path / "b.h5"]) is None


def test_labels_that_are_given_take_the_place_of_stored_ones(tmp_path: Path) -> None:
    path = make_npy(tmp_path, "a", 2, [0, 0])
    (tmp_path / "y.csv").write_text("start,label\n0,owl\n1,fox\n")
    for given in (["owl", "fox"], tmp_path / "y.csv", str(tmp_path / "y.csv")):
        labels = find(path, labels=given)
        assert labels is not None
        assert labels.values.tolist() == [1, 0]
        assert labels.classes == ("fox", "owl")
    own = Labels(np.array([1, 1]), ("dog", "owl"))
    assert find(path, labels=own) is own


def test_given_labels_that_do_not_fit_are_refused_by_the_name_of_their_file(tmp_path: Path) -> None:
    path = make_npy(tmp_path, "a", 2)
    (tmp_path / "y.csv").write_text("0\n1\n0\n")
    with pytest.raises(ValueError, match=r"y\.csv has 3 labels, but the audio has 2 windows; give"):
        find(path, labels=tmp_path / "y.csv")
    with pytest.raises(ValueError, match=r"^labels has 1 labels, but the audio has 2 windows"):
        find(path, labels=[1])


def test_labels_of_a_recording_that_cannot_be_read_are_left_out(tmp_path: Path) -> None:
    make_npy(tmp_path / "in", "a", 2, [1, 2])
    np.save(tmp_path / "in" / "b.npy", np.zeros(0))
    np.save(tmp_path / "in" / "b-lbl.npy", [9])
    labels = find(tmp_path / "in")
    assert labels is not None
    assert labels.values.tolist() == [1, 2]


# --- labels that name their recording -------------------------------------


@pytest.fixture
def hours(write_wav: Write, tmp_path: Path) -> Path:
    """A folder of recordings of 1, 2 and 3 windows."""
    for i, name in enumerate(("a b", "b", "ñ")):
        write_wav(f"in/{name}.wav", 1 + i, 100, seed=i)
    return tmp_path / "in"


BY_PATH = """site,Path, LABEL
1,ñ.wav,owl
1,b.wav,fox
2,./a b.wav,ant

1,ñ.wav,fox
1,b.wav,owl
1,ñ.wav,ant
"""


def names_of(labels: Labels | None) -> list[str]:
    assert labels is not None
    assert labels.classes is not None
    return [labels.classes[i] for i in labels.values]


def test_a_csv_with_paths_labels_the_recordings_that_it_names(hours: Path) -> None:
    (hours / "y.csv").write_text(BY_PATH, encoding="utf-8-sig")
    expected = ["ant", "fox", "owl", "owl", "fox", "ant"]
    for sources in (hours, f"{hours}/*.wav", f"{hours}/../in"):
        assert names_of(find(sources, labels=hours / "y.csv")) == expected
    order = [hours / "ñ.wav", hours / "a b.wav", hours / "b.wav"]
    assert names_of(find(order, labels=hours / "y.csv")) == [
        *("owl", "fox", "ant"),
        *("ant",),
        *("fox", "owl"),
    ]


def test_paths_of_labels_are_relative_to_their_file_and_known_through_links(
    hours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lists").mkdir()
    (tmp_path / "link").symlink_to("in")
    (hours / "c.wav").symlink_to("b.wav")
    table = tmp_path / "lists" / "y.csv"
    table.write_text(f"path,label\n../link/a b.wav,1\n{hours}/c.wav,2\n../in/b.wav,3\n")
    monkeypatch.chdir(tmp_path)
    for sources in (["in/a b.wav", "in/b.wav"], ["link/a b.wav", "link/c.wav"]):
        with pytest.raises(ValueError, match=r"y\.csv names .*c\.wav also as .*b\.wav; name it"):
            find(sources, labels="lists/y.csv")
    table.write_text(f"path,label\n../link/a b.wav,1\n{hours}/c.wav,2\n{hours}/c.wav,3\n")
    for sources in (["in/a b.wav", "in/b.wav"], ["link/a b.wav", "link/c.wav"]):
        labels = find(sources, labels="lists/y.csv")
        assert labels is not None
        assert labels.values.tolist() == [1, 2, 3]


def test_a_csv_is_manifest_and_labels_at_once(hours: Path, tmp_path: Path) -> None:
    (hours / "y.csv").write_text(BY_PATH)
    recordings = scan(hours / "y.csv", samplerate=100)
    assert [Path(path).name for path in recordings.paths] == ["ñ.wav", "b.wav", "a b.wav"]
    labels = find(hours / "y.csv", labels=hours / "y.csv")
    assert names_of(labels) == ["owl", "fox", "ant", "fox", "owl", "ant"]
    (hours / "b.wav").write_bytes(b"no audio")
    labels = find(hours / "y.csv", labels=hours / "y.csv")
    assert names_of(labels) == ["owl", "fox", "ant", "ant"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("a b.wav,1\nb.wav,1\nb.wav,2\n", r"no label for .*/ñ\.wav; give one for each window"),
        ("b.wav,1\nb.wav,2\n", r"no label for .*/a b\.wav and 1 more; give one for each"),
        (
            "a b.wav,1\nb.wav,1\nñ.wav,1\nñ.wav,2\nñ.wav,3\n",
            r"y\.csv, for .*/b\.wav, has 1 labels, but its audio has 2 windows; give one label",
        ),
        (
            "a b.wav,1\nb.wav,1\nb.wav,2\nñ.wav,1\nñ.wav,2\nñ.wav,3\nc.wav,1\n",
            r"labels for .*/c\.wav, not among the recordings; leave out their rows, or pass",
        ),
        ("a b.wav,1\n,2\n", r"y\.csv names no path in row 2; name one in each row"),
        ("a b.wav,1\nb.wav\n", r"y\.csv has no label in row 2; give one for each"),
        ("", r"y\.csv has no label at all; give one for each window"),
    ],
)
def test_labels_by_path_that_do_not_fit_are_refused_by_name(
    rows: str, message: str, hours: Path
) -> None:
    (hours / "y.csv").write_text("path,label\n" + rows)
    with pytest.raises(ValueError, match=message):
        find(hours, labels=hours / "y.csv")


def test_a_recording_that_cannot_be_read_is_named_where_the_labels_are_too_many(
    hours: Path,
) -> None:
    (hours / "b.wav").write_bytes(b"no audio")
    message = r"6 labels, but the audio has 4 windows without .*/b\.wav, which cannot be read; give"
    with pytest.raises(ValueError, match=message):
        find(hours, labels=[0, 1, 0, 1, 0, 1])
    (hours / "a b.wav").write_bytes(b"no audio")
    message = r"3 windows without .*/a b\.wav and 1 more, which cannot be read; give one label"
    with pytest.raises(ValueError, match=message):
        find(hours, labels=[0, 1, 0, 1, 0, 1])


@pytest.mark.parametrize("separator", [";", "\t"])
def test_other_separators_than_commas_are_named(separator: str, tmp_path: Path) -> None:
    said = "semicolons" if separator == ";" else "tabs"
    (tmp_path / "y.csv").write_text("path,Label\na.wav,0,5\n".replace(",", separator, 1))
    with pytest.raises(ValueError, match=rf"/y\.csv has its columns separated by {said}; save it"):
        load_labels(tmp_path / "y.csv")
    (tmp_path / "y.csv").write_text(f"owl{separator}barn\nfox\n")
    assert load_labels(tmp_path / "y.csv") == [f"owl{separator}barn", "fox"]


def test_a_nul_in_a_file_of_labels_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "y.csv").write_bytes("label\nowl\n".encode("utf-16-le"))
    with pytest.raises(OSError, match=r"/y\.csv cannot be read as labels .*NUL.*; give"):
        load_labels(tmp_path / "y.csv")


def test_the_labels_of_real_recordings_are_those_of_their_table(audio: Path) -> None:
    folder = audio / "percussion-48k-24bit-flac"
    with (folder / "labels.csv").open() as file:
        expected = {row["path"]: row["label"] for row in csv.DictReader(file)}
    settings = Settings(window=60.0)  # one for each file
    sources = [folder / name for name in sorted(expected)[::-1]]
    found = Inputs.find(sources, pl.Spectrogram(), folder / "labels.csv", settings)
    names = [os.path.relpath(path, folder) for path in found.recordings.paths]
    assert names == sorted(expected)[::-1] != list(expected)
    assert names_of(found.labels) == [expected[name] for name in names]
