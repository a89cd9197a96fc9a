"""The tables of DCASE and DESED, with tabs or commas.

Strong labels have filename, onset, offset and event_label; older files have no header, which is
believed only if each line has a file's name with an ending and two numbers. Weak labels have
filename and event_labels, several with commas between them: each is of the whole recording. A row
with only a file's name says that nothing is to be heard in it. A confidence may follow.
"""

import re
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from pipeline.labels.cells import Cells
from pipeline.labels.events import TO_THE_END, Found, Rows, Span
from pipeline.labels.formats.format import Choices, Format
from pipeline.labels.formats.tables import Table
from pipeline.labels.text import NUMBER, Text

NAMES = ("filename", "file")
CONFIDENCE = ("confidence", "probability")
COLUMNS = {
    "file": NAMES,
    "start": ("onset",),
    "end": ("offset",),
    "label": ("event_label",),
    "confidence": CONFIDENCE,
}
SEPARATORS = ("\t", ",")
WITH_ENDING = re.compile(r".*\.[A-Za-z][A-Za-z0-9]{1,4}")
WITHOUT_HEADER = Table(COLUMNS, ("file", "start", "end"), of_nothing=True)
WITH_HEADER = replace(
    WITHOUT_HEADER, needs=("file", "start", "end", "label"), separators=SEPARATORS
)


class _Weak(Table):
    def found(self, cells: Cells) -> Iterator[Found]:
        names, confidence = cells.texts("file"), self.confidences(cells)
        self.recordings(cells)
        labels = [[*filter(None, map(str.strip, cell.split(",")))] for cell in cells.texts("label")]
        of = [i for i, some in enumerate(labels) for _ in some]
        yield from map(Span, dict.fromkeys(names[i] for i, some in enumerate(labels) if not some))
        yield Rows(
            [names[i] for i in of],
            np.zeros(len(of)),
            np.full(len(of), TO_THE_END),
            [label for some in labels for label in some],
            [cells.lines[i] for i in of],
            confidence=confidence[of],
        )


def _without_header(text: Text) -> tuple[str, list[str]] | None:
    """The separator and the columns of strong labels that have no header, if it is clear."""
    for separator in SEPARATORS:
        rows = [[cell.strip() for cell in line.split(separator)] for line in text.head]
        width = len(rows[0]) if rows else 0
        if width in (3, 4) and all(len(row) == width and _is_strong(row) for row in rows):
            return separator, ["filename", "onset", "offset", "event_label"]
    return None


def _is_strong(row: list[str]) -> bool:
    name, start, end, *label = row
    times = NUMBER.fullmatch(start) and NUMBER.fullmatch(end)
    return bool(times and WITH_ENDING.fullmatch(name)) and not any(map(NUMBER.fullmatch, label))


def _recognised(text: Text) -> bool:
    return WITH_HEADER.recognised(text) or _without_header(text) is not None


def _read(text: Text, choices: Choices) -> Iterator[Found]:
    found = None if WITH_HEADER.recognised(text) else _without_header(text)
    if found is None:
        yield from WITH_HEADER.read(text, choices)
    else:
        yield from WITHOUT_HEADER.read_columns(text, choices, *found)


STRONG = Format("dcase-strong", _recognised, _read)
OF_WEAK = {"file": NAMES, "label": ("event_labels",), "confidence": CONFIDENCE}
# A table that is said to be one may call its columns otherwise, as manifests do.
OF_ANY = {**OF_WEAK, "file": (*NAMES, "path"), "label": ("event_labels", "labels", "label")}
WEAK = Format(
    "dcase-weak",
    _Weak(OF_WEAK, ("file", "label"), separators=SEPARATORS).recognised,
    _Weak(OF_ANY, ("file",), separators=SEPARATORS).read,
)
