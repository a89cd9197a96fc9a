"""The command line as a user meets it: its verbs, and the same command again."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import signal
import sys
import time
from pathlib import Path
from subprocess import PIPE, CompletedProcess, Popen, run

import numpy as np
import pytest
import soundfile
from conftest import (
    COMMAND,
    SUFFIXES,
    Cli,
    Result,
    Write,
    done_regions,
    features_of,
    forget,
    loaded,
    save_hdf5,
    snapshot,
)
from terminals import on_a_terminal

import pipeline as pl

JOB_OPTIONS = re.findall(
    r"--\S+",
    "--out --config --feature --labels --cluster --window --hop --channel --samplerate --tail "
    "--datetime --timezone --dtype --limits --compression --on-error --on-lost --retries "
    "--numerics "
    "--label-format --label-column --classes --label-map --label-kind --min-overlap "
    "--min-fraction-of-event --min-fraction-of-window --unlabelled "
    "--flush --share --n-fft --frame-length --hop-length "
    "--taper --scaling --detrend --normalize --log-offset --output",
)
LABEL_OPTIONS = JOB_OPTIONS[
    JOB_OPTIONS.index("--label-format") : JOB_OPTIONS.index("--unlabelled") + 1
]
OPTIONS = {
    "demo": ["--hours", "--out"],
    "plan": [*JOB_OPTIONS, "--json"],
    "cluster": [],
    "extract": [*JOB_OPTIONS, "--overwrite", "--quiet", "--performance-report"],
    "status": ["--watch", "--every", "--json"],
    "verify": ["--repair", "--json"],
    "label": ["--labels", *LABEL_OPTIONS, "--json"],
    "split": ["--parts", "--by", "--seed", "--json"],
    "statistics": ["--split"],
    "pack": [],
    "info": ["--json"],
    "report": ["--html", "--json", "--card", "--audio"],
    "batches": ["--batch-size", "--shuffle", "--seed", "--limit"],
    "plot": ["--window", "--recording", "--class", "--png", "--svg"],
}
OWN_FEATURES = """
import dataclasses, os, time
import numpy as np

@dataclasses.dataclass(frozen=True)
class Peak:
    gain: float = 1.0
    shape, frequencies, times = (64,), None, np.arange(64.0)

    def __call__(self, windows):
        time.sleep(0.1 * os.path.exists("slowly"))
        return np.repeat(self.gain * np.abs(windows).max(axis=1, keepdims=True), 64, axis=1)
"""


@pytest.fixture
def own_features(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module of a user's own, on PYTHONPATH and sys.path."""
    name = "features_of_a_user"
    (tmp_path / f"{name}.py").write_text(OWN_FEATURES)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.delitem(sys.modules, name, raising=False)
    return name


def process(*arguments: object, cwd: Path) -> CompletedProcess[str]:
    command = [*map(str, arguments)]
    return run(command, cwd=cwd, capture_output=True, text=True, timeout=100)


@pytest.mark.parametrize("verb", OPTIONS)
def test_help_of_a_verb_lists_its_options(cli: Cli, verb: str) -> None:
    shown = cli(verb, "--help")
    assert shown.code == 0
    assert shown.err == ""
    listed = re.findall(r"^  (?:-h, )?(--[a-z-]+)", shown.out, re.MULTILINE)
    assert sorted(listed) == sorted([*OPTIONS[verb], "--help"])


def test_help_tells_the_defaults(cli: Cli) -> None:
    shown = " ".join(cli("plan", "--help").out.split())
    values = dataclasses.asdict(pl.Settings())
    labelling = values.pop("labelling")
    for name, value in {**values, **labelling}.items():
        if value is not None and name != "flush":  # which is no value on the command line
            text = f"{value:g}" if isinstance(value, float) else str(value)
            option = f"--{name.replace('_', '-')} "
            assert re.search(rf"{option}((?! --).)*?Default: {re.escape(text)}\.", shown), name


def test_help_lists_the_verbs_and_the_version_is_told(cli: Cli) -> None:
    listed = re.findall(r"^  ([a-z]+)  ", cli("--help").out, re.MULTILINE)
    assert set(OPTIONS) <= set(listed)
    assert re.fullmatch(r"audio-pipeline, version \d+\.\d+\.\d+\n", cli("--version").out)


