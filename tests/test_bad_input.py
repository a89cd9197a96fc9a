"""What is wrong is refused in one clear sentence; unreadable audio is reported, not hidden."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import distributed
import h5py
import numpy as np
import pytest
import zarr
from conftest import SUFFIXES, Cli, Write, features_of, forget, save_hdf5, snapshot

import pipeline as pl
from pipeline.cluster.entry import Cluster
from pipeline.job.extraction import run
from pipeline.job.plan import Plan
from pipeline.settings import Settings


@pytest.fixture
def refuses(cli: Cli, tmp_path: Path) -> Callable[..., str]:
    """Runs a command that must be refused; the sentence that says why."""

    def check(*arguments: object) -> str:
        before = snapshot(tmp_path)
        result = cli(*arguments)
        assert (result.code, result.out) == (2, "")
        assert re.fullmatch(r"error: [^\n]+\n", result.err), result.err
        assert not re.search("Traceback|Usage:", result.err)
        assert snapshot(tmp_path) == before
        return result.err

    return check


Refuses = Callable[..., str]


@pytest.fixture
def material(cli: Cli, write_wav: Write, tmp_path: Path) -> None:
    """Good and bad sources, labels and stores, in the test's folder."""
    assert Path.cwd() == tmp_path  # the fixture `cli` went there
    write_wav("a.wav", 3)
    write_wav("b.wav", 1, samplerate=16000)
    write_wav("stereo.wav", 1, channels=2)
    write_wav("rates/a.wav", 1)
    write_wav("rates/b.wav", 1, samplerate=16000)
    write_wav("short.wav", 0.5)
    for folder in ("empty", "empty.zarr", "nothing", "plain.zarr"):
        (tmp_path / folder).mkdir()
    for folder in ("nothing", "plain.zarr"):
        (tmp_path / folder / "notes.txt").write_text("no audio")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "text.wav").write_text("this is no audio")
    np.save(tmp_path / "audio.npy", np.zeros((8000, 1), np.float32))
    np.save(tmp_path / "two.npy", [0, 1])
    (tmp_path / "two.csv").write_text("label\nyes\nno\n")
    (tmp_path / "columns.csv").write_text("x,y\n1,2\n")
    (tmp_path / "semicolons.csv").write_text("path;label\na.wav;yes\n")
    (tmp_path / "nul.csv").write_text("path\na\0.wav\n")
    (tmp_path / "text.h5").write_text("no HDF5")
    (tmp_path / "run.yaml").write_text("out: [x.zarr")
    with h5py.File(tmp_path / "foreign.h5", "w") as file:
        file["data"] = [1, 2, 3]
    zarr.create_group(tmp_path / "foreign.zarr").create_array("data", shape=3, dtype="f4")


