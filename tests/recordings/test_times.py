"""When recordings began: as names, manifests and metadata write it, and as it is in UTC."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.recordings.starts import (
    NAT,
    Said,
    Starts,
    find_starts,
    no_stamps,
    stamp_row,
    window_times,
)
from pipeline.recordings.timeline import describe_timeline, iso
from pipeline.recordings.times import (
    Stamp,
    Template,
    check_templates,
    check_timezone,
    offsets_at,
    parse_iso,
    parse_metadata,
    zone_of,
)

SECOND = 10**9


def stamp(text: str, offset: int | None = None) -> Stamp:
    """The stamp of a clock that showed a time."""
    shown = np.datetime64(text, "ns").astype(np.int64)
    return Stamp(int(shown), offset)


COMPACT = "%Y%m%d_%H%M%S"
HOUR = 3600
# Names as the recorders of the field write them, and the template that says so.
NAMES = [
    (COMPACT, "20250503_031300.WAV", "2025-05-03T03:13:00", None),  # AudioMoth
    (COMPACT, "242A2604603691DD_20250503_031300T.WAV", "2025-05-03T03:13:00", None),  # triggered
    ("audiomoth-hex", "5B0D1C3F.WAV", "2018-05-29T09:24:15", 0),  # its first firmware
    (COMPACT, "SMU03125_0+1_20250503_031300.wav", "2025-05-03T03:13:00", None),  # Song Meter
    (COMPACT, "S4A01234_20250503_031300.wav", "2025-05-03T03:13:00", None),
    (f"{COMPACT}_%z", "Swift1_20250503_031300_-0430.wav", "2025-05-03T03:13:00", -4.5 * HOUR),
    ("%Y-%m-%d_T%H-%M-%S", "OWL_2025-05-03_T03-13-00.wav", "2025-05-03T03:13:00", None),
    (  # Frontier Labs: the second time is the end
        "%Y%m%dT%H%M%S.%f%z",
        "S20240815T091156.982648+1000_E20240815T111151.996388+1000_-12.34567+78.90102.flac",
        "2024-08-15T09:11:56.982648",
        10 * HOUR,
    ),
    ("%Y%m%dT%H%M%S%z", "20190401T000000+1000_REC.flac", "2019-04-01", 10 * HOUR),
    ("%y%m%d%H%M%S", "67416073.210610033655.flac", "2021-06-10T03:36:55", None),  # SoundTrap
    ("%y%m%d%H%M%S", "5.991231235959.wav", "1999-12-31T23:59:59", None),
    ("%Y%m%d_%H%M%S", "MARS_20250503_031360.wav", "2025-05-03T03:14:00", None),  # second of 60
    ("%Y%m%d_%H%M%S", "a_20241231_235960.wav", "2025-01-01", None),
    ("%Y%m%dT%H%M%S.%fZ", "20250503T031300.125Z.wav", "2025-05-03T03:13:00.125", None),
    ("%Y%m%dT%H%M%S%z", "20250503T031300Z.wav", "2025-05-03T03:13:00", 0),
    ("%Y-%-m-%-d %-H.%M", "2025-5-3 4.07 dawn.wav", "2025-05-03T04:07:00", None),
    ("%Y_%m_%d_%I-%M%p", "2025_05_03_12-05AM.wav", "2025-05-03T00:05:00", None),
    ("%d.%m.%Y %H", "50% 03.05.2025 16.wav", "2025-05-03T16", None),
    ("100%%_%Y%m%d%H", "100%_2025050316.wav", "2025-05-03T16", None),
]


@pytest.mark.parametrize(("template", "name", "shown", "offset"), NAMES)
def test_a_template_finds_the_time_in_a_name(
    template: str, name: str, shown: str, offset: float | None
) -> None:
    assert Template(template).find(name) == stamp(shown, None if offset is None else round(offset))


@pytest.mark.parametrize(
    ("template", "name"),
    [
        (COMPACT, "20250231_031300.wav"),  # there is no such day
        (COMPACT, "20250503_241300.wav"),
        ("%y%m%d%H%M%S", "20101212101709.wav"),  # not 12 of 14 digits
        ("%Y%m%d%H", "serial12025050304.wav"),
        (f"{COMPACT}.wav", "20250503_031300xwav"),  # a point is a point
        ("audiomoth-hex", "5B0D1C3F1.WAV"),
        ("audiomoth-hex", "a_5B0D1C3F.WAV"),
        ("%Y%m%d_%H%M%S%z", "20250503_031300+9900.wav"),
    ],
)
def test_what_is_no_time_is_not_taken_for_one(template: str, name: str) -> None:
    assert Template(template).find(name) is None


@given(
    when=st.datetimes(datetime(1970, 1, 1), datetime(2068, 12, 31)),
    offset=st.integers(-14 * 60, 14 * 60),
    code=st.sampled_from(["%Y%m%d", "%y%m%d", "%d-%m-%Y", "%m %y %d"]),
    clock=st.sampled_from(["T%H%M%S.%f", "_%I-%M-%S-%f%p", " %H:%M:%S,%f"]),
    around=st.tuples(*[st.text("abcXYZ_-+ ", max_size=8)] * 2),
)
def test_what_strftime_writes_is_found(
    when: datetime, offset: int, code: str, clock: str, around: tuple[str, str]
) -> None:
    template = f"{code}{clock}%z"
    written = when.replace(tzinfo=timezone(timedelta(minutes=offset))).strftime(template)
    found = Template(template).find(f"{around[0]}{written}{around[1]}.wav")
    assert found == stamp(when.isoformat(), offset * 60)


@pytest.mark.parametrize(
    "text",
    ["", "%Y%m%d", "%Y%m%d%H%Q", "%Y%m%d%H%", "%Y%Y%m%d%H", "%Y%m%d%I", "%Y%m%d%H%p", "%-Y%m%d%H"],
)
def test_templates_that_say_no_time_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="datetime is"):
        check_templates(text)


def test_templates_are_one_text_or_several() -> None:
    assert check_templates(None) is None
    assert check_templates(COMPACT) == (COMPACT,)
    assert check_templates([COMPACT, "audiomoth-hex"]) == (COMPACT, "audiomoth-hex")
    for wrong in ([], 5, [COMPACT, 5]):
        with pytest.raises(ValueError, match="datetime is"):
            check_templates(wrong)


@pytest.mark.parametrize("name", ["", "Mars/Base", "+25:00", "/etc/passwd", "Europe", 600])
def test_what_is_no_time_zone_is_refused(name: object) -> None:
    with pytest.raises(ValueError, match=r"timezone is .* must be UTC, "):
        check_timezone(name)


@pytest.mark.parametrize(
    ("text", "shown", "offset"),
    [
        ("2025-05-03T03:14:00Z", "2025-05-03T03:14:00", 0),
        ("2014-04-02 22:59:14-05:00", "2014-04-02T22:59:14", -5 * HOUR),  # with a space
        ("2014-04-02 22:59:14.125", "2014-04-02T22:59:14.125", None),
        ("2014-04-02T22:59:60", "2014-04-02T23:00:00", None),
        ("2014-04-02T22:59+0530", "2014-04-02T22:59:00", 5.5 * HOUR),
        ("2014-04-02T22:59:14.1234567894 +02", "2014-04-02T22:59:14.123456789", 2 * HOUR),
    ],
)
def test_iso_8601_is_read(text: str, shown: str, offset: float | None) -> None:
    assert parse_iso(text) == stamp(shown, None if offset is None else round(offset))


@pytest.mark.parametrize(
    "text", ["", "2025-05-03", "2025-13-03T03:14:00", "0000-00-00 00:00:00", "9999-05-03T03:14:00"]
)
def test_what_is_not_iso_8601_is_none(text: str) -> None:
    assert parse_iso(text) is None


# What `setHeaderComment` of AudioMoth-Firmware-Basic wrote, by version.
COMMENTS = [
    ("22:35:00 06/08/2017 by AudioMoth 0FE081F80FE081F0 at gain setting 2", 0),  # 1.0
    ("22:35:00 06/08/2017 (UTC) by AudioMoth 0FE081F80FE081F0 at gain setting 2", 0),  # 1.0.1
    ("22:35:00 06/08/2017 (UTC-5) by AudioMoth 0FE081F80FE081F0 at gain setting 2", -5),  # 1.2.1
    ("22:35:00 06/08/2017 (UTC+10) by AudioMoth 0FE081F80FE081F0 at gain setting 2", 10),
    ("22:35:00 06/08/2017 (UTC+5:30) by AudioMoth 0FE081F80FE081F0 at medium gain", 5.5),  # 1.2.2
    ("22:35:00 06/08/2017 (UTC-9:30) by AudioMoth 0FE081F80FE081F0 at medium gain", -9.5),
    ("22:35:00 06/08/2017 (UTC-0:30) by AudioMoth 0FE081F80FE081F0 during deployment 1", -0.5),
]


@pytest.mark.parametrize(("comment", "hours"), COMMENTS)
def test_the_comment_of_audiomoth_is_read(comment: str, hours: float) -> None:
    found = parse_metadata({"comment": f"Recorded at {comment}"})
    assert found == stamp("2017-08-06T22:35:00", round(hours * HOUR))


def test_metadata_that_say_an_offset_count_before_others() -> None:
    texts = {"guano": "2017-08-06T22:35:00", "wamd": "2017-08-06 22:35:01-05:00"}
    assert parse_metadata(texts) == stamp("2017-08-06T22:35:01", -5 * HOUR)
    assert parse_metadata({**texts, "wamd": "soon"}) == stamp("2017-08-06T22:35:00")
    assert parse_metadata({"comment": "Recorded at the pond"}) is None
    assert parse_metadata({}) is None


@given(
    moment=st.integers(0, 4_000_000_000),
    name=st.sampled_from(["Europe/Paris", "America/St_Johns", "Australia/Lord_Howe", "+05:45"]),
)
def test_a_moment_is_among_those_that_a_clock_may_have_shown(moment: int, name: str) -> None:
    local = datetime.fromtimestamp(moment, UTC).astimezone(zone_of(name))
    offset = local.utcoffset()
    assert offset is not None
    clock = stamp(local.replace(tzinfo=None).isoformat()).clock
    found = offsets_at(clock, zone_of(name))
    assert int(offset.total_seconds()) in found
    assert len(found) <= 2
    assert all(clock - o * SECOND == moment * SECOND for o in found if o == offset.total_seconds())


def stamps(*values: Stamp | None) -> Any:
    found = no_stamps(len(values))
    for i, value in enumerate(values):
        found[i] = stamp_row(value)
    return found


def times(starts: Starts) -> list[str | None]:
    return [None if start == NAT else iso(start) for start in starts.start]


def test_what_has_no_offset_is_of_the_time_zone() -> None:
    paths = ["x_20250103_120000.wav", "x_20250703_120000.wav"]
    summer = find_starts(paths, Said(), [COMPACT], "Europe/Paris")
    assert times(summer) == ["2025-01-03T11:00:00Z", "2025-07-03T10:00:00Z"]
    assert summer.offset.tolist() == [3600, 7200]
    fixed = find_starts(paths, Said(), [COMPACT], "+01:00")
    assert times(fixed) == ["2025-01-03T11:00:00Z", "2025-07-03T11:00:00Z"]
    with pytest.raises(ValueError, match=re.escape("2025-01-03 12:00:00, and nothing says in")):
        find_starts(paths, Said(), [COMPACT], None)
    said = find_starts(["x_20250103_120000+1000.wav"], Said(), [f"{COMPACT}%z"], "Europe/Paris")
    assert times(said) == ["2025-01-03T02:00:00Z"]
    assert said.offset.tolist() == [36000]


@pytest.mark.parametrize(
    ("name", "why"), [("20251026_023000", "twice"), ("20250330_023000", "not at all")]
)
def test_hours_at_which_clocks_are_changed_are_not_guessed(name: str, why: str) -> None:
    with pytest.raises(ValueError, match=f"{name}.wav begins .* comes {why} in Europe/Paris"):
        find_starts([f"{name}.wav"], Said(), [COMPACT], "Europe/Paris")
    metadata = Said(metadata=stamps(Template(COMPACT).find(name)))
    found = find_starts(["a.wav"], metadata, [], "Europe/Paris")
    assert (times(found), found.unzoned) == ([None], 1)


def test_several_templates_are_tried_in_turn() -> None:
    paths = ["a/20250503_031300.wav", "b/2025-05-03T05.wav", "20250101_000000/noted.wav"]
    found = find_starts(paths, Said(), [COMPACT, "%Y-%m-%dT%H"], "UTC")
    assert times(found) == ["2025-05-03T03:13:00Z", "2025-05-03T05:00:00Z", None]
    with pytest.raises(ValueError, match="no file has a time in its name as %y%m%d%H says"):
        find_starts(paths, Said(), ["%y%m%d%H"], "UTC")


def test_a_manifest_counts_before_names_and_these_before_metadata() -> None:
    paths = ["20250503_031300.wav", "20250503_031400.wav", "c.wav"]
    metadata = stamps(*[stamp("2025-05-03T03:15:00", 0)] * 3)
    given = stamps(stamp("2025-05-03T03:00:00", 3600), None, None)
    said = Said(given, metadata)
    assert times(find_starts(paths, said, [COMPACT], "UTC")) == [
        *("2025-05-03T02:00:00Z", "2025-05-03T03:14:00Z", None)
    ]
    assert times(find_starts(paths, said, [], None)) == [
        *("2025-05-03T02:00:00Z", "2025-05-03T03:15:00Z", "2025-05-03T03:15:00Z")
    ]
    assert np.array_equal(said.given, given)  # type: ignore[arg-type]


def test_what_is_remembered_of_lost_recordings_counts() -> None:
    remembered = np.array([NAT, 5 * SECOND]), np.array([0, 60], np.int32)
    said = Said(metadata=stamps(stamp("1970-01-01T00:00:09", 0), None))
    found = find_starts(["a", "b"], said, [], None, remembered)
    assert (times(found), found.offset.tolist()) == (
        ["1970-01-01T00:00:09Z", "1970-01-01T00:00:05Z"],
        [0, 60],
    )


def test_what_is_said_follows_its_recordings() -> None:
    said = Said(metadata=stamps(Stamp(1, 0), Stamp(2, None)), expanded=1)
    found = said.of(np.array([1, -1, 0]))
    assert np.array_equal(found.metadata, stamps(Stamp(2, None), None, Stamp(1, 0)))  # type: ignore[arg-type]
    assert (found.given, found.expanded) == (None, 1)


@given(
    start=st.integers(-(10**18), 4 * 10**18),
    sample=st.integers(0, 10**14),
    rate=st.integers(1, 10_000_000),
)
def test_times_of_samples_are_exact(start: int, sample: int, rate: int) -> None:
    sample = min(sample, 10**8 * rate)
    (found,) = window_times(np.array([start]), np.array([sample]), rate)
    assert abs(int(found) - start - Fraction(sample * SECOND, rate)) <= Fraction(1, 2)
    assert window_times(np.array([NAT]), np.array([sample]), rate).tolist() == [NAT]


def timeline(begins: list[int], lengths: list[int]) -> dict[str, Any]:
    """Of recordings of 1 kHz; in ms."""
    n, begin = len(begins), np.array(begins, np.int64) * 10**6
    starts = Starts(begin, np.zeros(n, np.int32), np.full(n, NAT), 0, 0)
    found = describe_timeline(starts, [str(i) for i in range(n)], np.array(lengths), 1000)
    assert found is not None
    return found


def test_gaps_overlaps_and_drift_are_told_apart() -> None:
    # 0 is followed by 3 with a drift, then 2 after a gap; 1 lies within 2.
    found = timeline([0, 9000, 7000, 2036], [2000, 2000, 6000, 2000])
    assert (found["first"], found["last"]) == ("1970-01-01T00:00:00Z", "1970-01-01T00:00:13Z")
    assert found["drift"] == {"recordings": 1, "largest_seconds": 0.036}
    gap = {"before": "2", "at": "1970-01-01T00:00:07Z", "seconds": 2.964}
    assert found["gaps"] == {"recordings": 1, "seconds": 2.964, "largest": [gap]}
    overlap = {"before": "1", "at": "1970-01-01T00:00:09Z", "seconds": 2.0}
    assert found["overlaps"] == {"recordings": 1, "seconds": 2.0, "largest": [overlap]}


@given(
    spans=st.lists(st.tuples(st.integers(0, 10**5), st.integers(1, 10**4)), min_size=1, max_size=20)
)
def test_a_timeline_accounts_for_all_time(spans: list[tuple[int, int]]) -> None:
    found = timeline(*map(list, zip(*spans, strict=True)))
    covered = np.zeros(120_000, np.bool_)
    for begin, length in spans:
        covered[begin : begin + length] = True
    inside = np.flatnonzero(covered)
    edges = np.flatnonzero(np.diff(inside) > 1000)  # at least a second between two samples
    holes = np.diff(inside)[edges] - 1
    assert found["gaps"]["recordings"] == len(holes)
    assert found["gaps"]["seconds"] == pytest.approx(holes.sum() / 1000)
    assert found["last"] == iso((int(inside[-1]) + 1) * 10**6)
    lengths = [place["seconds"] for place in found["gaps"]["largest"]]
    assert lengths == sorted(lengths, reverse=True)


def test_a_long_list_is_bounded() -> None:
    found = timeline(list(range(0, 10**6, 5000)), [1000] * 200)
    assert found["gaps"]["recordings"] == 199
    assert len(found["gaps"]["largest"]) == 100


def test_zones_of_the_machine_are_those_of_python() -> None:
    assert zone_of("Europe/Paris") == ZoneInfo("Europe/Paris")