@pytest.mark.parametrize(("suffix", "files"), [(".zarr", 22), (".h5", 7)])
def test_plan_tells_the_numbers_and_neither_reads_nor_writes(
    cli: Cli, write_wav: Write, tmp_path: Path, suffix: str, files: int
) -> None:
    write_wav("one.wav", 3)
    write_wav("two.wav", 1.5)
    before = snapshot(tmp_path)
    command = ("plan", "one.wav", "two.wav", "--out", "deep/x" + suffix)
    with pytest.MonkeyPatch.context() as without:
        without.delattr("pipeline.recordings.recording.open_reader")
        shown = cli(*command, "--json")
    assert (shown.code, shown.err) == (0, "")
    plan = json.loads(shown.out)
    counts = [plan[name] for name in ("recordings", "windows", "regions", "files")]
    assert counts == [2, 5, 1, files]
    assert (plan["seconds"], plan["samplerate"], plan["labelled"]) == (4.5, 8000, False)
    assert (plan["shape"], plan["dtype"]) == ([5, 257, 400], "float32")
    assert plan["bytes"] == 5 * 257 * 400 * 4
    assert plan["memory_bytes"] > plan["bytes"]
    assert plan["feature"]["parameters"]["n_fft"] == 512
    assert re.search(r"^shape +5, 257, 400$", cli(*command).out, re.MULTILINE)
    assert snapshot(tmp_path) == before


def test_plan_tells_windows_as_they_are_cut(cli: Cli, write_wav: Write) -> None:
    write_wav("a.wav", 1, 22050)
    command = ("plan", "a.wav", "--out", "x.zarr", "--window", 0.01, "--hop", 0.02, "--json")
    plan = json.loads(cli(*command).out)
    assert (plan["window"], plan["hop"]) == (220 / 22050, 441 / 22050)


def test_extract_reports_in_one_line_and_is_silent_when_quiet(cli: Cli, write_wav: Write) -> None:
    write_wav("a.wav", 2.5)
    done = cli("extract", "a.wav", "--out", "x.zarr")
    assert (done.code, done.out) == (0, "")
    report = r"x\.zarr: 3 windows in 1 regions, 1 computed now in [\d.]+ s\n"
    assert re.fullmatch(report, done.err)
    assert cli("extract", "a.wav", "--out", "y.h5", "--quiet") == Result(0, "", "")
    assert features_of(Path("x.zarr")).shape == features_of(Path("y.h5")).shape == (3, 257, 400)


@pytest.mark.parametrize("quiet", [False, True])
def test_a_progress_bar_is_drawn_on_a_terminal_unless_quiet(
    write_wav: Write, tmp_path: Path, quiet: bool
) -> None:
    write_wav("a.wav", 2)
    command = [str(COMMAND), "extract", "a.wav", "--out", "x.zarr", *["--quiet"] * quiet]
    shown = on_a_terminal(command, 120, tmp_path)
    bar = re.search(r"\r100%\|█+\| 2 of 2 windows, 1 of 1 regions, \d+ windows/s, \d", shown)
    assert shown == "" if quiet else bar


SLOW_HEADERS = """
import sys, time
import pipeline.recordings.scanning
from pipeline.cli import main

def probe(*arguments, true=pipeline.recordings.scanning.probe):
    time.sleep(0.5)
    return true(*arguments)

pipeline.recordings.scanning.probe = probe
sys.argv = ["audio-pipeline", *sys.argv[1:]]
main()
"""


@pytest.mark.parametrize("quiet", [False, True])
def test_files_are_counted_on_a_terminal_while_they_are_looked_at_for_long(
    write_wav: Write, tmp_path: Path, quiet: bool
) -> None:
    for i in range(32):  # of which eight are looked at at once
        write_wav(f"in/{i}.wav", 0.1)
    command = [sys.executable, "-c", SLOW_HEADERS, "extract", "in", "--out", "x.zarr"]
    shown = on_a_terminal([*command, *["--quiet"] * quiet], 120, tmp_path)
    assert shown == "" if quiet else re.search(r"\r\d+ of 32 files looked at, [\d:]+ left", shown)


