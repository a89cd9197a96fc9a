"""The card of a data set is one that Hugging Face's own library reads, whatever names are in it."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Cli, Write
from huggingface_hub import DatasetCard
from markdown_it import MarkdownIt

import pipeline as pl
from pipeline.reports.card import BLANK, card_of
from pipeline.reports.findings import findings_of
from pipeline.reports.front_matter import size_category
from pipeline.training import store_split

MEL = pl.MelSpectrogram(n_mels=16)
HOSTILE = "<script>|`x`\n---\n[a](http://b.example) \u202e\ud800 ${7}" + 300 * "#"
SPLIT_NAME = r"\w+(\.\w+)*"  # that `datasets` allows


def read(card: str) -> DatasetCard:
    """The card as the library of Hugging Face has it, which gives the same text again."""
    found = DatasetCard(card)
    assert DatasetCard(str(found)).data.to_dict() == found.data.to_dict()
    assert found.text.startswith("\n# Dataset Card for ")
    return found


def section(card: DatasetCard, title: str) -> str:
    return re.split(r"^#+ .*\n", card.text.partition(f" {title}\n")[2], maxsplit=1, flags=re.M)[0]


@pytest.fixture
def labelled(write_wav: Write, tmp_path: Path) -> Path:
    """A store of 12 windows, labelled by events of two classes, and split."""
    paths = [write_wav(f"in/{name}_20240102_03{i}000.wav", 3.5) for i, name in enumerate("abc")]
    (tmp_path / "events.csv").write_text(
        f"path,onset,offset,label\n{paths[0]},0,1,wren\n{paths[0]},2,3,owl\n{paths[1]},0,2,wren\n"
    )
    pl.extract(
        *(tmp_path / "in", tmp_path / "x.zarr", MEL, tmp_path / "events.csv"),
        datetime=("%Y%m%d_%H%M%S",),
        timezone="UTC",
    )
    store_split(tmp_path / "x.zarr", {"train": 0.5, "test-1": 0.5}, seed=1)
    return tmp_path / "x.zarr"


def test_a_labelled_and_split_store_has_a_card(labelled: Path) -> None:
    report = findings_of(labelled)
    card = read(card_of(report))
    data = card.data.to_dict()
    assert data["license"] == "unknown"
    assert data["task_categories"] == ["audio-classification"]
    assert "annotations_creators" not in data
    assert (data["size_categories"], data["viewer"]) == (["n<1K"], False)
    assert data["pretty_name"] == "x.zarr"
    assert data["tags"] == ["audio", "audio-features", "melspectrogram"]
    assert data["configs"] == [{"config_name": "default", "data_files": ["x.zarr/**"]}]
    info = data["dataset_info"]
    array = {"array2_d": {"shape": [16, 100], "dtype": "float32"}}
    assert info["features"][:4] == [
        {"name": "features", "dtype": array},
        {"name": "label", "sequence": {"class_label": {"names": {"0": "owl", "1": "wren"}}}},
        {"name": "annotated", "sequence": "bool", "length": 2},
        {"name": "datetime", "dtype": "timestamp[ns, tz=UTC]"},
    ]
    assert {item["name"]: item.get("dtype") for item in info["features"][4:]} == {
        **{"n_samples": "int32", "recording": "int32", "start": "float64"},
        **{"valid": "bool", "split": "int8"},
    }
    window_bytes = 4 * 16 * 100 + 2 + 2 + 8 + 4 + 4 + 8 + 1 + 1
    parts = report["splits"]
    assert {part["name"] for part in info["splits"]} == {"train", "test_1"}
    assert [part["num_examples"] for part in info["splits"]] == [*parts.values()]
    assert [part["num_bytes"] for part in info["splits"]] == [
        n * window_bytes for n in parts.values()
    ]
    assert info["dataset_size"] == 12 * window_bytes
    assert info["download_size"] == report["bytes"]["stored"]


def test_the_text_of_a_card_says_what_the_store_knows(labelled: Path) -> None:
    report = findings_of(labelled)
    card = read(card_of(report))
    parts = report["splits"]
    assert f"| test-1 | {parts['test-1']} |" in section(card, "Splits")
    in_parts = [row["splits"] for row in report["labels"]["rows"]]
    assert f"| wren | 3 | 5 | 4 | {in_parts[0]['train']} |" in section(card, "Classes")
    assert "| features | frequency, time | 16 x 100 | float32 |" in section(
        card, "Dataset Structure"
    )
    assert report["open"].strip() in section(card, "Direct Use")
    source = section(card, "Source Data")
    assert "**Recordings:** 3\n" in source
    assert "2024-01-02 to 2024-01-02" in source
    made = section(card, "Data Collection and Processing")
    for text in ("| n\\_mels | 16 |", "| timezone | UTC |", f"| numpy | {np.__version__} |"):
        assert text in made
    assert report["fingerprint"] in made
    assert "matched: 3" in section(card, "Annotation process")
    limits = section(card, "Bias, Risks, and Limitations")
    assert "wren is present in 3 windows, owl in 1." in limits
    assert "In up to 4 windows it is not known" in limits
    assert "3 of 12 windows are cut short" in limits
    assert "23 of the 24 hours" in limits


@pytest.mark.parametrize(
    "title",
    [
        *("Dataset Description", "Dataset Sources", "Direct Use", "Out-of-Scope Use"),
        *("Curation Rationale", "Data Collection and Processing", "Recommendations"),
        *("Who are the source data producers?", "Annotation process", "Who are the annotators?"),
        *("Personal and Sensitive Information", "Bias, Risks, and Limitations"),
        *("Licensing Information", "Citation", "Dataset Card Contact"),
    ],
)
def test_what_only_people_know_is_a_named_blank(labelled: Path, title: str) -> None:
    assert BLANK in section(read(card_of(findings_of(labelled))), title)


def test_a_store_without_labels_has_a_card(write_wav: Write, tmp_path: Path) -> None:
    pl.extract(write_wav(seconds=3), tmp_path / "x.h5", pl.Waveform())
    card = read(card_of(findings_of(tmp_path / "x.h5")))
    data = card.data.to_dict()
    assert data["annotations_creators"] == ["no-annotation"]
    assert "task_categories" not in data
    assert data["configs"][0]["data_files"] == ["x.h5", "x.h5.parts/**"]
    assert data["dataset_info"]["features"][0] == {
        **{"name": "features", "sequence": "float32", "length": 8000}
    }
    assert [part["name"] for part in data["dataset_info"]["splits"]] == ["train"]
    assert "There is no split" in section(card, "Splits")
    assert "There are no labels" in section(card, "Annotation process")
    assert "Classes" not in card.text


@pytest.mark.parametrize(
    ("labels", "feature"),
    [
        (["owl", "wren", "owl"],
         {"dtype": {"class_label": {"names": {"0": "owl", "1": "wren"}}}}),
        ([3, 1, 2], {"dtype": "int64"}),
        (np.eye(3, 2), {"sequence": "float64", "length": 2}),
    ],
)  # fmt: skip
def test_labels_have_the_types_that_they_have(
    write_wav: Write, tmp_path: Path, labels: Any, feature: dict[str, Any]
) -> None:
    pl.extract(write_wav(seconds=3), tmp_path / "x.zarr", MEL, labels=labels)
    info = read(card_of(findings_of(tmp_path / "x.zarr"))).data.to_dict()["dataset_info"]
    assert info["features"][1] == {"name": "label", **feature}


def hostile(report: dict[str, Any]) -> dict[str, Any]:
    """The same report, with a name that wants to break the card wherever one may be."""
    made = copy.deepcopy(report)
    made |= dict.fromkeys(("path", "title", "units", "summary", "fingerprint"), HOSTILE)
    made["open"] = f"batches = pl.Batches({HOSTILE!r})\n```\n# out\n"
    made["splits"] = made["labels"]["splits"] = {HOSTILE: 6, HOSTILE + " ": 6}
    made["labels"]["classes"] = [HOSTILE, "no", "2024-01-01", "---", ""]
    for row in made["labels"]["rows"]:
        row |= {"name": HOSTILE, "splits": {HOSTILE: 1, HOSTILE + " ": 2}}
    made["labels"]["events"] = {HOSTILE: HOSTILE}
    made["feature"] = {"name": HOSTILE, "parameters": {HOSTILE: HOSTILE}}
    made["settings"] = made["versions"] = {HOSTILE: HOSTILE}
    made["windows"]["masked"] = made["windows"]["failed"] = 3
    return made


def test_hostile_names_stay_names(labelled: Path) -> None:
    report = findings_of(labelled)
    text = card_of(hostile(report))
    text.encode()  # has no half of a character
    card = read(text)
    info = card.data.to_dict()["dataset_info"]
    names = info["features"][1]["sequence"]["class_label"]["names"]
    assert [*names.values()][1:] == ["no", "2024-01-01", "---", ""]
    assert names["0"].startswith("<script>|`x`\\n---\\n[a](http://b.example) \\u202e\\ud800 ")
    splits = [part["name"] for part in info["splits"]]
    assert len({*splits}) == 2
    assert all(re.fullmatch(SPLIT_NAME, name) for name in splits)

    def shape(text: str) -> list[str]:
        tokens = MarkdownIt("commonmark", {"html": True}).enable("table").parse(text)
        inside = (child.type for token in tokens for child in token.children or ())
        return [*(token.type for token in tokens), *(set(inside) - {"text", "softbreak"})]

    plain = shape(read(card_of(report)).text)
    broken = shape(card.text)
    assert broken.count("table_open") == plain.count("table_open")
    assert broken.count("heading_open") == plain.count("heading_open")
    assert broken.count("fence") == plain.count("fence") == 1
    assert not {"html_block", "html_inline", "link_open", "image"} & {*broken}


def test_what_is_missing_is_said(labelled: Path) -> None:
    report = findings_of(labelled)
    report["windows"] |= {"masked": 2, "failed": 1, "pending": 3}
    report["failures"]["n_unreadable"] = 4
    report["values"] |= {"floor": 0.25, "clipped": 0.00001}
    report["coverage"]["rows"] *= 2
    report["coverage"]["rows"][0] = {**report["coverage"]["rows"][0], "seconds": 0}
    report["bytes"] = None
    report["labels"] |= {"rows": report["labels"]["rows"] * 40, "n_classes": 300}
    card = read(card_of(report))
    limits = section(card, "Bias, Risks, and Limitations")
    for text in (
        "2 of 12 windows could not be read",
        "1 of 12 windows could not be computed",
        "3 of 12 windows are not computed yet",
        "4 files could not be read",
        "25 % of the values are at the floor",
        "< 0.1 % of the values are clipped",
        "1 of 2 days between the first and the last have no recording",
    ):
        assert f"- {text}" in limits
    assert "Classes are not alike" not in limits  # the least is not among those that are listed
    assert "These are 50 of 300 classes" in section(card, "Classes")
    assert "download_size" not in card.data.to_dict()["dataset_info"]


def test_values_that_are_not_there_are_no_matter(labelled: Path) -> None:
    report = findings_of(labelled) | {"values": None, "coverage": None, "feature": {"name": "x"}}
    assert "Recorded" not in read(card_of(report)).text


@pytest.mark.parametrize(
    ("n", "word"),
    [(0, "n<1K"), (999, "n<1K"), (1000, "1K<n<10K"), (10**6, "1M<n<10M"), (10**12, "n>1T")],
)
def test_sizes_have_the_words_of_the_hub(n: int, word: str) -> None:
    assert size_category(n) == word


def test_the_verb_writes_a_card(cli: Cli, labelled: Path, tmp_path: Path) -> None:
    ended = cli("report", labelled, "--card", "README.md")
    assert (ended.code, ended.out, ended.err) == (0, "written: README.md\n", "")
    card = DatasetCard.load(tmp_path / "README.md")
    assert card.data.to_dict()["pretty_name"] == "x.zarr"
    ended = cli("report", labelled, "--card", "card.txt")
    assert ended.code == 2
    assert "it must be a file name ending in .md" in ended.err
