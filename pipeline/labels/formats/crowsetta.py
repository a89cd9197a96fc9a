"""The CSV files of crowsetta.

``simple-seq`` has onset_s, offset_s and label, of a recording that the file's own name says.
``generic-seq`` has paths and numbers, too; its rows have seconds, or samples, or both, of which
seconds are taken. Its columns ``sequence`` and ``annotation`` are numbers, no labels. Where
crowsetta knows no recording, it writes "None".
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from pipeline.labels.cells import Cells
from pipeline.labels.events import Found, Unit
from pipeline.labels.formats.tables import Table, table_format

SIMPLE_COLUMNS = {"start": ("onset_s",), "end": ("offset_s",), "label": ("label",)}
COLUMNS = {
    **SIMPLE_COLUMNS,
    "first": ("onset_sample",),
    "last": ("offset_sample",),
    "file": ("notated_path",),
    "annotated_in": ("annot_path",),
}


class _Simple(Table):
    def fits(self, header: Sequence[str]) -> bool:
        return len(header) == len(self.columns) and super().fits(header)


class _Generic(Table):
    def found(self, cells: Cells) -> Iterator[Found]:
        start, first = cells.texts("start"), cells.texts("first")
        pairs = [*zip(start, first, strict=True)]
        cells.fail_where(
            np.array([not any(pair) for pair in pairs]),
            "neither onset_s nor onset_sample is given; give one of them in each row",
        )
        in_seconds = np.array([bool(one) for one in start])
        if in_seconds.any():
            yield self.rows(cells.of(in_seconds))
        if not in_seconds.all():
            rest = cells.of(~in_seconds)
            columns = {**rest.columns, "start": rest.texts("first"), "end": rest.texts("last")}
            in_samples = Cells(rest.text, rest.lines, columns)
            yield replace(self.rows(in_samples), unit=Unit.SAMPLES)

    def recordings(self, cells: Cells) -> Sequence[str] | str:
        return ["" if name == "None" else name for name in cells.texts("file")]


SIMPLE = table_format("crowsetta-simple", _Simple(SIMPLE_COLUMNS, ("start", "end", "label")))
GENERIC = table_format(
    "crowsetta-generic", _Generic(COLUMNS, ("file", "annotated_in", "label"), ("start", "first"))
)