def test_control_characters_in_names_are_shown_and_not_obeyed(
    cli: Cli, write_wav: Write, tmp_path: Path
) -> None:
    odd, shown = "in/a\x1b[31m\nñ\u202e日.wav", r"in/a\x1b[31m\nñ\u202e日.wav"
    write_wav(odd, 2)
    for suffix in SUFFIXES:
        (tmp_path / odd).write_bytes((tmp_path / write_wav("b.wav", 2)).read_bytes())
        Path(odd.replace(".wav", "2.wav")).write_text("no audio")
        os.truncate(odd, 20_000)
        job = ("in", "--out", "x" + suffix)
        plan = cli("plan", *job)
        assert re.search(f"^unreadable .*{re.escape(shown[:-4])}2.wav: ", plan.out, re.MULTILINE)
        done = cli("extract", *job)
        assert f"\nnot read: {shown[:-4]}2.wav: " in done.err
        assert f"\nmasked: windows 1 to 1: {shown}: " in done.err
        told = cli("status", "x" + suffix).out, cli("info", "x" + suffix).out
        assert all(shown in text for text in told)
        for text in (plan.out, done.err, *told):
            assert text.replace("\n", "").isprintable()
        unread = cli("extract", odd.replace(".wav", "2.wav"), "--out", "y" + suffix)
        assert (unread.code, unread.err.count("\n")) == (2, 1)
        assert shown[:-4] + "2.wav" in unread.err


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_info_tells_what_is_in_a_store(cli: Cli, write_wav: Write, suffix: str) -> None:
    write_wav("a.wav", 3)
    Path("labels.csv").write_text("label\nwren\nrobin\nwren\n")
    cli("extract", "a.wav", "--out", "x" + suffix, "--labels", "labels.csv", "--dtype", "float16")
    shown = cli("info", "x" + suffix, "--json")
    assert (shown.code, shown.err) == (0, "")
    info = json.loads(shown.out)
    assert (info["path"], info["sources"]) == ("x" + suffix, ["a.wav"])
    assert (info["shape"], info["dtype"]) == ([3, 257, 400], "float16")
    assert info["dimensions"] == ["window", "frequency", "time"]
    assert (info["labels"], info["classes"]) == ({"0": 1, "1": 2}, ["robin", "wren"])
    assert (info["regions"], info["masked_windows"]) == ({"done": 1, "of": 1}, 0)
    assert (info["samplerate"], info["window"], info["hop"]) == (8000, 1.0, 1.0)
    assert re.search(r"^classes +robin, wren$", cli("info", "x" + suffix).out, re.MULTILINE)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_batches_prints_one_line_a_batch_then_the_speed(
    cli: Cli, write_wav: Write, suffix: str
) -> None:
    write_wav("a.wav", 70)
    np.save("labels.npy", np.arange(70))
    cli("extract", "a.wav", "--out", "x" + suffix, "--labels", "labels.npy")
    shown = cli("batches", "x" + suffix, "--batch-size", 64)
    assert (shown.code, shown.err) == (0, "")
    first, second, speed = shown.out.splitlines()
    assert first == f"shape=(64, 257, 400), label={list(range(64))}"
    assert second == "shape=(6, 257, 400), label=[64, 65, 66, 67, 68, 69]"
    assert re.fullmatch(r"\d+ windows/s, \d+ MB/s", speed)

    def order(*arguments: object) -> list[int]:
        lines = cli("batches", "x" + suffix, "--batch-size", 32, *arguments).out.splitlines()
        return [y for line in lines[:-1] for y in json.loads(line.partition("label=")[2])]

    shuffled = order("--shuffle", "--seed", 7)
    assert order("--shuffle", "--seed", 7) == shuffled != order("--shuffle", "--seed", 8)
    assert sorted(shuffled) == list(range(70)) == order() != shuffled
    assert order("--limit", 2) == list(range(64))
    assert order("--limit", 0) == []


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_plot_draws_a_picture_also_when_the_source_is_gone(
    cli: Cli, write_wav: Write, suffix: str
) -> None:
    source = write_wav("a.wav", 3)
    cli("extract", "a.wav", "--out", "x" + suffix)
    assert cli("plot", "x" + suffix, "--window", 2, "--png", "with.png") == Result(0, "", "")
    source.unlink()
    assert cli("plot", "x" + suffix, "--window", 0, "--png", "without.png") == Result(0, "", "")
    one, other = (Path(name).read_bytes() for name in ("with.png", "without.png"))
    assert one[:4] == other[:4] == b"\x89PNG"
    assert one != other


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_status_loads_no_library_of_stores(
    cli: Cli, write_wav: Write, tmp_path: Path, suffix: str
) -> None:
    write_wav("a.wav", 2)
    cli("extract", "a.wav", "--out", "x" + suffix)
    code = f"import pipeline.job as job; job.status_of('x{suffix}')"
    assert not {"zarr", "h5py", "dask", "soundfile"} & loaded(code, tmp_path)


