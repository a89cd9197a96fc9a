"""What is added to logs is read once, whole lines at a time."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from s3 import Bucket

from pipeline.paths import AnyPath, RemotePath
from pipeline.record.additions import RewrittenError
from pipeline.record.entries import Done, Entry, Failed
from pipeline.record.lines import parse
from pipeline.record.log import OBJECT_LINES
from pipeline.record.record import Record


def record_in(folder: AnyPath) -> Record:
    record = Record(folder)
    record.begin({"inputs": ""}, {"regions": 9}, [])
    return record


@pytest.fixture
def record(tmp_path: Path) -> Record:
    return record_in(tmp_path / ".record")


def entries(*regions: int) -> list[Entry]:
    return [Done(region, (), worker="ü:1") for region in regions]


def add(record: Record, *regions: int) -> None:
    for entry in entries(*regions):
        record.add(entry)


def check_that_each_is_read_once(record: Record) -> None:
    additions = record.additions()
    assert [*additions] == []
    add(record, 0, 1)
    assert [*additions] == entries(0, 1)
    assert [*additions] == []
    other = Record(record.folder)  # of another process, with a log of its own
    other.add(Failed(5, "no luck", 2))
    add(record, 2)
    assert [*additions] == [*entries(2), Failed(5, "no luck", 2)]
    assert [*additions] == []
    assert [*record.additions()] == [*record.entries()]


def test_each_line_is_read_once(record: Record) -> None:
    check_that_each_is_read_once(record)


def test_each_line_of_objects_is_read_once(s3: Bucket) -> None:
    record = record_in(RemotePath(f"{s3.url}/additions/.record"))
    check_that_each_is_read_once(record)
    additions = record.additions()
    before = len([*additions])
    add(record, *range(OBJECT_LINES))  # more than one object has
    assert [*additions] == entries(*range(OBJECT_LINES))
    assert len([*record.entries()]) == before + OBJECT_LINES


def test_only_what_is_new_is_read(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    add(record, *range(5))
    additions, parsed = record.additions(), list[bytes]()
    assert len([*additions]) == 5

    def noted(line: bytes) -> dict[str, Any] | None:
        parsed.append(line)
        return parse(line)

    monkeypatch.setattr("pipeline.record.additions.parse", noted)
    add(record, 5)
    assert ([*additions], len(parsed)) == (entries(5), 1)


def test_a_line_that_is_written_in_two_pieces_is_read_when_it_is_whole(record: Record) -> None:
    add(record, 0, 1)
    log = Path(os.fspath(record.log(record.logs()[0])))
    whole = log.read_bytes()
    log.write_bytes(whole[:-7])
    additions = record.additions()
    assert [*additions] == entries(0)
    log.write_bytes(whole)
    assert [*additions] == entries(1)


def test_a_damaged_line_is_none(record: Record) -> None:
    add(record, 0, 1)
    log = Path(os.fspath(record.log(record.logs()[0])))
    log.write_bytes(log.read_bytes().replace(b'"region":0', b'"region":7'))
    assert [*record.additions()] == [None, *entries(1)]


def test_that_a_log_was_rewritten_is_said(record: Record) -> None:
    add(record, 0, 1)
    additions = record.additions()
    assert len([*additions]) == 2
    log = Path(os.fspath(record.log(record.logs()[0])))
    log.write_bytes(log.read_bytes().splitlines(keepends=True)[1])
    with pytest.raises(RewrittenError):
        next(iter(additions))
    log.unlink()
    with pytest.raises(RewrittenError):
        next(iter(additions))
