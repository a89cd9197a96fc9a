"""What a report says of a store is what is in it."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from conftest import Write
from example_reports import REPORTS
from PIL import Image
from scripted import REGION, Scripted

import pipeline as pl
from pipeline.cluster.entry import Cluster
from pipeline.job.extraction import run
from pipeline.job.plan import Plan
from pipeline.labels.values import Labels
from pipeline.reports.findings import findings_of
from pipeline.reports.page import page_of
from pipeline.settings import Settings
from pipeline.share import Share
from pipeline.store import open_finished, pack
from pipeline.training import store_split

FEATURE = pl.Spectrogram(n_fft=32, frame_length=20)
N = 40


@pytest.fixture(scope="module")
def labels() -> Any:
    return (np.random.default_rng(1).random((N, 3)) < (0.5, 0.3, 0.2)).astype(np.int8)


@pytest.fixture
def out(tmp_path: Path, labels: Any) -> Path:
    """A store of two recordings, some of whose windows cannot be read, with labels and a split."""
    rng = np.random.default_rng(0)
    for name, n in (("a.wav", 25_000), ("b.wav", 14_500)):
        samples = 0.1 * rng.standard_normal(n)
        samples[5100:7900] = np.nan if name == "a.wav" else 0
        soundfile.write(tmp_path / name, samples, 1000, subtype="FLOAT")
    out = tmp_path / "x.zarr"
    sources = [tmp_path / "a.wav", tmp_path / "b.wav"]
    pl.extract(sources, out, FEATURE, Labels(labels, ("cat", "owl", "<i>")))
    store_split(out, "train=.5,test=.5", seed=1)
    return out


def test_the_examples_of_other_tests_have_the_form_of_reports(
    write_wav: Write, tmp_path: Path
) -> None:
    write_wav("rec_20260302_040506.wav", 9)
    (tmp_path / "e.csv").write_text(
        "filename,onset,offset,label\nrec_20260302_040506.wav,1,2.5,owl\n"
        "rec_20260302_040506.wav,3,5,wind\n"
    )
    settings = {"datetime": "%Y%m%d_%H%M%S", "timezone": "Europe/Athens"}
    pl.extract([tmp_path], tmp_path / "x.zarr", FEATURE, tmp_path / "e.csv", **settings)
    found = findings_of(tmp_path / "x.zarr", audio=True)
    for name, example in REPORTS.items():
        assert differing(found, example()) == [], name


def differing(found: Any, example: Any, place: str = "") -> list[str]:
    """The names that a report and an example do not share, where these are always the same."""
    if isinstance(found, list) and isinstance(example, list) and found and example:
        return differing(found[0], example[0], place)
    names_vary = place.endswith(
        (".settings", ".versions", ".numerics", ".parameters", ".splits", ".events")
    )
    if names_vary or not isinstance(found, dict) or not isinstance(example, dict):
        return []
    names = [f"{place}.{name}" for name in found.keys() ^ example.keys()]
    for name in found.keys() & example.keys():
        names += differing(found[name], example[name], f"{place}.{name}")
    return names


def test_windows_are_counted_by_state(out: Path, tmp_path: Path) -> None:
    found = findings_of(out)
    expected = {"total": N, "whole": 36, "partial": 1, "masked": 3, "failed": 0, "pending": 0}
    assert found["windows"] == expected
    assert found["finished"]
    assert found["regions"] == {"total": 1, "done": 1, "failed": 0, "pending": 0}
    rows = {Path(row["path"]).name: row for row in found["recordings"]["rows"]}
    assert [*rows] == ["a.wav", "b.wav"]  # the one with windows that cannot be read first
    assert (rows["a.wav"]["whole"], rows["a.wav"]["masked"]) == (22, 3)
    assert (rows["b.wav"]["whole"], rows["b.wav"]["partial"]) == (14, 1)
    assert (rows["a.wav"]["seconds"], rows["b.wav"]["seconds"]) == (25, 14.5)
    assert rows["a.wav"]["floor"] < 1e-3
    assert rows["b.wav"]["floor"] > 2 / 14  # two windows of silence
    (masked,) = found["failures"]["masked"]
    assert masked["windows"] == [5, 8]
    assert found["failures"]["n_masked"] == 1


def test_labels_are_counted(out: Path, labels: Any) -> None:
    found = findings_of(out)["labels"]
    order = np.argsort(-labels.sum(axis=0), kind="stable")
    names = np.array(["cat", "owl", "<i>"])[order].tolist()
    assert [row["name"] for row in found["rows"]] == names
    assert [row["present"] for row in found["rows"]] == labels.sum(axis=0)[order].tolist()
    assert [row["absent"] for row in found["rows"]] == (N - labels.sum(axis=0))[order].tolist()
    ordered = labels[:, order].astype(int)
    assert found["together"] == {"names": names, "counts": (ordered.T @ ordered).tolist()}
    parts = open_finished(out).coordinate("split")
    assert found["splits"] == {"train": int((parts == 0).sum()), "test": int((parts == 1).sum())}
    for row in found["rows"]:
        assert sum(row["splits"].values()) == row["present"]


def test_each_class_has_a_picture_of_a_window_with_it(out: Path, labels: Any) -> None:
    found = findings_of(out)["pictures"]
    shown = {item["title"]: item for item in found["classes"]}
    assert found["n_classes"] == len(shown) == 3
    for number, name in enumerate(("cat", "owl", "<i>")):
        window, heard = shown[name]["window"], labels[shown[name]["window"]]
        assert heard[number]
        assert not 5 <= window < 8
        readable = np.r_[0:5, 8:N]
        alone = labels[readable][labels[readable, number] > 0].sum(axis=1)
        assert heard.sum() == alone.min()
        assert name in shown[name]["labels"]
    recordings = [(item["path"], item["window"], item["at"]) for item in found["recordings"]]
    assert [(Path(path).name, at) for path, _, at in recordings] == [("a.wav", 14), ("b.wav", 7)]
    data = base64.b64decode(found["recordings"][0]["png"].partition(",")[2])
    assert Image.open(io.BytesIO(data)).size == (320, 180)
    assert found["axes"] == {"x": "time 0 to 1 s", "y": "frequency 0 to 500 Hz"}


def test_names_of_windows_are_classes(write_wav: Write, tmp_path: Path) -> None:
    labels = ["owl", "cat", "owl", "owl"]
    pl.extract(write_wav(seconds=4), tmp_path / "x.zarr", FEATURE, labels)
    store_split(tmp_path / "x.zarr", "train=1")
    found = findings_of(tmp_path / "x.zarr")
    rows = [(row["name"], row["present"], row["splits"]) for row in found["labels"]["rows"]]
    assert rows == [("owl", 3, {"train": 3}), ("cat", 1, {"train": 1})]
    assert found["labels"]["classes"] == ["cat", "owl"]
    shown = {
        item["title"]: (item["window"], item["labels"]) for item in found["pictures"]["classes"]
    }
    assert shown["cat"] == (1, ["cat"])
    assert shown["owl"][1] == ["owl"]


def test_what_each_window_has_is_told(out: Path) -> None:
    found = findings_of(out)
    variables = {item.pop("name"): item for item in found["variables"]}
    assert [*variables][:2] == ["features", "label"]
    features = {"dimensions": ["frequency", "time"], "shape": [17, 50], "dtype": "float32"}
    assert variables["features"] == features
    assert variables["label"] == {"dimensions": ["class"], "shape": [3], "dtype": "int8"}
    assert variables["valid"] == {"dimensions": [], "shape": [], "dtype": "bool"}
    assert not {"source", "frequency", "class"} & {*variables}
    assert found["splits"] == found["labels"]["splits"]


def test_values_are_those_of_the_windows(out: Path) -> None:
    found = findings_of(out)
    readable = np.r_[0:5, 8 : N - 1]  # the last one is partial
    X = features(out, readable)
    values = found["values"]
    assert (values["sampled"], values["of"]) == (36, 36)
    assert (values["minimum"], values["maximum"]) == (X.min(), X.max())
    assert values["mean"] == pytest.approx(X.mean(dtype=float))
    assert values["std"] == pytest.approx(X.std(dtype=float))
    assert values["floor"] == pytest.approx((np.float32(np.log(1e-6)) == X).mean(), rel=1e-3)
    assert sum(values["histogram"]["counts"]) == X.size
    assert values["clipped"] is None
    level = found["level"]["rows"]
    assert [row["window"] for row in level] == readable.tolist()
    for row, x in zip(level, X, strict=True):
        assert (row["low"], row["median"], row["high"]) == pytest.approx(
            tuple(np.percentile(x.astype(float), [10, 50, 90]))
        )
    assert [row["at"] for row in level] == readable.astype(float).tolist()


def features(out: Path, windows: Any) -> Any:
    batches = pl.Batches(out, 1)
    return np.concatenate([batches[int(t)][0] for t in windows])


@pytest.mark.parametrize("dtype", ["float16", "uint8"])
def test_the_floor_is_known_as_it_was_rounded(write_wav: Write, tmp_path: Path, dtype: str) -> None:
    path = write_wav("x.wav", 3, 1000)
    samples, _ = soundfile.read(path)
    samples[:1000] = 0
    soundfile.write(path, samples, 1000)
    pl.extract(path, tmp_path / "x.zarr", FEATURE, dtype=dtype)
    found = findings_of(tmp_path / "x.zarr")
    assert found["level"]["rows"][0]["floor"] == 1
    assert found["values"]["clipped"] == (0 if dtype == "uint8" else None)


def test_a_store_of_one_value_a_window_is_shown_too(write_wav: Write, tmp_path: Path) -> None:
    y = np.array([3.5, 1, 1])
    pl.extract(write_wav("x.wav", 3), tmp_path / "x.h5", pl.Indices(), y)
    found = findings_of(tmp_path / "x.h5")
    rows = [(row["name"], row["present"], row["absent"]) for row in found["labels"]["rows"]]
    assert (found["labels"]["kind"], rows) == ("values", [("1.0", 2, 1), ("3.5", 1, 2)])
    assert [item["labels"] for item in found["pictures"]["classes"]] == [["1.0"], ["3.5"]]
    assert found["pictures"]["axes"] is None
    assert found["values"]["of"] == 3
    json.dumps(found, allow_nan=False)


def test_one_name_a_window_is_its_class(write_wav: Write, tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("path,label\nb.wav,owl\na.wav,cat\n")
    for name, seconds in (("a.wav", 2), ("b.wav", 3)):
        write_wav(name, seconds, 1000)
    sources = [tmp_path / "a.wav", tmp_path / "b.wav"]
    pl.extract(sources, tmp_path / "x.zarr", FEATURE, tmp_path / "labels.csv")
    found = findings_of(tmp_path / "x.zarr")
    rows = {row["name"]: (row["present"], row["absent"]) for row in found["labels"]["rows"]}
    assert rows == {"owl": (3, 2), "cat": (2, 3)}
    assert found["labels"]["together"] is None
    shown = [(item["title"], item["labels"]) for item in found["pictures"]["classes"]]
    assert shown == [("owl", ["owl"]), ("cat", ["cat"])]


def test_of_a_packed_copy_is_told_what_is_in_it(out: Path, tmp_path: Path) -> None:
    sources = [tmp_path / "a.wav", tmp_path / "b.wav"]
    pl.extract(sources, tmp_path / "y.h5", FEATURE)
    pack(tmp_path / "y.h5", tmp_path / "z.h5")
    found = findings_of(tmp_path / "z.h5", audio=True)
    assert (found["packed"], found["regions"], found["throughput"]) == (True, None, None)
    assert (found["windows"]["whole"], found["windows"]["masked"]) == (36, 3)
    assert found["bytes"]["stored"] == (tmp_path / "z.h5").stat().st_size
    assert {item["sound"] for item in found["pictures"]["recordings"]} == {None}


class Same:
    """One value, whatever is heard."""

    version, shape, frequencies, times = 1, (4,), None, np.arange(4.0)

    def __init__(self, value: float) -> None:
        self.value = value

    def __call__(self, windows: Any, /) -> Any:
        return np.full((len(windows), 4), self.value, np.float32)


@pytest.mark.parametrize("value", [0.0, -3.5, 1e15, -3e38])
def test_a_feature_of_one_value_has_a_distribution(
    write_wav: Write, tmp_path: Path, value: float
) -> None:
    assert pl.extract(write_wav("x.wav", 3, 1000), tmp_path / "x.zarr", Same(value)).ok
    found = findings_of(tmp_path / "x.zarr")
    assert sum(found["values"]["histogram"]["counts"]) == 12
    assert found["values"]["minimum"] == found["values"]["maximum"] == np.float32(value)
    page_of(found)


def test_small_powers_are_distributed_as_large_ones(write_wav: Write, tmp_path: Path) -> None:
    counts = []
    for number, factor in enumerate((1.0, 1e-5)):
        samples, _ = soundfile.read(write_wav("x.wav", 3))
        path = tmp_path / f"{number}.wav"
        soundfile.write(path, factor * samples, 8000, subtype="DOUBLE")
        power = pl.MelSpectrogram(output="power", n_mels=16)
        pl.extract(path, tmp_path / f"{number}.zarr", power)
        found = findings_of(tmp_path / f"{number}.zarr")["values"]["histogram"]["counts"]
        counts.append(np.array(found))
    assert (counts[1] > 0).sum() > 20
    assert np.abs(counts[0] - counts[1]).sum() < 0.02 * counts[0].sum()


class Unfinished:
    """A job of 8 windows in regions of 2, of which the second fails and the last is pending."""

    def __init__(self, folder: Path) -> None:
        self.source, self.out = folder / "x.npy", folder / "x.zarr"
        np.save(self.source, np.repeat(np.arange(8, dtype=np.float32), 4)[:, None])
        (folder / "script.json").write_text(json.dumps({"1": ["bug"]}))
        plan = Plan.make(
            self.source, self.out, Scripted(str(folder)), settings=Settings(samplerate=4, retries=0)
        )
        layout = dataclasses.replace(plan.layout, chunk=1, shard=REGION, region=REGION)
        self.plan = dataclasses.replace(plan, layout=layout)


def test_an_unfinished_store_is_told_of_as_far_as_it_is(tmp_path: Path) -> None:
    job = Unfinished(tmp_path)
    run(job.plan, Cluster(threads=1), share=Share.parse("0/2"))
    found = findings_of(job.out)
    assert not found["finished"]
    assert found["regions"] == {"total": 4, "done": 1, "failed": 1, "pending": 2}
    expected = {"total": 8, "whole": 2, "partial": 0, "masked": 0, "failed": 2, "pending": 4}
    assert found["windows"] == expected
    (failed,) = found["failures"]["failed"]
    assert (failed["region"], failed["windows"]) == (1, [2, 4])
    assert "no luck" in failed["reason"]
    assert found["values"]["sampled"] == 2
    assert found["values"]["maximum"] == 1
    assert found["throughput"]["hosts"][0]["regions"] == 1
    page = " ".join(page_of(found).split())
    assert "unfinished: 1 of 4 regions, 1 failed" in page
    assert "Nobody is at work on it now." in page
    assert "no luck" in page


def test_before_anything_is_done_there_is_little_to_say(tmp_path: Path) -> None:
    job = Unfinished(tmp_path)
    (tmp_path / "script.json").write_text(json.dumps({str(i): ["bug"] for i in range(4)}))
    run(job.plan, Cluster(threads=1))
    found = findings_of(job.out)
    assert (found["values"], found["level"], found["throughput"]) == (None, None, None)
    assert found["pictures"]["recordings"] == []
    assert found["failures"]["n_failed"] == 4


def test_damaged_windows_are_left_out_and_told_of(tmp_path: Path) -> None:
    job = Unfinished(tmp_path)
    (tmp_path / "script.json").write_text("{}")
    run(job.plan, Cluster(threads=1))
    shard = next((job.out / "features").glob("c*"))
    data = bytearray(shard.read_bytes())
    data[3] ^= 1
    shard.write_bytes(data)
    found = findings_of(job.out)
    assert found["values"]["sampled"] < found["values"]["of"] == 8
    (damage,) = found["failures"]["damaged"]
    assert "is damaged" in damage["reason"]
    assert damage["windows"] >= 8 - found["values"]["sampled"]


def test_sounds_are_what_was_recorded(write_wav: Write, tmp_path: Path) -> None:
    path, out = write_wav("x.wav", 3.5, 8000), tmp_path / "x.zarr"
    pl.extract(path, out)
    assert findings_of(out)["pictures"]["recordings"][0]["sound"] is None
    (shown,) = findings_of(out, audio=True)["pictures"]["recordings"]
    kind, _, data = shown["sound"].partition(";base64,")
    heard, rate = soundfile.read(io.BytesIO(base64.b64decode(data)))
    samples, _ = soundfile.read(path)
    expected = samples[shown["window"] * 8000 :][:8000]
    assert (kind, rate) == ("data:audio/flac", 8000)
    np.testing.assert_allclose(heard, expected * (0.7 / np.abs(expected).max()), atol=1e-4)
    write_wav("x.wav", 3.5, 8000, seed=1)  # another recording of that name
    assert findings_of(out, audio=True)["pictures"]["recordings"][0]["sound"] is None


def test_sounds_of_few_samples_are_at_a_rate_that_browsers_play(
    write_wav: Write, tmp_path: Path
) -> None:
    pl.extract(write_wav("x.wav", 2, 2500), tmp_path / "x.zarr", FEATURE)
    (shown,) = findings_of(tmp_path / "x.zarr", audio=True)["pictures"]["recordings"]
    data = base64.b64decode(shown["sound"].partition(",")[2])
    heard, rate = soundfile.read(io.BytesIO(data))
    assert (len(heard), rate) == (8000, 8000)


@pytest.mark.parametrize("name", ["x.zarr", "x.h5"])
def test_what_does_not_exist_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(FileNotFoundError, match="does not exist"):
        findings_of(tmp_path / name)
