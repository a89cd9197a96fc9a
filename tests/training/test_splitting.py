"""Windows are split such that no group is cut, and each stays where it is when others come."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from conftest import SUFFIXES, Array
from hypothesis import given
from hypothesis import strategies as st

import pipeline as pl
from pipeline.store import open_finished, pack
from pipeline.training.recording_groups import StoredRecordings
from pipeline.training.splitting import Parts, Split

FEATURE = pl.Spectrogram(n_fft=32, frame_length=20)
PARTS = {"train": 0.6, "valid": 0.2, "test": 0.2}
TIMES = {"datetime": "%Y%m%d_%H%M%S", "timezone": "+02:00"}
FIRST = datetime(2025, 5, 3, 20)


def write(path: Path, seconds: float = 2.5) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = 0.1 * np.random.default_rng(0).standard_normal(round(seconds * 500))
    soundfile.write(path, samples, 500, subtype="FLOAT")
    return str(path)


def name_at(hours: float) -> str:
    return f"{FIRST + timedelta(hours=hours):%Y%m%d_%H%M%S}.wav"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three sites, each of eight recordings through the night."""
    for site, shift in (("east", 0.0), ("west", 0.1), ("north", 0.2)):
        for hour in range(8):
            write(tmp_path / "in" / site / name_at(hour + shift))
    return tmp_path / "in"


def extract(source: Any, out: Path, **settings: Any) -> Path:
    assert pl.extract(source, out, FEATURE, **{"window": 1.0, "hop": 0.5, **settings}).ok
    return out


def part_of(out: Path, found: Mapping[str, Array]) -> dict[str, str]:
    """The part of each recording that has windows, by path; each is in one only."""
    store = open_finished(out)
    recording, source = (store.coordinate(name) for name in ("recording", "source"))
    pairs = {
        (str(source[r]), name)
        for name, windows in found.items()
        for r in np.unique(recording[windows]).tolist()
    }
    assert len({path for path, _ in pairs}) == len(pairs) == len(np.unique(recording))
    return dict(pairs)


def expected(group: str, parts: Mapping[str, float] = PARTS, seed: int = 0) -> str:
    """By hand, with fractions that are exact."""
    hashed = blake2b(f"{seed} {group}".encode(), digest_size=8).hexdigest()
    place, end = Fraction(int(hashed, 16), 2**64), Fraction(0)
    for name, fraction in parts.items():
        end += Fraction(str(fraction))
        if place < end:
            return name
    raise AssertionError(group)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_window_is_in_one_part_and_no_group_is_cut(folder: Path, suffix: str) -> None:
    out = extract(folder, folder.parent / f"x{suffix}", **TIMES)
    groups = {
        "recording": lambda path: path.stem,
        "site": lambda path: path.parent.name,
        "day": lambda path: f"{path.stem[:4]}-{path.stem[4:6]}-{path.stem[6:8]}",
        "hour": lambda path: path.stem[9:11],
    }
    for by, name in groups.items():
        how: Any = by if by != "hour" else lambda path: Path(path).stem[9:11]
        for seed in range(3):
            found = pl.split(out, PARTS, how, seed)
            assert [*found] == [*PARTS]
            assert all(windows.dtype == np.int64 for windows in found.values())
            assert all((np.diff(windows) > 0).all() for windows in found.values())
            together = np.sort(np.concatenate([*found.values()]))
            assert np.array_equal(together, np.arange(24 * 4))
            for path, part in part_of(out, found).items():
                assert part == expected(name(Path(path)), seed=seed)


def test_the_day_is_that_on_the_spot(tmp_path: Path) -> None:
    for zone in ("UTC", "+00:30", "-10:00", "+14:00"):
        write(tmp_path / zone / "20250503_233000.wav", 3600)  # goes on for half of the next day
        out = extract(tmp_path / zone, tmp_path / f"{zone}.zarr", window=600, hop=600,
                      datetime=TIMES["datetime"], timezone=zone)  # fmt: skip
        groups = StoredRecordings.of(open_finished(out)).groups("day")
        assert groups == ["2025-05-03"]


