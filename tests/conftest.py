"""Fixtures and helpers that several test files share."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import numpy.typing as npt
import pytest
import soundfile
from browser import browser  # noqa: F401 - a fixture of all tests
from hypothesis import HealthCheck, settings
from no_skips import pytest_addoption, pytest_make_collect_report, pytest_runtest_makereport  # noqa: F401 - hooks of pytest
from s3 import s3  # noqa: F401 - a fixture of all tests
from slurm import slurm  # noqa: F401 - a fixture of all tests

import pipeline as pl
from pipeline.audio.readers import open_reader, probe
from pipeline.cli import main
from pipeline.job.plan import Plan
from pipeline.settings import Settings

# A shell lets what it starts in the background ignore it, and with that all that is started here.
signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile(
    "ci",
    derandomize=True,
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow],  # a busy machine is no failure
)
settings.load_profile("ci")

ROOT = Path(__file__).parents[1]
SHARED_AUDIO = ROOT.parent / "shared" / "audio"
SHIPPED = ROOT / "cluster.yaml"
COMMAND = Path(sys.executable).with_name("audio-pipeline")

SUFFIXES = (".zarr", ".h5")
# What decides by which arithmetic a process computes, and ssh does not pass on.
NUMERICS_VARIABLES = ("OPENBLAS_CORETYPE", "NPY_DISABLE_CPU_FEATURES")
TINY = np.finfo(np.float32).tiny

Write = Callable[..., Path]
Array = npt.NDArray[Any]
Samples = npt.NDArray[np.float32]


class Result(NamedTuple):
    """How a command ended, and what it wrote."""

    code: int
    out: str
    err: str


Cli = Callable[..., Result]


@pytest.fixture(scope="session")
def audio() -> Path:
    """The folder of real recordings beside the checkout."""
    if not SHARED_AUDIO.is_dir():
        pytest.skip(f"the real recordings are not at {SHARED_AUDIO}")
    return SHARED_AUDIO


@pytest.fixture(scope="module", params=SUFFIXES)
def suffix(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def write_wav(tmp_path: Path) -> Write:
    """Writes reproducible noise, seconds or samples of it, as a sound file."""

    def write(
        name: str = "noise.wav",
        seconds: float = 3.0,
        samplerate: int = 8000,
        channels: int = 1,
        seed: int = 0,
        subtype: str | None = None,
    ) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(seed)
        samples = 0.1 * rng.standard_normal((round(seconds * samplerate), channels))
        soundfile.write(path, samples, samplerate, subtype=subtype)
        return path

    return write


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Cli:
    """Runs the command line in this process, in the test's own folder."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> Result:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["audio-pipeline", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        return Result(int(ended.value.code or 0), *capsys.readouterr())

    return call


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every path below a folder, with modification time and content."""
    return {
        str(path.relative_to(folder)): (
            path.stat().st_mtime_ns,
            path.read_bytes() if path.is_file() else b"",
        )
        for path in sorted(folder.rglob("*"))
    }


def stored(out: Path) -> dict[str, str]:
    """Digests of all that a store holds, but for its record, and when and of what it was made.

    The master of HDF5 and the metadata of Zarr go by what they say.
    """
    digests = {}
    for root in (out, Path(f"{out}.parts")):
        files = [root] if root.is_file() else sorted(root.rglob("*"))
        for path in files:
            if not path.is_file() or ".record" in path.parts:
                continue
            name = str(path.relative_to(out.parent)).replace(out.name, "out")
            if path == out:
                digests |= {f"{name}/{key}": value for key, value in _in_master(path).items()}
            else:
                name = re.sub(r"/[0-9a-f]{8}-(\d+\.h5)", r"/\1", name)
                digests[name] = digest_of(name, path.read_bytes())
    return digests


def digest_of(name: str, data: bytes) -> str:
    """The digest of a file, that of metadata without what tells one making from another."""
    if name.endswith("zarr.json"):
        return _digest(_without_origin(json.loads(data)))
    return hashlib.sha256(data).hexdigest()


ORIGIN = ("created", "fingerprint")


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _without_origin(metadata: dict[str, Any]) -> dict[str, Any]:
    attributes = {k: v for k, v in metadata["attributes"].items() if k not in ORIGIN}
    return metadata | {"attributes": attributes}


def _in_master(path: Path) -> dict[str, str]:
    """Digests of what an HDF5 file says: attributes, datasets, and which parts it shows."""
    with h5py.File(path) as file:
        found = {"attributes": _digest(_attributes(file))}
        for name, dataset in file.items():
            if name == "features" and dataset.is_virtual:
                values: Any = [
                    (source.file_name.split("-")[-1], str(source.vspace.get_select_bounds()))
                    for source in dataset.virtual_sources()
                ]
            else:
                values = hashlib.sha256(np.asarray(dataset[...]).tobytes()).hexdigest()
                if h5py.check_string_dtype(dataset.dtype):
                    values = dataset.asstr()[...].tolist()
            labels = [dim.label for dim in dataset.dims]
            said = [values, dataset.shape, str(dataset.dtype), labels, _attributes(dataset)]
            found[name] = _digest(said)
    return found


def _attributes(owner: Any) -> dict[str, str]:
    hidden = (*ORIGIN, "DIMENSION_LIST", "REFERENCE_LIST")  # of addresses in the file
    return {name: str(value) for name, value in owner.attrs.items() if name not in hidden}


def record_folder(out: Path) -> Path:
    return (out if out.suffix == ".zarr" else Path(f"{out}.parts")) / ".record"


def record_lines(out: Path) -> list[dict[str, Any]]:
    """All lines of a record, in order."""
    logs = sorted((record_folder(out) / "log").glob("*.jsonl"))
    return [json.loads(line) for log in logs for line in log.read_text().splitlines()]


def done_regions(out: Path) -> int:
    """How many regions a record says are done."""
    if not (record_folder(out) / "log").exists():
        return 0
    return len({line["region"] for line in record_lines(out) if line["kind"] == "done"})


def forget(out: Path) -> None:
    """Leave a store as of a job that was killed before its first region was recorded."""
    (record_folder(out) / "finished").unlink(missing_ok=True)
    for log in (record_folder(out) / "log").glob("*.jsonl"):
        made = [line for line in log.read_text().splitlines(True) if '"kind":"made"' in line]
        log.write_text("".join(made))


FEATURE = pl.Spectrogram(n_fft=64, frame_length=20, hop_length=50)
# A module with a feature that takes as long as the environment says.
SLOW = """
import os
import time