WRONG = {
    # what is found at the sources
    "extract missing.wav --out x.zarr": "missing.wav does not exist",
    "extract a.wav missing.wav --out x.zarr": "missing.wav does not exist",
    "extract *.flac --out x.zarr": r"nothing fits the glob \*\.flac",
    "extract empty --out x.zarr": "empty is a folder with no audio",
    "extract nothing --out x.zarr": "nothing is a folder with no audio",
    "extract broken --out x.zarr": r"broken/text\.wav: libsndfile",
    "extract broken/text.wav --out x.zarr": "can be read as audio",
    "extract columns.csv --out x.zarr": "it has x, y, but no column 'path'",
    "extract semicolons.csv --out x.zarr": "semicolons.csv .* by semicolons; save it with",
    "extract nul.csv --out x.zarr": "nul.csv is not a CSV file .*it has a NUL character in line 2",
    "extract s3:// --out x.zarr": "s3:// names no bucket; give s3://bucket/folder/",
    "extract a.wav --out s3://": "s3:// names no bucket",
    "extract https:// --out x.zarr": "https:// names no server; give https://server/file",
    "extract a.wav --out x.zarr --labels semicolons.csv": "separated by semicolons; save it with",
    "extract a.wav a.wav --out x.zarr": "a.wav is among the sources 2 times",
    "extract audio.npy --out x.zarr": "audio.npy is .*--samplerate",
    "extract rates --out x.zarr": "rates/a.wav has 8000 Hz, rates/b.wav has 16000 .*--samplerate",
    "extract a.wav b.wav --out x.h5": "a.wav has 8000 Hz, b.wav has 16000 Hz",
    "extract short.wav --out x.h5 --tail drop": "no recording is as long as a window of 1.0 s",
    # watching
    "status nowhere.zarr --watch": "nowhere.zarr does not exist",
    "status foreign.zarr --watch": "foreign.zarr",
    "status a.wav --watch": "a.wav",
    "status nowhere.zarr --watch --every 0": "every is 0.0; it must be .* seconds, from 0.1 to",
    "status nowhere.zarr --watch --every nan": "every is nan; it must be .* seconds",
    "status nowhere.zarr --watch --every soon": "'--every': 'soon' is not a valid",
    "status nowhere.zarr --every 1": "--every says how often to look; pass --watch",
    # options and their values
    "extract --out x.zarr": "sources is missing; pass SOURCE",
    "extract a.wav": "out is missing; pass --out OUT",
    "extract stereo.wav --out x.zarr --channel 5": "channel 5 .*stereo.wav has 2; .*0 to 1, or mix",
    "extract a.wav --out x.zarr --channel foo": "channel is 'foo'; .* from 0, or 'mix'",
    "extract a.wav --out x.zarr --channel -1": "channel is -1",
    "extract a.wav --out x.zarr --samplerate 0": "samplerate is 0; it must be .*above 0",
    "extract a.wav --out x.zarr --samplerate -1": "samplerate is -1",
    "extract a.wav --out x.zarr --samplerate 8k": "--samplerate.*8k",
    "extract a.wav --out x.zarr --dtype float64": "allowed are float32, float16, uint8 and int16",
    "extract a.wav --out x.zarr --limits 0 1": "limits is .* float32, which needs none",
    "extract a.wav --out x.zarr --dtype uint8 --limits 2 1": "two .* the lower one first",
    "extract a.wav --out x.zarr --dtype uint8 --limits 2": "'--limits' requires 2 arguments",
    "extract a.wav --out x.zarr --dtype uint8 --limits 0 inf": "it must be two finite numbers",
    "extract a.wav --out x.zarr --dtype uint8 --output power": "gives powers, .* pass limits",
    "extract a.wav --out x.zarr --dtype int16 --feature indices": "Indices has no limits; pass",
    "extract a.wav --out x.zarr --compression gzip": "allowed are none, lz4 and zstd",
    "extract a.wav --out x.h5 --compression lz4": "pass a path ending in .zarr",
    "extract a.wav --out x.zarr --tail keep": "tail is 'keep'; allowed are pad and drop",
    "extract a.wav --out x.zarr --on-error skip": "on_error is 'skip'; allowed are mask and stop",
    "extract a.wav --out x.zarr --n-fft 19": "n_fft is 19, less than the 20 samples of a frame",
    "extract a.wav --out x.zarr --n-fft 1.5": "n_fft is 1.5; it must be a whole number",
    "extract a.wav --out x.zarr --frame-length 0": "frame_length is 0",
    "extract a.wav --out x.zarr --hop-length -3": "hop_length is -3",
    "extract a.wav --out x.zarr --taper square": "taper is 'square'",
    "extract a.wav --out x.zarr --scaling loud": "scaling is 'loud'; allowed are density and",
    "extract a.wav --out x.zarr --log-offset 0": "log_offset is 0; it must be a number above 0",
    "extract a.wav --out x.zarr --log-offset 1e-300": "log_offset is 1e-300; .* from 1e-30 to 1e",
    "extract a.wav --out x.zarr --log-offset 1e300": "log_offset is 1e.?300; .* from 1e-30 to 1e",
    "extract a.wav --out x.zarr --window 1e300": "window is 1e.?300 s; .* less than",
    "extract a.wav --out x.zarr --hop 1e17": "hop is 1e.?17 s; .* less than",
    f"extract a.wav --out x.zarr --samplerate {'9' * 23}": "samplerate is 9{23}; .*up to 10000000",
    f"extract a.wav --out x.zarr --hop-length {'9' * 20}": "hop_length is 9{20}; .* below",
    "extract a.wav --out x.zarr --feature .rel:c": "feature .rel:c cannot be imported",
    "extract a.wav --out x.zarr --feature spectrogam": "did you mean 'spectrogram'",
    "extract a.wav --out x.zarr --feature no.such:Thing": "no.such:Thing cannot be imported",
    "extract a.wav --out x.zarr --feature os:getcwd": "os:getcwd is .* which lacks shape and",
    "extract a.wav --out x.zarr --labels two.npy": "two.npy has 2 labels, but .* has 3 windows",
    "extract a.wav --out x.zarr --labels two.csv": "two.csv has 2 labels, but .* has 3 windows",
    "extract a.wav --out x.zarr --labels columns.csv": "none is named 'label'",
    "extract a.wav --out x.zarr --labels no.npy": "no.npy does not exist",
    "extract a.wav --out x.zarr --config no.yaml": "no.yaml does not exist",
    "extract a.wav --config run.yaml": "run.yaml is not valid YAML at line 1",
    "extract a.wav --out x.zarr --cluster no.yaml": "no.yaml does not exist",
    "extract a.wav --out x.zarr --cluster no.yaml:name": "no.yaml does not exist",
    "extract a.wav --out x.zarr --widnow 2": "No such option.*--widnow.*--window",
    "extract a.wav --out x.zarr --out": "'--out' requires an argument",
    "compute a.wav": "No such command 'compute'",
    "plan a.wav --out x.zarr --window 1e5": "threads need .* GB, but the machine has",
    **{
        f"extract a.wav --out x.zarr --{name} {value}": f"{name}.* (must be|is not a valid)"
        for name in ("window", "hop")
        for value in ("0", "-1", "nan", "inf", "-inf", "1e-9", "long")
    },
    # where the store is to be
    "extract a.wav --out x.txt": r"x.txt has the ending '.txt'; a store ends in .zarr, .h5, .hdf5",
    "extract a.wav --out store": "store has the ending ''; a store ends in",
    "extract a.wav --out a.wav/x.zarr": "a.wav/x.zarr cannot be made, for .*a.wav is not a folder",
    "extract a.wav --out a.wav/deep/x.h5": "a.wav/deep/x.h5 cannot be made",
    "extract a.wav --out /proc/x.zarr": "/proc",
    "extract a.wav --out /proc/x.h5": "/proc",
    **{
        f"extract a.wav --out {there}{option}": f"{there} exists, but is not a store that extract"
        for there in ("plain.zarr", "empty.zarr", "foreign.zarr", "text.h5", "foreign.h5")
        for option in ("", " --overwrite")
    },
    **{
        f"plan a.wav --out {there}": f"{there} exists, but is not a store that extract made"
        for there in ("plain.zarr", "empty.zarr", "foreign.zarr", "text.h5", "foreign.h5")
    },
    # the verbs that read a store
    **{
        f"{verb} {there}": said
        for verb in ("info", "batches --batch-size 4", "plot --window 0 --png x.png")
        for there, said in (
            ("no.zarr", "no.zarr does not exist"),
            ("no.h5", "no.h5 does not exist"),
            ("a.wav", "a.wav has the ending '.wav'"),
            ("foreign.zarr", "not a store"),
            ("foreign.h5", "not a store"),
        )
    },
    "info": "Missing argument 'OUT'",
    "batches no.zarr": "Missing option '--batch-size'",
    "plot no.zarr --window 0": "Pass one of --png and --svg.",
    "plot no.zarr --window 0 --png x.png --svg x.svg": "Pass one of --png and --svg.",
    "plot no.zarr --png x.png": "Pass one of --window, --rec",
    "plot no.zarr --window 0 --recording 0 --png x.png": "Pass one of --window, --rec",
    "demo --hours 0": "hours is 0.0; it must be from 0.0002778, a second",
    **{
        f"demo --hours {hours} --out made": f"hours is {said}; it must be from .* to 1000"
        for hours, said in (("inf", "inf"), ("nan", "nan"), ("1e7", "10000000.0"))
    },
    "demo --hours long": "--hours.*'long'",
}


