"""Selection tables of Raven, and those that BirdNET writes for it: with tabs, and a header.

A selection may stand in the table once for each view: one row of each selection and channel is
taken, that of a spectrogram if there is one. `Begin Time (s)` counts from the start of all the
files that were open together, and in BirdNET's tables of those that had detections: where `File
Offset (s)` is given, it alone says where in its file a selection is. `Begin Path` is often of
another machine, with backslashes. Channels are counted from 1. People name the column of labels
as they like, and the columns of measurements are no labels. A table without rows says that
somebody looked and found nothing. Rows may be ragged, and the last cell have a tab behind it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from pipeline.labels.cells import Block, Cells, cells_of, columns_of, open_table
from pipeline.labels.events import Found, Rows, Span
from pipeline.labels.formats.format import Choices, Format
from pipeline.labels.formats.tables import Table, label_place, listed
from pipeline.labels.text import Text

COLUMNS = {
    "selection": ("selection",),
    "view": ("view",),
    "channel": ("channel",),
    "begin": ("begin time (s)",),
    "end": ("end time (s)",),
    "low": ("low freq (hz)",),
    "high": ("high freq (hz)",),
    "path": ("begin path",),
    "file": ("begin file",),
    "offset": ("file offset (s)",),
    "confidence": ("confidence", "score"),
}
LABELS = ("annotation", "annotations", "species", "common name", "tags", "label", "class")
OWN = ("begin ", "end ", "file ")  # how columns begin that Raven fills itself
HEADER = Table(COLUMNS, ("selection", "begin", "end"), separators=("\t",))
SPECTROGRAM = "spectrogram"
HELD_BYTES = 1 << 20
KEY = ("selection", "channel", "path", "file", "begin", "end")


@dataclass(frozen=True)
class _Selections:
    """A table that is gone through several times; a small one is held meanwhile."""

    text: Text
    line: int
    header: list[str]
    held: list[Block] | None

    @classmethod
    def of(cls, text: Text) -> _Selections:
        """The table in a file."""
        line, header, blocks = open_table(text, "\t")
        return cls(text, line, header, [*blocks] if len(text.data) <= HELD_BYTES else None)

    def cells(self, places: Mapping[str, int], n_cells: int | None = None) -> Iterator[Cells]:
        """The columns at some places, of which no more than the first `n_cells` are needed."""
        blocks = open_table(self.text, "\t", n_cells)[2] if self.held is None else iter(self.held)
        return cells_of(self.text, blocks, places, len(self.header))


@dataclass
class _Survey:
    """What only all rows of a table say."""

    files: set[str] = field(default_factory=set)
    views: set[str] = field(default_factory=set)
    filled: set[str] = field(default_factory=set)  # the columns that have anything in them
    worded: set[str] = field(default_factory=set)  # the columns that have more than numbers

    def add(self, cells: Cells, candidates: Sequence[str]) -> None:
        """Take in some rows."""
        self.files |= {*_names(cells)} - {""}
        self.views |= {*cells.texts("view")}
        for name in candidates:
            if name not in self.worded and any(cells.texts(name)):
                self.filled.add(name)
                if not _are_numbers(cells.texts(name)):
                    self.worded.add(name)

    def knows_labels(self, others: Sequence[str]) -> bool:
        """Whether the only known column of labels has some, so that the others do not matter."""
        known = [name for name in others if name in LABELS]
        return len(known) == 1 and known[0] in self.filled


def read(text: Text, choices: Choices) -> Iterator[Found]:
    """The selections of a table."""
    table = _Selections.of(text)
    line, header = table.line, table.header
    if not HEADER.fits(header):
        text.fail(
            line, "it lacks one of Selection, Begin Time (s) and End Time (s); export it anew"
        )
    places = columns_of(header, COLUMNS)
    names = [name.strip().lower() for name in header]
    taken = {name for group in COLUMNS.values() for name in group}
    others = [*dict.fromkeys(n for n in names if n and n not in taken and not n.startswith(OWN))]
    survey = _surveyed(table, places, others, choices)
    if survey is None:
        yield Span("")
        return
    places["label"] = _label_place(text, line, header, choices, _may_have_labels(others, survey))
    chosen = _chosen_views(table, places) if len(survey.views) > 1 else {}
    for cells in table.cells(places):
        if chosen:
            rows = zip(_keys(cells), cells.texts("view"), strict=True)
            cells = cells.of(np.array([chosen[key] == view for key, view in rows]))
        if len(cells):
            yield _rows(cells, "offset" in places or len(survey.files) > 1)


def _surveyed(
    table: _Selections, places: Mapping[str, int], others: Sequence[str], choices: Choices
) -> _Survey | None:
    """What only all rows say, as far as it is of use; None if there are no rows."""
    names = [name.strip().lower() for name in table.header]
    candidates = {name: names.index(name) for name in others}
    first = next(table.cells({**places, **candidates}), None)
    if first is None:
        return None
    survey = _Survey()
    survey.add(first, others)
    wanted = ("view",) if "offset" in places else ("view", "path", "file")
    looked_at = {what: places[what] for what in wanted if what in places}
    if choices.column is None and not survey.knows_labels(others):
        looked_at |= candidates
    if looked_at:
        n_cells = max(looked_at.values()) + 1
        for cells in table.cells(looked_at, n_cells):
            survey.add(cells, others)
    return survey


def _are_numbers(cells: Sequence[str]) -> bool:
    try:
        for _ in map(float, filter(None, cells)):
            pass
    except ValueError:
        return False
    return True


def _may_have_labels(others: Sequence[str], survey: _Survey) -> list[str]:
    """The columns that may have the labels: known ones, or else any that have words in them."""
    known = [name for name in others if name in LABELS]
    filled = [name for name in known if name in survey.filled]
    return filled or [name for name in others if name in survey.worded] or known[:1]


def _label_place(
    text: Text, line: int, header: Sequence[str], choices: Choices, found: Sequence[str]
) -> int:
    names = [name.strip().lower() for name in header]
    if choices.column is None and len(found) > 1:
        which = listed([header[names.index(name)] for name in found])
        text.fail(
            line, f"labels may be in {which}; pass label_column (--label-column), one of them"
        )
    return label_place(text, line, header, choices, names.index(found[0]) if found else None)


def _keys(cells: Cells) -> Iterator[tuple[str, ...]]:
    """What the rows of one selection have in common, in whichever view."""
    return zip(*(cells.texts(what) for what in KEY), strict=True)


def _chosen_views(table: _Selections, places: Mapping[str, int]) -> dict[tuple[str, ...], str]:
    """Of each selection the view that is taken."""
    chosen: dict[tuple[str, ...], str] = {}
    for cells in table.cells(places):
        for key, view in zip(_keys(cells), cells.texts("view"), strict=True):
            seen = chosen.setdefault(key, view)
            if SPECTROGRAM in view.lower() and SPECTROGRAM not in seen.lower():
                chosen[key] = view
    return chosen


def _names(cells: Cells) -> list[str]:
    if "path" not in cells.columns:
        return cells.texts("file")
    return [
        one or other for one, other in zip(cells.texts("path"), cells.texts("file"), strict=True)
    ]


def _rows(cells: Cells, needs_offset: bool) -> Rows:
    begin, end = cells.numbers("begin", "Begin Time"), cells.numbers("end", "End Time")
    cells.fail_where(np.isnan(begin + end), "the selection lacks its begin or its end; give both")
    cells.fail_where(end < begin, "the selection ends before it begins; correct it")
    offset, names = cells.numbers("offset", "File Offset"), _names(cells)
    named = np.array([bool(name) for name in names])
    cells.fail_where(
        np.isnan(offset) & named & needs_offset,
        "no File Offset (s) says where in its file the selection is; export the table with it",
    )
    start = np.where(np.isnan(offset), begin, offset)
    return Rows(
        names,
        start,
        start + (end - begin),
        cells.texts("label"),
        cells.lines,
        cells.numbers("low", "Low Freq"),
        cells.numbers("high", "High Freq"),
        cells.channels(1),
        cells.numbers("confidence"),
        sequence=np.where(named, begin - offset, np.nan),
    )


RAVEN = Format("raven", HEADER.recognised, read)
