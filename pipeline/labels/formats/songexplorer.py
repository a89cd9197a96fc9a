"""Tables of SongExplorer, without a header: file, start, stop, kind, label, in samples of the file.

The kind says who made a row: annotated is by a person, the others by a program. The label is kept
as it stands, "not_mel-sine" too. Whether the stop belongs to the event is not said: it is taken as
the first sample behind it.
"""

from collections.abc import Iterator

import numpy as np

from pipeline.labels.cells import Cells
from pipeline.labels.events import Found, Rows, Unit
from pipeline.labels.formats.format import Choices, Format
from pipeline.labels.formats.tables import Table
from pipeline.labels.text import NUMBER, Text

HEADER = ("file", "start", "end", "kind", "label")
KINDS = ("annotated", "predicted", "detected", "missed", "todo")


class _SongExplorer(Table):
    def rows(self, cells: Cells) -> Rows:
        wrong = np.array([kind not in KINDS for kind in cells.texts("kind")])
        cells.fail_where(wrong, f"its kind is none of {', '.join(KINDS)}; correct it")
        return super().rows(cells)


TABLE = _SongExplorer({name: (name,) for name in HEADER}, HEADER, unit=Unit.SAMPLES)


def recognised(text: Text) -> bool:
    """Whether each of the first lines has two numbers and a kind."""
    rows = [[cell.strip() for cell in line.split(",")] for line in text.head]
    return bool(rows) and all(
        len(row) == len(HEADER) and all(map(NUMBER.fullmatch, row[1:3])) and row[3] in KINDS
        for row in rows
    )


def read(text: Text, choices: Choices) -> Iterator[Found]:
    """The events of a table."""
    yield from TABLE.read_columns(text, choices, ",", HEADER)


SONGEXPLORER = Format("songexplorer", recognised, read)