@pytest.mark.usefixtures("material")
@pytest.mark.parametrize("command", WRONG)
def test_what_is_wrong_is_refused_in_one_sentence_and_nothing_is_touched(
    refuses: Refuses, command: str
) -> None:
    assert re.search(WRONG[command], refuses(*command.split()))


OTHER_JOBS = {
    "a.wav --window 0.5": "window was 1.0, and is now 0.5",
    "a.wav --hop 0.5": "hop was 1.0, and is now 0.5",
    "a.wav --dtype float16": "dtype was float32, and is now float16",
    "a.wav --channel mix": "channel was 0, and is now mix",
    "a.wav --n-fft 256": "n_fft was 512, and is now 256",
    "a.wav --labels labels.npy": "other labels",
    "a.wav b.wav": "b.wav is new among the sources",
    "b.wav": "a.wav is no longer there|b.wav is new",
}


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("job", OTHER_JOBS)
def test_another_job_is_refused_and_the_store_is_left_alone(
    cli: Cli, refuses: Refuses, write_wav: Write, suffix: str, job: str
) -> None:
    write_wav("a.wav")
    write_wav("b.wav")
    np.save("labels.npy", [0, 1, 0])
    cli("extract", "a.wav", "--out", "x" + suffix)
    for verb in ("plan", "extract"):
        said = refuses(verb, *job.split(), "--out", "x" + suffix)
        assert re.search(f"x{suffix} holds another job: .*({OTHER_JOBS[job]}).*--overwrite", said)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_changed_input_is_refused_by_name_until_overwrite_replaces_the_store(
    cli: Cli, refuses: Refuses, write_wav: Write, suffix: str
) -> None:
    write_wav("a.wav")
    write_wav("b.wav")
    job = ("extract", "a.wav", "b.wav", "--out", "x" + suffix)
    cli(*job)
    write_wav("b.wav", seconds=4, seed=1)
    assert f"x{suffix} holds another job: b.wav was changed" in refuses(*job)
    assert "7 windows in 1 regions, 1 computed now" in cli(*job, "--overwrite").err
    cli("extract", "a.wav", "b.wav", "--out", "fresh" + suffix)
    np.testing.assert_array_equal(
        features_of(Path("x" + suffix)), features_of(Path("fresh" + suffix))
    )
    assert "0 computed now" in cli(*job).err
    again = cli(*job, "--overwrite").err
    assert f"x{suffix} is of this very job, so nothing is removed, and it goes on where" in again
    assert "0 computed now" in again


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_batches_and_plot_refuse_what_a_store_has_not(
    cli: Cli, refuses: Refuses, write_wav: Write, suffix: str
) -> None:
    write_wav("a.wav", 3)
    out = "x" + suffix
    cli("extract", "a.wav", "--out", out)
    for size in (0, -1):
        assert f"batch_size is {size}; it must be" in refuses("batches", out, "--batch-size", size)
    assert "seed is -1; it must be" in refuses("batches", out, "--batch-size", 1, "--seed", -1)
    shuffled = ("batches", out, "--batch-size", 1, "--shuffle", "--seed", -1)
    assert "seed is -1; it must be" in refuses(*shuffled)
    assert "--limit" in refuses("batches", out, "--batch-size", 1, "--limit", -1)
    for window in (3, -1):
        said = refuses("plot", out, "--window", window, "--png", "x.png")
        assert f"window is {window}; {out} has windows 0 to 2" in said
    forget(Path(out))
    unfinished = f"{out} is not finished: 0 of 1 regions are done; run extract again"
    assert unfinished in refuses("batches", out, "--batch-size", 1)
    assert "is not finished" in refuses("plot", out, "--window", 0, "--png", "x.png")
    info = json.loads(cli("info", out, "--json").out)
    assert (info["regions"], info["masked_windows"]) == ({"done": 0, "of": 1}, None)
    assert "1 computed now" in cli("extract", "a.wav", "--out", out).err
    assert cli("batches", out, "--batch-size", 1).code == 0


