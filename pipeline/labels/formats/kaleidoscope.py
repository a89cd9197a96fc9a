"""Clusters and identifications of Kaleidoscope, and what BirdNET writes for it.

A recording is INDIR, FOLDER and IN FILE together; OFFSET is a start here, with a DURATION, not an
end. TOP1DIST is a distance, the less the surer, so that it is no confidence; BirdNET writes that
as ``confidence``, and species as TOP1MATCH or, in older versions, as ``common_name``. What a
person corrected is in MANUAL ID, which need not be filled: it is taken only if it is chosen.
"""

from collections.abc import Sequence

from pipeline.labels.cells import Cells
from pipeline.labels.formats.tables import Table, table_format

COLUMNS = {
    "file": ("in file",),
    "folder": ("folder",),
    "within": ("indir",),
    "start": ("offset",),
    "duration": ("duration",),
    "label": ("top1match", "common_name"),
    "label_else": ("scientific_name",),
    "confidence": ("confidence",),
}


class _Kaleidoscope(Table):
    def recordings(self, cells: Cells) -> Sequence[str] | str:
        rows = zip(
            cells.texts("within"), cells.texts("folder"), super().recordings(cells), strict=True
        )
        return [_joined(*row) for row in rows]


def _joined(within: str, folder: str, name: str) -> str:
    separator = "\\" if "\\" in within else "/"
    parts = within.rstrip("\\/"), folder.strip("\\/"), name
    return ("" if parts[0] or not within else separator) + separator.join(filter(None, parts))


KALEIDOSCOPE = table_format(
    "kaleidoscope", _Kaleidoscope(COLUMNS, ("file", "start", "duration"), of_one=True)
)