def test_a_recording_keeps_its_part_when_others_come_or_all_are_moved(folder: Path) -> None:
    before = part_of(out := extract(folder, folder.parent / "a.zarr"), pl.split(out, PARTS))
    for hour in range(8, 30):
        write(folder / "attic" / name_at(hour))
        write(folder / "east" / name_at(hour - 60))
    moved = folder.rename(folder.parent / "moved")
    out = extract(moved, folder.parent / "b.zarr")
    after = part_of(out, pl.split(out, PARTS))
    assert len(after) == 24 + 44
    for path, part in before.items():
        assert after[path.replace("/in/", "/moved/")] == part


NAMES = st.text(st.characters(exclude_characters="\0/."), min_size=1, max_size=6)
PATHS = st.lists(st.tuples(NAMES, NAMES), min_size=1, max_size=12, unique=True)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Any:
    home = tmp_path_factory.mktemp("one")
    return open_finished(extract(write(home / "a.wav"), home / "x.zarr"))


@given(
    old=PATHS,
    new=PATHS,
    by=st.sampled_from(["recording", "site"]),
    seed=st.integers(0, 2**70),
    fractions=st.lists(st.integers(1, 9), min_size=1, max_size=5),
)
def test_a_part_hangs_on_nothing_but_group_seed_and_fractions(
    store: Any, old: Any, new: Any, by: Any, seed: int, fractions: list[int]
) -> None:
    parts = Parts.of({f"p{i}": f / sum(fractions) for i, f in enumerate(fractions)}, seed)

    def numbers(paths: list[tuple[str, str]]) -> dict[tuple[str, str], tuple[str | None, int]]:
        some = np.ones(len(paths), np.int64)
        texts = [f"/data/{site}/{name}.wav" for site, name in paths]
        groups = StoredRecordings(store, texts, some, some, some).groups(by)
        found = (parts.of_group(str(group)) for group in groups)
        return dict(zip(paths, zip(groups, found, strict=True), strict=True))

    before, after = numbers(old), numbers([*{*new, *old}])
    assert before.items() <= after.items()
    assert len({*after.values()}) == len({group for group, _ in after.values()})
    assert {number for _, number in after.values()} <= {*range(len(fractions))}


@given(group=st.text(), seed=st.integers(0, 99), more=st.floats(0, 0.3))
def test_a_part_that_grows_takes_from_the_next_only(group: str, seed: int, more: float) -> None:
    one = Parts.of({"a": 0.3, "b": 0.4, "c": 0.3}, seed).of_group(group)
    other = Parts.of({"a": 0.3 + more, "b": 0.4 - more, "c": 0.3}, seed).of_group(group)
    assert other == one or (one, other) == (1, 0)


def test_fractions_are_met_on_average_and_parts_stay_for_good() -> None:
    parts = Parts.of("train=.8,valid=.15, test=.05", 7)
    numbers = [parts.of_group(f"recording {i}") for i in range(20_000)]
    shares = np.bincount(numbers) / 20_000
    np.testing.assert_allclose(shares, [0.8, 0.15, 0.05], atol=0.012)
    assert "".join(map(str, numbers[:40])) == "0000000000000000120010000100010001000000"


def test_names_that_systems_write_otherwise_are_the_same(store: Any) -> None:
    some = np.ones(4, np.int64)
    paths = ["a/caf\u00e9.wav", "b/cafe\u0301.flac", "s3://x/b/.hidden", "plain"]
    groups = StoredRecordings(store, paths, some, some, some).groups("recording")
    assert groups == ["caf\u00e9", "caf\u00e9", ".hidden", "plain"]