WRONG_FILES = {
    # of --cluster
    "{default: one, clusters: {two: {threads: 1}}}": "'one' is not a known cluster of some.yaml",
    "{clusters: {two: {threads: 1}}}": "has no 'default:'; pass some.yaml:NAME, of two",
    "{defaults: one, clusters: {one: {threads: 1}}}": "'defaults' .*did you mean 'default'",
    "{default: one}": "some.yaml names no clusters",
    "{default: one, clusters: {one: {thread: 1}}}": "'thread' .*did you mean 'threads'",
    "{default: one, clusters: {one: {threads: 0}}}": "threads is 0; it must be a whole number",
    "{default: one, clusters: {one: {}}}": "none of threads, class and address is set",
    "{default: one, clusters: {one: {threads: 1, scale: 2}}}": "scale goes with class",
    "{default: one, clusters: {one: {threads: 1, address: 'tcp://a:1'}}}": "set exactly one",
    "{default: one, clusters: {one: {class: dask.X, scale: 1, adapt: {}}}}": "both scale and adapt",
    "default: [one": "some.yaml is not valid YAML",
    "": "some.yaml holds no mapping",
    # of --config
    "{sorces: a.wav}": "'sorces' is not a known key of some.yaml; .*'sources'",
    "{windows: 2}": "'windows' is not .*did you mean 'window'",
    "{feature: {nfft: 256}}": "'nfft' .* did you mean 'n_fft'",
    "{feature: {window: 2}}": "made for window=2.0, but .*window=1.0",
    "{window: true}": "window is True; it must be a number",
    "{tail: no}": "tail is False; allowed are pad and drop",
    "{overwrite: 'no'}": "overwrite is 'no'; it must be true or false",
    "{quiet: 1}": "quiet is 1; it must be true or false",
    "{cluster: 3}": "cluster is 3; it must be a path",
    "{labels: 3}": "labels is 3; it must be a path",
    "{feature: 3}": "feature is 3; it must be a name, or a name and parameters",
    "{feature: [x]}": r"feature is \['x'\]; it must be a name, or a name and parameters",
    "{feature: {name: 3}}": r"feature is \{'name': 3\}; it must be a name, or a name and",
    "{samplerate: 8000.0}": "samplerate is 8000.0; .*whole number",
    "window: 1\nhop: 1\nwindow: 2": "not valid YAML at line 3: 'window' is there twice; fix it",
    "feature: {n_fft: 64, n_fft: 128}": "not valid YAML at line 1: 'n_fft' is there twice; fix",
    "clusters: {one: {threads: 1}, one: {threads: 2}}": "at line 1: 'one' is there twice; fix",
    "? [a, b]\n: 1": "some.yaml is not valid YAML at line 1",
    "- a.wav": "some.yaml holds no mapping",
    "sources: [a.wav": "some.yaml is not valid YAML at line 1",
    "sources: !!python/object/apply:os.system [touch x]": "some.yaml is not valid YAML at line 1",
}