def test_the_installed_command_runs_the_demo_and_pipes_may_close_early(tmp_path: Path) -> None:
    done = process(COMMAND, "demo", "--hours", 0.02, "--out", "made", cwd=tmp_path)
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == [
        "recording",
        "store",
        "batches",
        "picture",
        "report",
    ]
    assert "2 of X (64, 257, 400) float32 and y (64,)" in lines[2]
    assert (tmp_path / "made/window.png").read_bytes().startswith(b"\x89PNG")
    read = f"{COMMAND} batches made/features-72s.zarr --batch-size 1 | head -1"
    cut = process("sh", "-c", read, cwd=tmp_path)
    assert cut.stdout.startswith("shape=(1, 257, 400), label=[")
    assert cut.stderr == ""


def test_python_m_pipeline_is_the_same_command(cli: Cli, write_wav: Write, tmp_path: Path) -> None:
    write_wav("a.wav")
    arguments = ["plan", "a.wav", "--out", "x.zarr", "--json"]
    done = process(sys.executable, "-m", "pipeline", *arguments, cwd=tmp_path)
    assert done.returncode == 0
    assert json.loads(done.stdout) == json.loads(cli(*arguments).out)
    wrong = process(
        sys.executable, "-m", "pipeline", "plan", "b.wav", "--out", "x.h5", cwd=tmp_path
    )
    assert wrong.returncode == 2
    assert wrong.stderr == cli("plan", "b.wav", "--out", "x.h5").err


