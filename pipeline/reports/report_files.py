"""The files of a report: the page, its values as JSON, and the card of a data set."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.paths import put_lines
from pipeline.reports.card import card_of
from pipeline.reports.findings import findings_of
from pipeline.reports.page import page_of


def _as_json(report: Mapping[str, Any]) -> str:
    return json.dumps(report, indent=1, allow_nan=False)


# What makes a file of each kind, and how its name may end.
KINDS = {
    "html": (page_of, (".html", ".htm")),
    "json": (_as_json, (".json",)),
    "card": (card_of, (".md",)),
}


def write_report(
    path: str | os.PathLike[str],
    html: Path | None = None,
    json_file: Path | None = None,
    audio: bool = False,
    card: Path | None = None,
) -> list[Path]:
    """Write what is known of a store to files of the kinds that are asked for; which they are.

    With `audio`, the page has the sounds of the windows that it shows.
    """
    asked = {"html": html, "json": json_file, "card": card}
    files = {kind: file for kind, file in asked.items() if file is not None}
    if not files:
        options = " or ".join(f"--{kind} FILE" for kind in KINDS)
        raise ValueError(f"no file was asked for; pass {options}")
    if audio and html is None:
        raise ValueError("audio is for a page, and none was asked for; pass --html FILE too")
    for kind, file in files.items():
        _check(kind, file)
    report = findings_of(path, audio)
    for kind, file in files.items():
        make, _ = KINDS[kind]
        put_lines(file, [make(report).encode(errors="backslashreplace")])
    return [*files.values()]


def _check(kind: str, file: Path) -> None:
    _, endings = KINDS[kind]
    if file.suffix.lower() not in endings or not file.absolute().parent.is_dir():
        text = f"it must be a file name ending in {' or '.join(endings)} in a folder"
        raise ValueError(f"{kind} is {str(file)!r}; {text}")
