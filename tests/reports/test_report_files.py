"""The verb `report` writes a page and the same as values, and says so."""

from __future__ import annotations

import json
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from conftest import Cli, Write

import pipeline as pl


class Texts(HTMLParser):
    """Collects the titles of a page, and where it points to."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.titles: list[str] = []
        self.places: list[str] = []
        self.inside = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.inside = tag
        self.places += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        if self.inside in ("h1", "h2") and data.strip():
            self.titles.append(data.strip())


def test_a_page_and_its_values_are_written(cli: Cli, write_wav: Write, tmp_path: Path) -> None:
    pl.extract(write_wav("a.wav", 4), tmp_path / "x.zarr", labels=np.array([0, 1, 1, 0]))
    ended = cli("report", "x.zarr", "--html", "x.html", "--json", "x.json", "--audio")
    assert (ended.code, ended.out, ended.err) == (0, "written: x.html\nwritten: x.json\n", "")
    page = (tmp_path / "x.html").read_text()
    texts = Texts(page)
    assert texts.titles == [
        "x.zarr", "What it is", "Coverage in time", "Windows and recordings", "Classes", "Pictures",
        "Values and levels", "What failed", "Throughput", "How it was made", "How to open it",
    ]  # fmt: skip
    assert {place[:5] for place in texts.places} == {"#what", "data:"} | {
        place[:5] for place in texts.places if place.startswith("#")
    }
    found = json.loads((tmp_path / "x.json").read_text())
    assert found["windows"]["total"] == 4
    assert found["pictures"]["recordings"][0]["sound"] in page


def test_the_program_on_the_page_opens_the_store(
    cli: Cli, write_wav: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pl.extract(write_wav("a.wav", 4), tmp_path / "x.zarr", labels=np.array([0, 1, 1, 0]))
    cli("report", "x.zarr", "--json", "x.json")
    program = json.loads((tmp_path / "x.json").read_text())["open"]
    assert len(program.strip().splitlines()) == 5
    exec(program, {})
    assert capsys.readouterr().out == "(4, 257, 400) (4,)\n"


def test_without_matplotlib_the_page_says_what_is_missing(
    cli: Cli, write_wav: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pl.extract(write_wav("a.wav", 2), tmp_path / "x.zarr")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert cli("report", "x.zarr", "--html", "x.html").code == 0
    assert "install dask-audio-pipeline[plot]" in (tmp_path / "x.html").read_text()