def test_a_tilde_is_the_home_of_a_user_in_run_yaml_and_flags(
    cli: Cli, write_wav: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    write_wav("home/in/a.wav", 2)
    home = tmp_path / "home"
    (home / "y.csv").write_text("owl\nfox\n")
    (home / "c.yaml").write_text("{clusters: {one: {threads: 1}}}")
    (home / "run.yaml").write_text(
        "sources: ~/in\nout: ~/x.zarr\nlabels: ~/y.csv\ncluster: ~/c.yaml:one\nquiet: true\n"
    )
    assert cli("extract", "--config=~/run.yaml") == (0, "", "")
    flags = ("--out=~/y.zarr", "--labels=~/y.csv", "--cluster=~/c.yaml:one", "--quiet")
    assert cli("extract", "~/in/*.wav", *flags) == (0, "", "")
    for name in "xy":
        assert json.loads(cli("info", home / f"{name}.zarr", "--json").out)["classes"] == [
            "fox",
            "owl",
        ]
    assert os.listdir(tmp_path) == ["home"]


def test_run_yaml_sets_everything_and_flags_override_it(cli: Cli, write_wav: Write) -> None:
    write_wav("a.wav", 3)
    write_wav("b.wav", 3)
    np.save("labels.npy", np.arange(22))
    Path("c.yaml").write_text("{clusters: {one: {threads: 1}}}")
    Path("run.yaml").write_text(
        "{sources: [a.wav, b.wav], out: x.zarr, labels: labels.npy, cluster: 'c.yaml:one',"
        "window: 0.5, hop: 0.25, channel: mix, samplerate: 4000, tail: drop, dtype: float16,"
        "compression: lz4,"
        "on_error: stop, quiet: true, overwrite: true, feature: {n_fft: 256, log_offset: 1e-4}}"
    )
    assert cli("extract", "--config", "run.yaml") == (0, "", "")
    info = json.loads(cli("info", "x.zarr", "--json").out)
    used = {**info["settings"], **info["feature"]["parameters"]}
    names = "window hop channel samplerate tail dtype compression n_fft log_offset"
    values = [str(used[name]) for name in names.split()]
    assert " ".join(values) == "0.5 0.25 mix 4000 drop float16 lz4 256 0.0001"
    assert (info["shape"], sum(info["labels"].values())) == ([22, 129, 200], 22)
    flags = "a.wav --out y.h5 --hop 0.5 --dtype float32 --n-fft 128 --labels none.npy"
    flags += " --compression none"
    assert "none.npy does not exist" in cli("plan", "--config", "run.yaml", *flags.split()).err
    np.save("none.npy", np.zeros(6))
    plan = json.loads(cli("plan", "--config", "run.yaml", *flags.split(), "--json").out)
    assert (plan["out"], plan["shape"], plan["dtype"]) == ("y.h5", [6, 65, 200], "float32")
    assert plan["compression"] == "none"
    assert (plan["threads"], plan["feature"]["parameters"]["log_offset"]) == (1, 1e-4)


def test_a_feature_is_given_by_name_by_mapping_or_by_flags(
    cli: Cli, write_wav: Write, own_features: str
) -> None:
    write_wav("a.wav", 2)
    samples = soundfile.read("a.wav", dtype="float32")[0].reshape(2, 8000)
    peaks = np.repeat(np.abs(samples).max(axis=1, keepdims=True), 64, axis=1)
    Path("name.yaml").write_text(f"feature: {own_features}:Peak")
    Path("mapping.yaml").write_text(f"feature: {{name: '{own_features}:Peak', gain: 2}}")
    for config, gain in (("name", 1), ("mapping", 2)):
        done = cli("extract", "a.wav", "--config", f"{config}.yaml", "--out", f"{config}.zarr")
        assert done.code == 0
        np.testing.assert_array_equal(features_of(Path(f"{config}.zarr")), gain * peaks)
    flags = "--n-fft 256 --taper hann --normalize false --log-offset none --detrend none"
    assert cli("extract", "a.wav", "--out", "x.h5", *flags.split()).code == 0
    feature = pl.Spectrogram(256, taper="hann", normalize=False, log_offset=None, detrend=None)
    np.testing.assert_array_equal(features_of(Path("x.h5")), feature(samples))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_extract_again_computes_nothing_and_leaves_every_byte(
    cli: Cli, write_wav: Write, tmp_path: Path, suffix: str
) -> None:
    write_wav("a.wav")
    cli("extract", "a.wav", "--out", "x" + suffix)
    before = snapshot(tmp_path)
    again = cli("extract", "a.wav", "--out", f"./x{suffix}/")
    assert again.code == 0
    assert "3 windows in 1 regions, 0 computed now" in again.err
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_ctrl_c_ends_with_130_and_the_same_command_goes_on(
    write_wav: Write, tmp_path: Path, own_features: str, suffix: str
) -> None:
    write_wav("a.wav", 20)  # 20,000 windows of 8 samples, in several regions
    arguments = "extract a.wav --window 0.001 --feature"
    command = [str(COMMAND), *arguments.split(), f"{own_features}:Peak", "--out", "x" + suffix]
    store = tmp_path / f"x{suffix}"
    (slowly := tmp_path / "slowly").touch()
    with Popen(command, cwd=tmp_path, stdout=PIPE, stderr=PIPE, text=True) as running:
        while not done_regions(store) and running.poll() is None:
            time.sleep(0.01)
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=60)
    assert (running.returncode, out) == (130, "")
    assert err.splitlines()[-1] == "interrupted; the same command goes on where it was"
    done = done_regions(store)
    slowly.unlink()
    again = process(*command, cwd=tmp_path)
    assert again.returncode == 0
    found = re.search(r": 20000 windows in (\d+) regions, (\d+) computed now", again.stderr)
    assert found is not None
    assert int(found[2]) == int(found[1]) - done > 0
    samples = soundfile.read(tmp_path / "a.wav", dtype="float32")[0].reshape(-1, 8)
    X, _ = pl.Batches(tmp_path / ("x" + suffix), batch_size=20_000)[0]
    np.testing.assert_array_equal(X[:, 0], np.abs(samples).max(axis=1))


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("glob", ["*", "*.h5", "[a-z]*"])
def test_a_glob_that_fits_the_store_too_goes_on_with_the_job(
    cli: Cli, suffix: str, glob: str
) -> None:
    save_hdf5(Path("a"), np.random.default_rng(0).standard_normal(3 * 8000), rate=8000)
    out = "x" + suffix
    goes_on_with_the_job(cli, ("extract", glob, "--out", out))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_list_that_names_the_store_too_goes_on_with_the_job(cli: Cli, suffix: str) -> None:
    """As a shell expands a glob, for the second time."""
    save_hdf5(Path("a"), np.random.default_rng(0).standard_normal(3 * 8000), rate=8000)
    out = "x" + suffix
    parts = [out + ".parts"] * (suffix == ".h5")
    cli("extract", "a.h5", "--out", out)
    for sources in (["a.h5", out, *parts], ["./" + out, *parts, Path(out).absolute(), "a.h5"]):
        goes_on_with_the_job(cli, ("extract", *sources, "--out", out))
    assert json.loads(cli("info", out, "--json").out)["sources"] == ["a.h5"]


