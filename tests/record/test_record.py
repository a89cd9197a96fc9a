"""The record: checksummed lines, of which the last on a region holds."""

from __future__ import annotations

import errno
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.paths.whole_files import StoredFile, put_in_place, stored_file, sweep
from pipeline.record.record import (
    Done,
    Entry,
    Failed,
    Forgotten,
    Made,
    Other,
    Record,
    Standing,
    _with_checksum,
)

IDENTITY = {"settings": {"window": 1.0}, "inputs": ""}


@pytest.fixture
def record(tmp_path: Path) -> Record:
    record = Record(tmp_path / ".record")
    record.begin(IDENTITY, {"regions": 9}, [["a.wav", 1, 2], ["ä b.wav", 3, 4]])
    return record


def a_file(number: int) -> StoredFile:
    return StoredFile(f"features/c.{number}", 100 + number, number)


ENTRIES: list[Entry] = [
    Made((a_file(100), a_file(101))),
    Done(0, (a_file(0),), (), 1.5, "node:1"),
    Done(3, (a_file(3), a_file(4)), ((12, 14, "a: b.wav", 'it is "damaged"\n'),), 0.1, "ü:2"),
    Failed(5, "no luck", 4),
    Forgotten((0, 3), made=True),
    Done(5, (a_file(5),), (), 0.0, "node:1"),
]


def test_what_is_added_is_read_in_order(record: Record) -> None:
    for entry in ENTRIES[:3]:
        record.add(entry)
    other = Record(record.folder)  # another run, whose lines come later
    for entry in ENTRIES[3:]:
        other.add(entry)
    assert list(Record(record.folder).entries()) == ENTRIES
    assert len(list((record.folder / "log").iterdir())) == 2
    assert [*record.inputs()] == [["a.wav", 1, 2], ["ä b.wav", 3, 4]]


def test_the_last_word_on_a_region_holds(record: Record) -> None:
    for entry in ENTRIES[:4]:
        record.add(entry)
    standing = record.standing(9)
    assert np.flatnonzero(standing.done).tolist() == [0, 3]
    assert [*standing.failed] == [5]
    assert standing.made == (a_file(100), a_file(101))
    for entry in ENTRIES[4:]:
        record.add(entry)
    standing = record.standing(9)
    assert np.flatnonzero(standing.done).tolist() == [5]
    assert (standing.failed, standing.made) == ({}, None)
    gone = record.standing(9, in_place=lambda entry: entry.files != (a_file(5),))
    assert not gone.done.any()


@given(at=st.integers(0, 10**6), bit=st.integers(0, 7), cut=st.booleans())
def test_a_damaged_line_is_no_line(
    tmp_path_factory: pytest.TempPathFactory, at: int, bit: int, cut: bool
) -> None:
    record = Record(tmp_path_factory.mktemp("record") / ".record")
    record.begin(IDENTITY, {}, [])
    for entry in ENTRIES:
        record.add(entry)
    (log,) = (record.folder / "log").iterdir()
    data = bytearray(log.read_bytes())
    at %= len(data)
    if cut:
        del data[at:]
    else:
        data[at] ^= 1 << bit
    log.write_bytes(data)
    read = [*record.entries()]
    expected = iter(ENTRIES)
    assert all(entry in expected for entry in read if entry is not None), "in order, unchanged"
    lost = len(ENTRIES) - sum(entry is not None for entry in read)
    assert lost <= (len(ENTRIES) if cut else 2)  # two where the end of a line is lost
    assert cut or lost >= 1


def test_each_line_is_json_that_a_person_can_read(record: Record) -> None:
    for entry in ENTRIES:
        record.add(entry)
    (log,) = (record.folder / "log").iterdir()
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["kind"] for line in lines] == [entry.kind for entry in ENTRIES]
    assert lines[1]["worker"] == "node:1"
    assert lines[1]["seconds"] == 1.5


def test_damage_of_what_the_job_is_is_noticed(record: Record) -> None:
    assert record.damaged() == [record.folder / "inputs.jsonl"]  # the digest given here is none
    job = record.folder / "job.json"
    job.write_text(job.read_text().replace("1.0", "2.0"))
    assert record.damaged() == [job]
    with pytest.raises(ValueError, match=r"job\.json is damaged"):
        record.job()
    job.unlink()
    assert record.damaged() == [job]


def test_nothing_is_recorded_where_the_record_is_gone(record: Record, tmp_path: Path) -> None:
    record.add(ENTRIES[0])
    record.folder.rename(tmp_path / "elsewhere")
    with pytest.raises(FileNotFoundError):
        record.add(ENTRIES[1])
    assert not record.folder.exists()
    record.begin(IDENTITY, {}, [])  # that of another job, at the same place
    with pytest.raises(FileNotFoundError):
        record.add(ENTRIES[1])
    assert [*record.entries()] == []