@pytest.mark.parametrize("text", WRONG_FILES)
def test_a_wrong_cluster_yaml_or_run_yaml_is_refused(
    refuses: Refuses, write_wav: Write, text: str
) -> None:
    write_wav("a.wav")
    Path("some.yaml").write_text(text)
    option = "--cluster" if "default" in text or "clusters" in text or not text else "--config"
    for verb in ("plan", "extract"):
        said = refuses(verb, "a.wav", "--out", "x.h5", option, "some.yaml")
        assert re.search(WRONG_FILES[text], said)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{sources: 3, out: x.h5}", "sources is 3; it must be a path or a list of paths"),
        ("{sources: [3], out: x.h5}", r"sources is \[3\]; it must be a path or a list of paths"),
        ("{sources: [null], out: x.h5}", r"sources is \[None\]; it must be a path or a list"),
        ("{sources: [a.wav, 3], out: x.h5}", r"sources is \['a.wav', 3\]; it must be a path or"),
        ("{sources: a.wav, out: 3}", "out is 3; it must be a path"),
        ("{sources: a.wav, out: [x.h5]}", r"out is \['x.h5'\]; it must be a path"),
    ],
)
def test_sources_and_out_of_a_wrong_type_in_run_yaml_are_refused(
    refuses: Refuses, write_wav: Write, text: str, message: str
) -> None:
    write_wav("a.wav")
    Path("run.yaml").write_text(text)
    for verb in ("plan", "extract"):
        assert re.search(message, refuses(verb, "--config", "run.yaml"))