def test_files_that_follow_each_other_are_apart_and_counted(tmp_path: Path) -> None:
    # In "a" each goes on where another ends, but after one, which ends early; in "b" none does.
    for i in range(12):
        write(tmp_path / "in" / "a" / f"{FIRST + timedelta(seconds=10 * i):%Y%m%d_%H%M%S}.wav",
              10.4 if i != 5 else 8)  # fmt: skip
        write(tmp_path / "in" / "b" / f"{FIRST + timedelta(seconds=12 * i):%Y%m%d_%H%M%S}.wav", 10)
    for tail in ("pad", "drop"):
        out = extract(tmp_path / "in", tmp_path / f"{tail}.zarr", tail=tail, hop=1.0, **TIMES)
        made = Split.of(open_finished(out), Parts.of(PARTS, 0), "recording")
        assert len({*made.groups}) == 12 + 10  # those at the same times have one name
        first = made.numbers[:12]
        differ = (np.diff(first) != 0)[[0, 1, 2, 3, 4, 6, 7, 8, 9, 10]]
        assert made.recordings.divided(made.numbers) == differ.sum() > 2
        by_day = Split.of(open_finished(out), Parts.of(PARTS, 0), "day")
        assert by_day.recordings.divided(by_day.numbers) == 0
    out = extract(tmp_path / "in", tmp_path / "undated.zarr")
    made = Split.of(open_finished(out), Parts.of(PARTS, 0), "recording")
    assert made.recordings.divided(made.numbers) == 0


def test_recordings_without_a_window_are_in_no_part(tmp_path: Path) -> None:
    for name, seconds in (("a", 3), ("short", 0.2), ("b", 3)):
        write(tmp_path / "in" / name / f"{name}.wav", seconds)
    out = extract(tmp_path / "in", tmp_path / "x.zarr", tail="drop", hop=1.0)
    found = pl.split(out, {"all": 1}, lambda path: {"a": "a", "b": "b"}[Path(path).stem])
    assert found["all"].tolist() == [*range(6)]
    assert Split.of(open_finished(out), Parts.of("x=1", 0), "site").counts() == {
        "x": {"fraction": 1.0, "windows": 6, "recordings": 2, "groups": 2}
    }


def test_batches_and_packed_copies_are_split_like_their_store(folder: Path) -> None:
    out = extract(folder, folder.parent / "x.h5")
    pack(out, folder.parent / "one.h5")
    whole = pl.split(out, PARTS)
    for other in (pl.Batches(out, 4), str(out), folder.parent / "one.h5"):
        again = pl.split(other, PARTS)
        assert all(np.array_equal(again[name], whole[name]) for name in PARTS)


@pytest.mark.parametrize("by", ["recording", "site", "day"])
def test_several_stores_are_split_in_their_joint_numbering(folder: Path, by: Any) -> None:
    outs = []
    for site in ("east", "west"):
        for hour in range(12, 16):  # of one name in both
            write(folder / site / name_at(hour))
        outs.append(extract(folder / site, folder.parent / f"{site}.zarr", **TIMES))
    whole = part_of(out := extract([folder / "east", folder / "west"], folder.parent / "x.h5",
                                   **TIMES), pl.split(out, PARTS, by))  # fmt: skip
    n_windows = [len(open_finished(one).coordinate("valid")) for one in outs]
    for several in (outs, tuple(map(str, outs)), pl.Batches(outs, 4, shuffle=True)):
        found = pl.split(several, PARTS, by)
        together = np.sort(np.concatenate([*found.values()]))
        assert np.array_equal(together, np.arange(sum(n_windows)))
        joined: dict[str, str] = {}
        for one, start, n in zip(outs, (0, n_windows[0]), n_windows, strict=True):
            of_one = {
                name: some[(some >= start) & (some < start + n)] - start
                for name, some in found.items()
            }
            joined |= part_of(one, of_one)
        assert joined == whole