import numpy as np


class Slow:
    shape = (16,)  # so many that a region has 4096 windows
    frequencies = np.arange(16.0)
    times = None

    def __call__(self, windows):
        time.sleep(float(os.environ.get("SLOW", 0)))
        return windows[:, :16]
"""


@pytest.fixture
def sources(write_wav: Write) -> list[Path]:
    """Short files and a long one, of 2 kHz so that there are many windows."""
    short = [write_wav(f"{i}.wav", 0.2 + 0.3 * i, 2000, seed=i) for i in range(40)]
    return [*short, write_wav("long.flac", 700.3, 2000, seed=99)]


def planned(sources: Any, out: Path, feature: pl.Feature = FEATURE, **settings: Any) -> Plan:
    """A plan of many small regions."""
    plan = Plan.make(sources, out, feature, settings=Settings(**settings))
    layout = dataclasses.replace(plan.layout, chunk=4, shard=16, region=64)
    return dataclasses.replace(plan, layout=layout)


def features_of(path: Path) -> np.ndarray[Any, Any]:
    return np.concatenate([X for X, _ in pl.Batches(path)])


class Sequential(soundfile.SoundFile):
    """The oracle: decodes from the first sample on and never seeks."""

    def seekable(self) -> bool:
        return False


def decode(path: Path) -> Samples:
    """The whole file, decoded from its start without a seek."""
    pieces = []
    with Sequential(path) as file:
        while len(piece := file.read(44100, dtype="float32", always_2d=True)):
            pieces.append(piece)
    samples = np.concatenate(pieces)
    if path.suffix in (".ogg", ".opus"):  # denormals depend on the decoder's past
        samples[np.abs(samples) < TINY] = 0
    return samples


def read(path: Path, start: int, stop: int) -> Samples:
    reader = open_reader(path)
    try:
        return reader.read(start, stop)
    finally:
        reader.close()


def read_all(path: Path) -> Samples:
    return read(path, 0, probe(path).n_samples)


def sound(seconds: float, samplerate: int, channels: int) -> npt.NDArray[np.float64]:
    """Noise and a different tone in each channel, with a quiet and a silent stretch."""
    rng = np.random.default_rng(samplerate + channels)
    seconds_from_start = np.arange(round(seconds * samplerate))[:, None] / samplerate
    tones = np.sin(2 * np.pi * 300 * (1 + np.arange(channels)) * seconds_from_start)
    samples = 0.3 * tones + 0.05 * rng.standard_normal(tones.shape)
    third = len(samples) // 3
    samples[third : third + third // 4] *= 1e-4
    samples[2 * third : 2 * third + third // 4] = 0
    return samples


def loaded(code: str, cwd: Path | None = None) -> set[str]:
    """The modules that a new process of Python has loaded when it has run some code."""
    command = [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def wait_until(condition: Callable[[], bool]) -> bool:
    """Threads that feed a pipe end a little after the pipe is closed."""
    until = time.monotonic() + 10
    while not condition() and time.monotonic() < until:
        time.sleep(0.01)
    return condition()


def write_sound(
    folder: Path, name: str, subtype: str, rate: int, channels: int, seconds: float
) -> Path:
    path, samples, kind = folder / name, sound(seconds, rate, channels), None
    if subtype == "OPUS":  # silence after sound is what its decoder remembers longest
        samples[np.arange(len(samples)) // rate % 7 > 0] = 0
        kind = "OGG"
    soundfile.write(path, samples, rate, subtype, format=kind)
    return path


def mp3_frames(data: bytes) -> list[int]:
    """Where each MPEG-1 or MPEG-2 layer III frame begins, and where the last ends."""
    one = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
    two = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
    places = [0]
    while (at := places[-1]) + 4 <= len(data) and data[at] == 0xFF:
        version = (data[at + 1] >> 3) & 3  # 3 is MPEG-1, 2 MPEG-2
        kbits = (one if version == 3 else two)[data[at + 2] >> 4]
        rate = (44100, 48000, 32000)[(data[at + 2] >> 2) & 3] // (4 - version)
        padding = (data[at + 2] >> 1) & 1
        places.append(at + (144 if version == 3 else 72) * kbits * 1000 // rate + padding)
    return places


def save_npy(path: Path, values: npt.NDArray[Any]) -> Path:
    np.save(path.with_suffix(".npy"), values)
    return path.with_suffix(".npy")


def save_hdf5(path: Path, values: npt.NDArray[Any], rate: Any = 250.0) -> Path:
    with h5py.File(path.with_suffix(".h5"), "w") as file:
        file["audio"] = values
        if rate is not None:
            file["audio"].attrs["sampling_rate"] = rate
    return path.with_suffix(".h5")


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The figures that were saved."""
    from matplotlib.figure import Figure

    figures: list[Figure] = []
    save = Figure.savefig

    def keep(self: Figure, *arguments: Any, **options: Any) -> None:
        save(self, *arguments, **options)
        figures.append(self)

    monkeypatch.setattr(Figure, "savefig", keep)
    return figures