def test_runs_of_one_recording_are_told_as_one() -> None:
    standing = Standing.of(4)
    runs = [(8, 12, "a", "x"), (4, 8, "a", "y"), (12, 13, "b", "z"), (0, 2, "a", "w")]
    for region, run in enumerate(runs):
        standing.add(Done(region, (), (run,)))
    assert [*standing.masked()] == [(0, 2, "a", "w"), (4, 12, "a", "y"), (12, 13, "b", "z")]


def test_what_fails_leaves_nothing_and_what_was_killed_is_swept(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), put_in_place(tmp_path / "x") as aside:  # noqa: PT012
        aside.mkdir()
        (aside / "y").touch()
        raise ZeroDivisionError
    assert [*tmp_path.iterdir()] == []
    (tmp_path / ".x[1].123456.partial").mkdir()
    (tmp_path / ".x[1].123456.partial" / "y").touch()
    (tmp_path / ".z.123456.partial").touch()
    sweep(tmp_path, "x[1]")
    assert [path.name for path in tmp_path.iterdir()] == [".z.123456.partial"]
    sweep(tmp_path)
    assert [*tmp_path.iterdir()] == []


def test_what_failed_is_said_though_others_are_still_at_work_in_the_folder(tmp_path: Path) -> None:
    """As threads of zarr are when one of several writes has failed."""

    def work(folder: Path) -> None:
        for number in range(500):
            with suppress(OSError):
                (folder / f"{number % 50}").touch()
                (folder / f"{number % 50}").unlink()

    def fail() -> None:
        with ThreadPoolExecutor(1) as another, put_in_place(tmp_path / "x") as aside:
            aside.mkdir()
            for number in range(200):
                (aside / f"{number}.file").touch()
            another.submit(work, aside)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for _ in range(20):
        with pytest.raises(OSError, match="No space left"):
            fail()
    sweep(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_checksum_is_that_of_the_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"123456789")
    # The check value of CRC-32C (Castagnoli), as catalogues of CRCs give it.
    assert stored_file(path, "x") == StoredFile("x", 9, 0xE3069283)
    path.write_bytes(b"123456789" * 200_000)
    whole = stored_file(path, "x")
    path.write_bytes(b"123456789" * 199_999 + b"123456788")
    assert stored_file(path, "x").crc32c != whole.crc32c


def test_what_a_later_version_adds_to_lines_is_passed_over_and_kept(record: Record) -> None:
    done = ENTRIES[1]
    record.add(done)
    (log,) = (record.folder / "log").iterdir()
    line = json.loads(log.read_text())
    del line["check"]
    later = [line | {"mean": [1.5]}, {"kind": "merged", "time": 1.0, "of": [1, 2]}]
    with open(log, "ab") as file:
        file.writelines(map(_with_checksum, later))
    data = log.read_bytes()
    assert [*record.entries()] == [done, done, Other("merged")]
    assert np.flatnonzero(record.standing(9).done).tolist() == [0]
    assert record.standing(9).damaged_lines == 0
    record.drop_damaged_lines()
    assert log.read_bytes() == data


def test_of_shares_that_overlapped_what_was_done_later_holds(record: Record) -> None:
    early, late = Record(record.folder), Record(record.folder)
    early.add(Done(1, (a_file(1),)))
    late.add(Failed(0, "no luck", 1))  # its log is read last
    time.sleep(0.002)
    early.add(Done(0, (a_file(0),)))
    standing = record.standing(9)
    assert np.flatnonzero(standing.done).tolist() == [0, 1]
    assert standing.failed == {}
    time.sleep(0.002)
    late.add(Failed(1, "it is gone", 1))  # what was stored before may be gone
    assert np.flatnonzero(record.standing(9).done).tolist() == [0]


def test_what_is_forgotten_is_no_longer_said_to_be_masked(record: Record) -> None:
    record.add(ENTRIES[2])
    assert len([*record.standing(9).masked()]) == 1
    record.add(Forgotten((3,)))
    assert [*record.standing(9).masked()] == []


def test_half_a_line_is_taken_back_when_the_disk_is_full(
    record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    record.add(ENTRIES[1])
    real = os.write

    def full(handle: int, data: bytes) -> int:
        if len(data) < 50:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(handle, data[:-49])

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space left"):
            record.add(ENTRIES[2])
    record.add(ENTRIES[3])
    assert [*record.entries()] == [ENTRIES[1], ENTRIES[3]]


def test_damaged_lines_are_dropped_and_no_others(record: Record) -> None:
    for entry in ENTRIES[1:4]:
        record.add(entry)
    (log,) = (record.folder / "log").iterdir()
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(lines[0] + lines[1].replace(b"done", b"dome") + b"\n" + lines[2])
    assert record.standing(9).damaged_lines == 1
    record.drop_damaged_lines()
    assert log.read_bytes() == lines[0] + b"\n" + lines[2]
