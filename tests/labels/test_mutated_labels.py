"""Label files that are damaged are read, or refused by their name and line, and no row is lost."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import SHARED_AUDIO
from label_mutations import LABELS_IN, check, mutated
from table_examples import TEXTS as TABLES
from text_examples import COLUMNS, TEXTS

from pipeline.labels.formats.registry import recognise
from pipeline.labels.text import Text

EACH = 12  # mutations of a text
ALL = TABLES | TEXTS
CHOSEN = LABELS_IN | COLUMNS
REAL = [
    path
    for path in sorted(SHARED_AUDIO.glob("*/*"))
    if path.suffix in (".txt", ".csv", ".rttm", ".uem") and path.parent.name != "licences"
]


def look(name: str, data: bytes, count: int) -> None:
    for number in range(count):
        damage, damaged = mutated(data, number, seed=5)
        outcome, error = check(damaged, CHOSEN.get(name))
        assert outcome in ("read", "refused", "not recognised"), (
            f"{name}, {number} ({damage}): {outcome}: {error}\n{damaged[:2000]!r}"
        )


@pytest.mark.parametrize("name", ALL)
def test_damaged_texts_are_read_or_refused_and_no_row_is_lost(name: str) -> None:
    assert check(ALL[name], CHOSEN.get(name)) == ("read", "")
    look(name, ALL[name], EACH)


@pytest.mark.parametrize("path", REAL, ids=lambda path: path.name)
def test_damaged_real_files_are_read_or_refused_and_no_row_is_lost(path: Path) -> None:
    look(path.name, path.read_bytes(), EACH)


def test_most_real_files_of_labels_are_recognised(audio: Path) -> None:
    known = [path for path in REAL if recognise(Text(path.name, path.read_bytes())) is not None]
    assert len(known) >= 15


@pytest.mark.parametrize("separator", ",\t;")
def test_a_row_that_is_not_understood_is_never_passed_over(separator: str) -> None:
    table = "file,start,end,label\na,0,1,x\n,,,y\na,,1,\n".replace(",", separator).encode()
    outcome, error = check(table)
    assert outcome == "refused", error
