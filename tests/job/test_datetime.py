"""The times of windows: what is stored, planned, said and refused."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import xarray
from conftest import SUFFIXES, Cli, Write, forget, planned, stored

import pipeline as pl
from pipeline.job.projection import count_files

RATE = 1000
NAMES = ("20250503_031300", "20250503_031310", "20250503_031400")
TEMPLATE = ("--datetime", "%Y%m%d_%H%M%S")
UTC = ("--timezone", "UTC")
SMALL = ("--frame-length", "20", "--n-fft", "64")


def chunk(name: bytes, data: bytes) -> bytes:
    return name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)


def add_guano(path: Path, timestamp: str, more: str = "") -> None:
    """Append a chunk as AudioMoth does, to the file itself and to the length in its header."""
    text = f"GUANO|Version:1.0\nMake:Open Acoustic Devices\nTimestamp:{timestamp}\n{more}"
    data = path.read_bytes() + chunk(b"guan", text.encode())
    path.write_bytes(data[:4] + struct.pack("<I", len(data) - 8) + data[8:])


@pytest.fixture
def folder(write_wav: Write, tmp_path: Path) -> Path:
    """Three recordings of 10 s: the second follows the first, the third after 40 s."""
    for i, name in enumerate(NAMES):
        write_wav(f"in/{name}.wav", 10, RATE, seed=i)
    return tmp_path / "in"


def opened(out: Path) -> xarray.Dataset:
    if out.suffix == ".zarr":
        return xarray.open_zarr(out)
    return xarray.open_dataset(out, engine="h5netcdf", phony_dims="sort")


def plan_of(cli: Cli, *arguments: object) -> dict[str, Any]:
    done = cli("plan", *arguments, "--out", "x.zarr", "--json")
    assert done.code == 0, done.err
    values: dict[str, Any] = json.loads(done.out)
    return values


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_windows_are_found_by_their_time(cli: Cli, folder: Path, suffix: str) -> None:
    out = folder.parent / f"x{suffix}"
    extract = ["extract", folder, "--out", out, *TEMPLATE, "--timezone", "+02:00", *SMALL]
    assert cli(*extract, "--window", "0.3").code == 0
    with opened(out) as dataset:
        assert dataset.datetime.dtype == "datetime64[ns]"
        assert "datetime" in dataset.features.coords
        assert dataset.utc_offset.values.tolist() == [7200] * 3
        assert dataset.datetime.values[1] - dataset.datetime.values[0] == np.timedelta64(300, "ms")
        minute = slice("2025-05-03T01:13:10", "2025-05-03T01:13:59")
        # In Zarr `recording` is a variable and a dimension, of which xarray makes a wrong index.
        of_windows = dataset.drop_dims("recording", errors="ignore")
        found = of_windows.swap_dims(window="datetime").sel(datetime=minute)
        assert found.recording.values.tolist() == [1] * 34
        assert np.array_equal(found.features.values, dataset.features.values[34:68])
        features = dataset.features.swap_dims(window="datetime").sel(datetime=minute)
        assert features.recording.values.tolist() == [1] * 34
    assert cli("verify", out).code == 0
    info = json.loads(cli("info", out, "--json").out)["datetime"]
    assert (info["first"], info["last"]) == ("2025-05-03T01:13:00Z", "2025-05-03T01:14:10Z")
    assert info["gaps"]["recordings"] == 1
    assert info["gaps"]["largest"] == [
        {"before": str(folder / f"{NAMES[2]}.wav"), "at": "2025-05-03T01:14:00Z", "seconds": 40.0}
    ]
    assert "gaps: recordings: 1, seconds: 40.0" in cli("info", out).out


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_job_that_is_gone_on_with_stores_the_same_times(
    cli: Cli, folder: Path, suffix: str
) -> None:
    out = folder.parent / f"x{suffix}"
    extract = ["extract", folder, "--out", out, *TEMPLATE, *UTC, *SMALL]
    assert cli(*extract).code == 0
    before = stored(out)
    forget(out)
    done = cli(*extract)
    assert done.code == 0
    assert stored(out) == before
    damaged = out / "datetime" / "c.0" if suffix == ".zarr" else out
    damaged.write_bytes(damaged.read_bytes()[:-3])
    assert cli("verify", out, "--repair").code == 1
    assert cli(*extract).code == 0
    assert stored(out) == before
    for other in (["--timezone", "+01:00"], [*UTC, "--datetime", "%Y%m%d_%H%M"]):
        refused = cli("extract", folder, "--out", out, *TEMPLATE, *other, *SMALL)
        assert refused.code == 2
        assert "holds another job: " in refused.err
        assert other[-2].removeprefix("--") in refused.err


def test_settings_and_run_yaml_say_one_template_or_several(cli: Cli, folder: Path) -> None:
    later = folder / "2025-05-03 0320.wav"
    (folder / f"{NAMES[2]}.wav").rename(later)
    other = "%Y-%m-%d %H%M"
    both = plan_of(cli, folder, *TEMPLATE, "--datetime", other, *UTC)["datetime"]
    assert (both["missing"]["recordings"], both["last"]) == (0, "2025-05-03T03:20:10Z")
    lines = f"sources: {folder}\ntimezone: +10:00\ndatetime:"
    run = folder.parent / "run.yaml"
    run.write_text(f'{lines} ["%Y%m%d_%H%M%S", "{other}"]\n')
    of_file = plan_of(cli, "--config", run)["datetime"]
    assert (of_file["missing"]["recordings"], of_file["last"]) == (0, "2025-05-02T17:20:10Z")
    run.write_text(f'{lines} "{TEMPLATE[1]}"\n')
    one = plan_of(cli, "--config", run)["datetime"]
    assert one["missing"] == {"recordings": 1, "paths": [str(later)]}
    assert plan_of(cli, "--config", run, "--datetime", other)["datetime"]["missing"] == {
        "recordings": 2,
        "paths": [str(folder / f"{name}.wav") for name in NAMES[:2]],
    }
    settings = pl.Settings(datetime=[other])
    assert settings.datetime == (other,)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (TEMPLATE, f"{NAMES[0]}.wav begins at 2025-05-03 03:13:00, and nothing says in which"),
        (["--datetime", "%y-%m-%d %H", *UTC], "no file has a time in its name as %y-%m-%d %H"),
        (["--datetime", "%Y"], "datetime is '%Y'; it must be text with codes of strptime"),
        ([*TEMPLATE, "--timezone", "Mars"], "timezone is 'Mars', which this machine does not"),
    ],
)
def test_times_that_are_not_clear_are_refused(
    cli: Cli, folder: Path, options: list[str], said: str
) -> None:
    refused = cli("plan", folder, "--out", "x.zarr", *options)
    assert refused.code == 2
    assert said in refused.err
    assert len(refused.err.splitlines()) == 1


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_manifest_says_times_and_some_may_be_missing(cli: Cli, folder: Path, suffix: str) -> None:
    table, out = folder / "all.csv", folder.parent / f"y{suffix}"
    a, b, c = (f"{name}.wav" for name in NAMES)
    table.write_text(f"path,datetime\n{a},2025-05-03T03:00:00+02:00\n{b},\n{c},2025-05-03 04:00\n")
    refused = cli("plan", table, "--out", "x.zarr")
    assert f"{c} begins at 2025-05-03 04:00:00, and nothing says" in refused.err
    assert cli("extract", table, "--out", out, *UTC, *SMALL).code == 0
    with opened(out) as dataset:
        times = dataset.datetime.values[::10]
        assert np.isnat(times).tolist() == [False, True, False]
        assert times[0] == np.datetime64("2025-05-03T01:00:00")
        assert dataset.utc_offset.values.tolist() == [7200, 0, 0]
    table.write_text(table.read_text().replace("04:00", "05:00"))
    changed = cli("extract", table, "--out", out, *UTC, *SMALL)
    assert "other times in the column datetime of a manifest" in changed.err
    named = plan_of(cli, table, *UTC, *TEMPLATE)["datetime"]  # what the cell leaves open
    assert named["missing"]["recordings"] == 0


def test_a_manifest_of_windows_says_one_time_a_recording(cli: Cli, folder: Path) -> None:
    table, rows = folder / "all.csv", f"{NAMES[0]}.wav,{{}},x\n" * 10
    table.write_text("path,datetime,label\n" + rows.format("2025-05-03T03:00Z", *[""] * 9))
    assert plan_of(cli, table)["datetime"]["first"] == "2025-05-03T03:00:00Z"
    other = [*[""] * 8, "2025-05-03T03:01Z"]
    table.write_text("path,datetime,label\n" + rows.format("2025-05-03T03:00Z", *other))
    refused = cli("plan", table, "--out", "x.zarr")
    assert (refused.code, "in row 10, and '2025-05-03T03:00Z' before" in refused.err) == (2, True)
    table.write_text(f"path,datetime\n{NAMES[0]}.wav,yesterday\n")
    assert (
        "the datetime 'yesterday' in row 1; write it as" in cli("plan", table, "--out", "x.h5").err
    )


def test_metadata_say_times_where_nothing_else_does(cli: Cli, folder: Path) -> None:
    none = plan_of(cli, folder)
    assert none["datetime"] is None
    for name in NAMES[:2]:
        add_guano(folder / f"{name}.wav", "2025-05-03 05:00:00", "TE:10\n")
    naive = plan_of(cli, folder)
    assert naive["datetime"]["without_timezone"] == 2
    assert naive["datetime"]["missing"]["recordings"] == 3
    assert naive["datetime"]["first"] is None
    assert naive["files"] == none["files"]
    zoned = plan_of(cli, folder, "--timezone", "America/New_York")["datetime"]
    assert (zoned["first"], zoned["without_timezone"]) == ("2025-05-03T09:00:00Z", 0)
    assert (zoned["missing"]["recordings"], zoned["time_expanded"]) == (1, 2)
    assert zoned["overlaps"]["recordings"] == 1
    assert zoned["overlaps"]["largest"][0]["seconds"] == 10


def test_name_and_metadata_that_differ_are_both_told(cli: Cli, folder: Path) -> None:
    paths = [folder / f"{name}.wav" for name in NAMES]
    add_guano(paths[0], "2025-05-03T03:13:01Z")  # a second is no difference
    add_guano(paths[1], "2025-05-03T05:13:10+02:00")
    add_guano(paths[2], "2025-05-03T03:14:00+02:00")
    found = plan_of(cli, folder, *TEMPLATE, *UTC)["datetime"]
    differing = {
        "path": str(paths[2]),
        "used": "2025-05-03T03:14:00Z",
        "metadata": "2025-05-03T01:14:00Z",
    }
    assert found["disagreements"] == {"recordings": 1, "largest": [differing]}
    assert cli("extract", folder, "--out", "x.h5", *TEMPLATE, *UTC, *SMALL).code == 0
    info = json.loads(cli("info", "x.h5", "--json").out)["datetime"]
    assert info["disagreements"]["largest"] == [differing]
    assert cli("pack", "x.h5", "one.h5").code == 0
    with h5py.File("x.h5") as file, h5py.File("one.h5") as packed:
        assert np.array_equal(file["datetime"][:], packed["datetime"][:])
    assert json.loads(cli("info", "one.h5", "--json").out)["datetime"] is None


def test_jobs_begun_before_keep_their_fingerprint(folder: Path) -> None:
    out = folder.parent / "x.zarr"
    files = count_files(planned(folder, out))
    add_guano(folder / f"{NAMES[0]}.wav", "2025-05-03T03:13:01Z")
    plain = planned(folder, out)
    assert plain.inputs.starts.known
    assert count_files(plain) == files + 4
    assert "datetime" not in plain.identity
    assert plain.identity["settings"].keys() & {"datetime", "timezone"} == set()
    named = planned(folder, out, datetime=TEMPLATE[1], timezone="UTC")
    assert plain.fingerprint != named.fingerprint


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("by", ["metadata", "manifest", "name"])
def test_the_times_of_a_lost_recording_stay(cli: Cli, folder: Path, suffix: str, by: str) -> None:
    out, lost = folder.parent / f"x{suffix}", folder / f"{NAMES[1]}.wav"
    sources, options = [folder], [*SMALL]
    if by == "metadata":
        for i, name in enumerate(NAMES):
            add_guano(folder / f"{name}.wav", f"2025-05-03T03:13:0{i}+01:00")
    elif by == "manifest":
        sources = [folder / "all.csv"]
        rows = (f"{name}.wav,2025-05-03T03:13:0{i}+01:00" for i, name in enumerate(NAMES))
        sources[0].write_text("\n".join(["path,datetime", *rows]))
    else:
        options += [*TEMPLATE, *UTC]
    extract = ["extract", *sources, "--out", out, *options]
    assert cli(*extract).code == 0
    with opened(out) as dataset:
        before = dataset.datetime.values.copy(), dataset.utc_offset.values.copy()
    info = json.loads(cli("info", out, "--json").out)["datetime"]
    forget(out)
    lost.unlink()
    assert cli(*extract, "--on-lost", "mask").code == 1
    if suffix == ".zarr":  # made anew, it has the same times
        (out / "start" / "zarr.json").write_text("{}")
        assert cli("verify", out, "--repair").code == 1
        assert cli(*extract, "--on-lost", "mask").code == 1
    with opened(out) as dataset:
        assert np.array_equal(dataset.datetime.values, before[0])
        assert np.array_equal(dataset.utc_offset.values, before[1])
    again = json.loads(cli("info", out, "--json").out)["datetime"]
    assert {**again, "disagreements": 0} == {**info, "disagreements": 0}


def test_features_may_not_have_an_axis_of_that_name(cli: Cli, folder: Path) -> None:
    class Own:
        shape = (2,)
        axes = (pl.Axis("datetime", np.arange(2), "s"),)

        def __call__(self, windows: Any) -> Any:
            return windows[:, :2]

    with pytest.raises(ValueError, match="an axis of the name datetime"):
        pl.extract(folder, folder.parent / "x.zarr", Own())


def test_real_recordings_have_times(cli: Cli, audio: Path) -> None:
    moths = plan_of(cli, audio / "blackbird-48k", *TEMPLATE, *UTC)["datetime"]
    assert moths["first"] == "2025-05-03T03:13:00Z"
    assert moths["disagreements"]["recordings"] == moths["missing"]["recordings"] == 0
    assert moths == plan_of(cli, audio / "blackbird-48k")["datetime"]
    water = audio / "hydrophone-8k-flac"
    found = plan_of(cli, water, "--datetime", "%y%m%d%H%M%S", *UTC)["datetime"]
    assert found["drift"] == {"recordings": 2, "largest_seconds": 0.0365}
    assert found["gaps"]["recordings"] == found["overlaps"]["recordings"] == 0