def test_windows_of_several_stores_come_as_they_were_split(folder: Path) -> None:
    outs = [
        extract(folder / site, folder.parent / f"{site}.zarr", labels=np.full(8 * 4, i))
        for i, site in enumerate(("east", "west"))
    ]
    for windows in pl.split(outs, {"train": 0.5, "valid": 0.5}).values():
        (batch,) = pl.Batches(outs, 100, windows=windows)
        assert np.array_equal(batch[1], windows >= 8 * 4)


@pytest.mark.parametrize(
    ("parts", "how", "message"),
    [
        ({"a": 0.5, "b": 0.4}, {}, "the fractions of the parts sum to 0.9; they must sum to 1"),
        ({}, {}, "the fractions of the parts sum to 0; they must sum to 1"),
        ({"a": 1.5, "b": -0.5}, {}, "a, a part, is 1.5; it must be a number above 0 and up to 1"),
        ({"a": 1, "b": 0}, {}, "b, a part, is 0; it must be a number above 0 and up to 1"),
        ({"a": "1"}, {}, "a, a part, is '1'; it must be a number above 0"),
        ({"a b": 1}, {}, "a part has the name 'a b'; a name has letters, digits and"),
        ({3: 1}, {}, "a part has the name 3; a name has letters"),
        ({f"p{i}": 1 / 128 for i in range(128)}, {}, "there are 128 parts; at most 127"),
        (PARTS, {"by": "night"}, "by is 'night'; allowed are recording, site, day and a func"),
        (PARTS, {"by": None}, "by is None; allowed are recording"),
        (PARTS, {"seed": -1}, "seed is -1; it must be a whole number from 0"),
        (PARTS, {"by": "day"}, "nothing says on which day .*a.wav was recorded; pass another"),
        (PARTS, {"by": lambda path: 3}, "the group of .*a.wav is 3; 'by' must give its name, a"),
    ],
)
def test_what_cannot_be_split_is_told(store: Any, parts: Any, how: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pl.split(store.path, parts, **how)


def test_what_is_no_store_is_told(
    store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for none in (3, [], [3], [store.path, None]):
        with pytest.raises(ValueError, match=r"is to be split; pass the path of a store, or sever"):
            pl.split(none, PARTS)
    computed = pl.stream(write(tmp_path / "b.wav"), FEATURE)
    with pytest.raises(ValueError, match=r"Stream.* is to be split; pass the path of a store, or"):
        pl.split(computed, PARTS)
    with pytest.raises(FileNotFoundError, match="does not exist; extract makes it"):
        pl.split([store.path, tmp_path / "none.zarr"], PARTS)
    with pytest.raises(FileNotFoundError, match="does not exist; extract makes it"):
        pl.split(tmp_path / "none.zarr", PARTS)
    write(tmp_path / "a.wav")
    monkeypatch.chdir(tmp_path)
    extract("a.wav", Path("x.zarr"))
    with pytest.raises(ValueError, match=r"^a.wav names no folder, which would be its site; pass"):
        pl.split("x.zarr", PARTS, "site")


def test_real_recordings(audio: Path, tmp_path: Path) -> None:
    sources = [p for p in sorted(audio.rglob("*.wav")) if p.parent.name != "broken"][:6]
    out = tmp_path / "x.zarr"
    assert pl.extract(sources, out, pl.Waveform(), samplerate=1000).ok
    for path, part in part_of(out, pl.split(out, PARTS)).items():
        assert part == expected(Path(path).stem)


def test_times_are_utc_in_the_store(folder: Path) -> None:
    out = extract(folder / "east", folder.parent / "x.zarr", **TIMES)
    recordings = StoredRecordings.of(open_finished(out))
    first = FIRST.replace(tzinfo=UTC) - timedelta(hours=2)
    seconds = [first.timestamp() + 3600 * i for i in range(8)]
    assert (recordings.begins / 1e9).tolist() == seconds
    assert ((recordings.ends - recordings.begins) / 1e9).tolist() == [2.5] * 8
