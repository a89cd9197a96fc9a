"""Annotations made in APLOSE, or by tools that write its CSV.

With a filename, start_time and end_time are seconds in that file; without one, as of tools that
know only the clock, start_datetime and end_datetime hold, which have an offset from UTC. A row of
type WEAK, or with is_box 0 where there is no type, is of the whole file; one of type POINT ends
where it begins, whatever its end_time. A row without an annotation is a comment: somebody looked
at that file. A level of confidence is "1/3". What was corrected in a verification stands beside
the correction (is_update_of_id), and what several annotators say in rows of its own: all are kept.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

import numpy as np

from pipeline.labels.cells import Array, Cells
from pipeline.labels.events import TO_THE_END, Found, Span, Unit
from pipeline.labels.formats.tables import Table, table_format

COLUMNS = {
    "file": ("filename",),
    "start": ("start_time",),
    "end": ("end_time",),
    "begins": ("start_datetime",),
    "ends": ("end_datetime",),
    "label": ("annotation",),
    "low": ("start_frequency", "min_frequency"),
    "high": ("end_frequency", "max_frequency"),
    "confidence": ("confidence_indicator_level",),
    "type": ("type",),
    "is_box": ("is_box",),
}
WEAK, POINT = "WEAK", "POINT"
NO_BOX = ("0", "0.0", "FALSE")


class _Aplose(Table):
    def found(self, cells: Cells) -> Iterator[Found]:
        comment = np.array([not label for label in cells.texts("label")])
        if comment.any():
            names = dict.fromkeys(cells.of(comment).texts("file"))
            cells.fail_where(
                comment & np.array([not name for name in cells.texts("file")]),
                "it has neither an annotation nor a filename; give one of them",
            )
            yield from map(Span, names)
            cells = cells.of(~comment)
        columns = cells.texts("file"), cells.texts("start"), _types(cells)
        in_file = np.array(
            [
                bool(name and (start or kind == WEAK))
                for name, start, kind in zip(*columns, strict=True)
            ]
        )
        if in_file.any():
            yield self.rows(cells.of(in_file))
        if not in_file.all():
            yield _by_clock(self, cells.of(~in_file))

    def times(self, cells: Cells) -> tuple[Array, Array]:
        kinds, start, end = _types(cells), cells.numbers("start"), cells.numbers("end")
        weak, point = (np.array([kind == of for kind in kinds]) for of in (WEAK, POINT))
        start = np.where(weak & np.isnan(start), 0.0, start)
        end = np.where(weak & np.isnan(end), TO_THE_END, np.where(point, start, end))
        cells.fail_where(np.isnan(end), "it has no end_time; give one")
        cells.fail_where(end < start, "the event ends before it begins; correct it")
        return start, end

    def confidences(self, cells: Cells) -> Array:
        rows = zip(cells.lines, cells.texts("confidence"), strict=True)
        return np.array([_confidence(cells, line, cell) for line, cell in rows])


def _by_clock(table: _Aplose, cells: Cells) -> Found:
    begins, ends = _moments(cells, "begins"), _moments(cells, "ends")
    point = np.array([kind == POINT for kind in _types(cells)])
    ends = np.where(point, begins, ends)
    cells.fail_where(ends < begins, "the event ends before it begins; correct it")
    columns = {what: column for what, column in cells.columns.items() if what != "file"}
    columns |= dict.fromkeys(("start", "end"), ["0"] * len(cells))
    rows = table.rows(Cells(cells.text, cells.lines, columns))
    return replace(rows, start=begins, end=ends, unit=Unit.CLOCK)


def _types(cells: Cells) -> list[str]:
    return [
        kind.upper() or (WEAK if box.upper() in NO_BOX else "")
        for kind, box in zip(cells.texts("type"), cells.texts("is_box"), strict=True)
    ]


def _moments(cells: Cells, what: str) -> Array:
    name = COLUMNS[what][0]
    rows = zip(cells.lines, cells.texts(what), strict=True)
    return np.array([_moment(cells, line, name, cell) for line, cell in rows])


def _moment(cells: Cells, line: int, name: str, cell: str) -> float:
    try:
        moment = datetime.fromisoformat(cell)
        if moment.tzinfo is not None:
            return moment.timestamp()
    except (ValueError, OverflowError):
        pass
    cells.text.fail(
        line,
        f"it has no start_time in a file, and its {name} is {cell[:80]!r}; it must be a time with "
        f"an offset, as 2024-05-03T11:10:48.250+00:00",
    )


def _confidence(cells: Cells, line: int, cell: str) -> float:
    level, slash, most = cell.partition("/")
    if not cell:
        return np.nan
    value = cells.text.number(line, "the level of confidence", level)
    of = cells.text.number(line, "the most of the confidence", most) if slash else 1.0
    return value / of if of else np.nan


APLOSE = table_format("aplose", _Aplose(COLUMNS, ("label", "begins", "ends")))