NO_CLUSTERS = {
    "class: os.system, options: {command: touch called}": "os.system is not a Dask cluster manager",
    "class: dask.distributed.LocalCluster, options: {n_wokers: 1}": "did you mean 'n_workers'",
    "address: 'tcp://127.0.0.1:1'": "no Dask scheduler answers at tcp://127.0.0.1:1",
    "class: builtins.print": "builtins.print is not a Dask cluster manager",
    "class: dask.array.Array": "dask.array.Array is not a Dask cluster manager",
    "class: dask.no.X": "dask.no.X cannot be imported",
    "address: nowhere, security: false": "no Dask scheduler answers at nowhere",
    "address: 'tcp://10.0.0.7:8786'": "what is sent to tcp://10.0.0.7:8786 could be read",
}


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A scheduler is given half a second to answer, not ten."""
    client = distributed.Client

    def connect(address: object, **_: object) -> distributed.Client:
        return client(address, timeout="0.5s", set_as_default=False)

    monkeypatch.setattr(distributed, "Client", connect)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("entry", NO_CLUSTERS)
def test_what_starts_no_cluster_is_refused_and_no_store_is_made_or_removed(
    cli: Cli, refuses: Refuses, write_wav: Write, entry: str
) -> None:
    write_wav("a.wav")
    Path("some.yaml").write_text(f"{{default: one, clusters: {{one: {{{entry}}}}}}}")
    cluster = ("--cluster", "some.yaml")
    stores = ["old" + suffix for suffix in SUFFIXES]
    for old in stores:
        cli("extract", "a.wav", "--out", old, "--n-fft", 64)
    assert re.search(NO_CLUSTERS[entry], refuses("extract", "a.wav", "--out", "x.zarr", *cluster))
    for old in stores:
        overwriting = ("extract", "a.wav", "--out", old, "--overwrite", *cluster)
        assert re.search(NO_CLUSTERS[entry], refuses(*overwriting))
        assert features_of(Path(old)).shape == (3, 33, 400)
    assert not any(Path(name).exists() for name in ("called", "x.zarr", "x.h5", "x.h5.parts"))


@pytest.mark.parametrize("png", ["/", "", "folder", "folder.png", "missing/x.png", "x.txt"])
def test_plot_refuses_what_is_no_file_name_of_a_picture(
    cli: Cli, refuses: Refuses, write_wav: Write, png: str
) -> None:
    write_wav("a.wav")
    cli("extract", "a.wav", "--out", "x.zarr")
    Path("folder").mkdir()
    Path("folder.png").mkdir()
    said = refuses("plot", "x.zarr", "--window", 0, "--png", png)
    if png == "folder.png":
        assert "folder.png" in said
    else:
        assert f"png is '{png or '.'}'; it must be a file name ending in .png in a folder" in said


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ([], "no file was asked for; pass --html FILE"),
        (["--html", "x.png"], "html is 'x.png'; it must be a file name ending in .html or .htm"),
        (["--html", "none/x.html"], "html is 'none/x.html'; it must be a file name ending in"),
        (["--json", "x.html"], "json is 'x.html'; it must be a file name ending in .json"),
        (["--json", "x.json", "--audio"], "audio is for a page, and none was asked for"),
    ],
)
def test_a_report_needs_files_of_its_kinds(
    refuses: Refuses, write_wav: Write, options: list[str], told: str
) -> None:
    pl.extract(write_wav("a.wav", 1), "x.zarr")
    assert told in refuses("report", "x.zarr", *options)


def test_a_report_of_no_store_is_refused(refuses: Refuses) -> None:
    assert "does not exist" in refuses("report", "none.zarr", "--html", "x.html")


@pytest.mark.timeout(30)
@pytest.mark.parametrize("source", ["pipe.wav", "pipe.csv", "*.wav"])
def test_a_pipe_is_refused_as_a_source_and_not_waited_for(refuses: Refuses, source: str) -> None:
    os.mkfifo("pipe.wav")
    os.mkfifo("pipe.csv")
    for verb in ("plan", "extract"):
        said = refuses(verb, source, "--out", "x.zarr")
        assert re.search(r"pipe\.\w+ is neither a file nor a folder; give one", said)


@pytest.mark.parametrize("option", [[], ["--overwrite"]])
def test_a_folder_of_parts_that_is_not_ours_is_refused(
    refuses: Refuses, write_wav: Write, option: list[str]
) -> None:
    write_wav("a.wav")
    Path("k.h5.parts").mkdir()
    Path("k.h5.parts/notes.txt").write_text("somebody's own")
    said = refuses("extract", "a.wav", "--out", "k.h5", *option)
    assert (
        "k.h5.parts exists, but not the store that it belongs to; remove it, or pass another path"
        in said
    )


UNREADABLE: dict[str, Callable[[Path], object]] = {
    "garbage.npy": lambda path: path.write_bytes(b"\x93NUMPY" + bytes(999)),
    "group.h5": lambda path: h5py.File(path, "w").create_group("audio").file.close(),
    "mpeg.mp3": lambda path: path.write_bytes(b"\xff\xfb" + bytes(999)),
    "objects.npy": lambda path: np.save(path, np.array([{}, None])),
    "rate.h5": lambda path: save_hdf5(path, np.zeros(9), rate="abc"),
}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_files_that_are_not_what_their_names_say_are_reported_and_the_job_goes_on(
    cli: Cli, write_wav: Write, suffix: str
) -> None:
    write_wav("in/a.wav", 2)
    write_wav("in/z.wav", 1, seed=1)
    cli("extract", "in", "--out", "good" + suffix)
    for name, make in UNREADABLE.items():
        make(Path("in", name))
    job = ("extract", "in", "--out", "x" + suffix, "--samplerate", 8000)
    for computed in (1, 0):
        ended = cli(*job)
        assert (ended.code, ended.out) == (1, "")
        summary, *lines = ended.err.splitlines()
        assert f"3 windows in 1 regions, {computed} computed now" in summary
        reasons = dict(line.removeprefix("not read: in/").split(": ", 1) for line in lines)
        assert [*reasons] == [*UNREADABLE]
        assert reasons["mpeg.mp3"].startswith("libsndfile: ")
        assert "abc" in reasons["rate.h5"]
        assert all(len(reason) > 15 for reason in reasons.values())
    X, expected = (features_of(Path(name + suffix)) for name in ("x", "good"))
    np.testing.assert_array_equal(X, expected)
    info = json.loads(cli("info", "x" + suffix, "--json").out)
    assert info["sources"] == ["in/a.wav", "in/z.wav"]
    assert [*info["unreadable"]] == [f"in/{name}" for name in UNREADABLE]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_folder_that_cannot_be_searched_is_reported_and_the_job_goes_on(
    cli: Cli, write_wav: Write, tmp_path: Path, suffix: str
) -> None:
    write_wav("in/a.wav", 2)
    name = "x" * 250
    os.chdir("in")
    for _ in range(18):  # deeper than a path can say
        os.mkdir(name)
        os.chdir(name)
    os.chdir(tmp_path)
    job = ("extract", "in", "--out", "x" + suffix)
    for computed in (1, 0):
        ended = cli(*job)
        assert (ended.code, ended.out) == (1, "")
        summary, reason = ended.err.splitlines()
        assert f"2 windows in 1 regions, {computed} computed now" in summary
        assert re.fullmatch(rf"not read: in(/{name})+: File name too long", reason)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_audio_that_is_passed_over_is_told_and_is_no_failure(
    cli: Cli, refuses: Refuses, write_wav: Write, suffix: str
) -> None:
    write_wav("in/a.wav", 2)
    for name in ("b.m4a", "c.m4a", "d.WMA"):
        Path("in", name).touch()
    Path("in/loop").symlink_to(".")
    job = ("in", "--out", "x" + suffix)
    plan = cli("plan", *job)
    assert plan.code == 0
    assert re.search("^passed_over +.m4a: 2, .wma: 1, links to folders: 1$", plan.out, re.MULTILINE)
    passed = {".m4a": 2, ".wma": 1, "links to folders": 1}
    assert json.loads(cli("plan", *job, "--json").out)["passed_over"] == passed
    ended = cli("extract", *job)
    assert ended.code == 0
    assert ended.err.splitlines()[1:] == ["passed over: .m4a (2), .wma (1), links to folders (1)"]
    assert cli("extract", *job, "--quiet") == (0, "", "")
    Path("in/a.wav").unlink()
    said = refuses("extract", "in", "--out", "y" + suffix)
    assert "in is a folder with no audio in it that is read, but with .m4a (2), .wma (1), " in said
    assert said.endswith("convert it to WAV or FLAC, or pass the links as sources\n")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_sound_file_whose_name_is_not_utf_8_is_reported_and_the_job_goes_on(
    write_wav: Write, tmp_path: Path, suffix: str
) -> None:
    good = write_wav("in/a.wav", 2)
    name = os.fsdecode(b"b-\xe9.wav")
    shutil.copy(good, tmp_path / "in" / name)
    report = pl.extract(tmp_path / "in", tmp_path / ("x" + suffix))
    assert (report.windows, report.computed, report.failed) == (2, 1, ())
    ((path, reason),) = report.unreadable
    assert path == str(tmp_path / "in" / name)
    assert len(reason) > 15
    command = [sys.executable, "-m", "pipeline", "extract", "in", "--out", "y" + suffix]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "2 windows in 1 regions, 1 computed now" in ended.stderr
    assert "not read: in/b-\\udce9.wav: " in ended.stderr
    X, again = (features_of(tmp_path / (name + suffix)) for name in "xy")
    np.testing.assert_array_equal(X, again)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_damaged_chunk_of_an_hdf5_source_masks_the_windows_in_it_and_no_others(
    cli: Cli, suffix: str
) -> None:
    samples = np.random.default_rng(0).standard_normal((80_000, 1)).astype(np.float32)
    with h5py.File("a.h5", "w") as file:
        audio = file.create_dataset("audio", data=samples, chunks=(12_000, 1), fletcher32=True)
        audio.attrs["sampling_rate"] = 8000
        place = audio.id.get_chunk_info(2).byte_offset + 1000  # of samples 24000 to 35999
    cli("extract", "a.h5", "--out", "whole" + suffix)
    data = bytearray(Path("a.h5").read_bytes())
    data[place] ^= 1
    Path("a.h5").write_bytes(data)
    ended = cli("extract", "a.h5", "--out", "x" + suffix)
    assert (ended.code, ended.out) == (1, "")
    assert "10 windows in 1 regions, 1 computed now" in ended.err
    assert re.findall(r"^masked: windows (\d+) to (\d+): a\.h5: ", ended.err, re.MULTILINE) == [
        ("3", "4")
    ]
    batches = pl.Batches("x" + suffix)
    assert np.flatnonzero(~batches.valid).tolist() == [3, 4]
    X, whole = features_of(Path("x" + suffix)), features_of(Path("whole" + suffix))
    assert np.unique(X[[3, 4]]) == np.float32(np.log(np.float32(1e-6)))
    others = [0, 1, 2, 5, 6, 7, 8, 9]
    np.testing.assert_array_equal(X[others], whole[others])


@pytest.mark.parametrize("name", ["a.wav", "a.ogg", "a.mp3"])
def test_a_file_that_changes_after_the_scan_fails_its_region_and_is_not_mixed_in(
    name: str, write_wav: Write, tmp_path: Path
) -> None:
    source = write_wav(name, 20)
    plan = Plan.make(source, tmp_path / "x.zarr", pl.Spectrogram(), settings=Settings(retries=0))
    whole = source.read_bytes()
    status = source.stat()
    os.truncate(source, len(whole) // 2)
    report = run(plan, Cluster(threads=1))
    assert report.failed == ((0, f"{source}: it has changed since it was scanned"),)
    assert (report.computed, report.masked) == (0, ())
    source.write_bytes(whole)
    os.utime(source, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert run(plan, Cluster(threads=1)).ok


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_unreadable_files_among_good_ones_are_reported_and_the_job_goes_on(
    cli: Cli, write_wav: Write, suffix: str
) -> None:
    write_wav("in/a.wav", 2)
    write_wav("in/b.wav", 0)
    Path("in/c.wav").write_text("this is no audio")
    Path("in/d.flac").touch()
    write_wav("in/e.wav", 1)
    job = ("extract", "in", "--out", "x" + suffix)
    for computed in (1, 0):
        ended = cli(*job)
        assert (ended.code, ended.out) == (1, "")
        summary, *reasons = ended.err.splitlines()
        assert f"3 windows in 1 regions, {computed} computed now" in summary
        assert reasons[0] == "not read: in/b.wav: it holds no samples"
        assert [line.split(": ")[1] for line in reasons] == ["in/b.wav", "in/c.wav", "in/d.flac"]
        assert all("libsndfile: " in line for line in reasons[1:])
    assert cli(*job, "--quiet") == (1, "", "")
    info = json.loads(cli("info", "x" + suffix, "--json").out)
    assert info["sources"] == ["in/a.wav", "in/e.wav"]
    assert [*info["unreadable"]] == ["in/b.wav", "in/c.wav", "in/d.flac"]
    stopped = cli("extract", "in", "--out", "y" + suffix, "--on-error", "stop")
    assert (stopped.code, "0 computed now" in stopped.err) == (1, True)
    assert "not read: in/b.wav" in stopped.err


def test_the_broken_files_of_the_real_recordings_are_reported(cli: Cli, audio: Path) -> None:
    good = audio / "digits-8k" / "files" / "0_george_0.wav"
    names = ("zero_bytes", "half_header", "pointer_text", "header_only")
    broken = [str(audio / "broken" / f"{name}.wav") for name in names]
    ended = cli("extract", good, *broken, "--out", "x.zarr", "--samplerate", 8000)
    assert ended.code == 1
    assert re.findall(r"^not read: (.*?): .+$", ended.err, re.MULTILINE) == broken


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_damage_in_the_middle_of_a_file_masks_its_windows_and_keeps_y(
    cli: Cli, audio: Path, suffix: str
) -> None:
    damaged = audio / "broken" / "flipped_bytes.flac"
    np.save("labels.npy", np.arange(301))
    job = ("extract", damaged, "--labels", "labels.npy")
    ended = cli(*job, "--out", "x" + suffix)
    assert (ended.code, ended.out) == (1, "")
    listed = re.findall(rf"^masked: windows (\d+) to (\d+): {damaged}: ", ended.err, re.MULTILINE)
    masked = [t for first, last in listed for t in range(int(first), int(last) + 1)]
    batches = pl.Batches("x" + suffix, batch_size=301)
    assert np.flatnonzero(~batches.valid).tolist() == masked
    assert 0 < len(masked) < 301
    X, y = batches[0]
    np.testing.assert_array_equal(y, np.arange(301))
    assert np.unique(X[masked]) == np.float32(np.log(np.float32(1e-6)))
    assert np.ptp(X[batches.valid], axis=(1, 2)).min() > 0
    info = json.loads(cli("info", "x" + suffix, "--json").out)
    assert info["masked_windows"] == len(masked)
    stopped = cli(*job, "--out", "y" + suffix, "--on-error", "stop")
    assert stopped.code == 1
    assert re.search(rf"^failed: region \d+: {damaged}: ", stopped.err, re.MULTILINE)