def goes_on_with_the_job(cli: Cli, job: tuple[object, ...]) -> None:
    out = str(job[-1])
    assert cli(*job).code == 0
    assert "3 windows in 1 regions, 0 computed now" in cli(*job).err
    whole = features_of(Path(out))
    forget(Path(out))
    assert "3 windows in 1 regions, 1 computed now" in cli(*job).err
    np.testing.assert_array_equal(features_of(Path(out)), whole)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_link_to_a_store_is_that_store(cli: Cli, write_wav: Write, suffix: str) -> None:
    write_wav("a.wav", 3)
    Path("disk").mkdir()
    real, link = Path("disk/real" + suffix), Path("link" + suffix)
    cli("extract", "a.wav", "--out", real)
    link.symlink_to(real)
    assert "0 computed now" in cli("extract", "a.wav", "--out", link).err
    assert json.loads(cli("info", link, "--json").out)["shape"] == [3, 257, 400]
    assert cli("batches", link, "--batch-size", 3).code == 0
    assert cli("plot", link, "--window", 0, "--png", "x.png").code == 0
    changed = cli("extract", "a.wav", "--out", link, "--n-fft", 64, "--overwrite")
    assert (changed.code, "1 computed now" in changed.err) == (0, True)
    assert link.is_symlink()
    assert features_of(link).shape == features_of(real).shape == (3, 33, 400)


def test_a_demo_shorter_than_a_minute_works(cli: Cli) -> None:
    shown = cli("demo", "--hours", 0.01, "--out", "made")
    assert shown.code == 0
    recording, store, batches, picture, report = shown.out.splitlines()
    assert "recording-36s.h5: 36 s at 8000 Hz" in recording
    assert "36 windows in 1 regions, 1 computed now" in store
    assert "1 of X (36, 257, 400) float32 and y (36,)" in batches
    assert picture.endswith("made/window.png")
    assert Path("made/window.png").read_bytes().startswith(b"\x89PNG")
    assert report.endswith(
        f"open it in a browser, as {Path('made/report.html').absolute().as_uri()}"
    )
    assert "data:audio/flac" in Path("made/report.html").read_text()


def test_no_verb_prints_the_help_as_an_error(cli: Cli) -> None:
    shown = cli()
    assert (shown.code, shown.out) == (2, "")
    assert shown.err == cli("--help").out
    assert "Traceback" not in shown.err


def test_plot_leaves_the_waveform_out_when_the_source_is_not_what_was_read(
    cli: Cli, write_wav: Write
) -> None:
    source = write_wav("a.wav", 3)
    was = source.stat()
    cli("extract", "a.wav", "--out", "x.zarr", "--n-fft", 64)

    def height() -> int:
        assert cli("plot", "x.zarr", "--window", 1, "--png", "x.png") == Result(0, "", "")
        data = Path("x.png").read_bytes()
        assert data[:4] + data[12:16] == b"\x89PNGIHDR"
        return int.from_bytes(data[20:24])

    with_waveform = height()
    soundfile.write(source, np.full(24000, 0.5), 8000)  # other sound, as long
    without = height()
    assert with_waveform - without > 100
    soundfile.write(source, np.full(48000, 0.5), 8000)
    os.utime(source, ns=(was.st_atime_ns, was.st_mtime_ns))  # other sound, of the same time
    assert height() == without
    write_wav("a.wav", 3)
    os.utime(source, ns=(was.st_atime_ns, was.st_mtime_ns))
    assert height() == with_waveform
    source.unlink()
    assert height() == without


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("labels", [None, "1\n0\n1\n", "wren\nrobin\nwren\n"])
def test_plan_counts_the_files_of_the_store(
    cli: Cli, write_wav: Write, tmp_path: Path, suffix: str, labels: str | None
) -> None:
    out, options = tmp_path / f"x{suffix}", []
    if labels is not None:
        (tmp_path / "y.csv").write_text(labels)
        options = ["--labels", tmp_path / "y.csv"]
    job = [write_wav(), "--out", out, *options]
    files = json.loads(cli("plan", *job, "--json").out)["files"]
    assert cli("extract", *job).code == 0
    there = [out, *out.rglob("*"), *Path(f"{out}.parts").rglob("*")]
    assert files == sum(path.is_file() for path in there)
