"""A feature is known again by its name, its parameters and its code, in any process."""

from __future__ import annotations

import dataclasses
import enum
import functools
import json
import linecache
import os
import re
import subprocess
import sys
import threading
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import Ended, start
from conftest import Cli, Write, record_folder

import pipeline as pl
import pipeline.job.execution
from pipeline.features import Code, identify
from pipeline.features.plain_values import UnknownError, plain
from pipeline.features.registry import FEATURES
from pipeline.job.plan import Plan
from pipeline.job.regions import Failure, run_region
from pipeline.store import new_store

# A feature that fails in the last region until it may go on.
MODULE = """
import dataclasses, os
import numpy as np

@dataclasses.dataclass(frozen=True)
class Base:
    gain: float = 1.0
    shape, frequencies, times = (64,), None, np.arange(64.0)

    def __call__(self, windows):
        if os.path.exists("stop") and len(windows) % 1024:
            raise RuntimeError("not yet")
        return np.full((len(windows), 64), 1.0 * self.gain)
"""
SCRIPT = """
import os, sys
import numpy as np
import pipeline as pl

class Words:
    shape, frequencies, times = (64,), None, np.arange(64.0)

    def __init__(self, words):
        self.words = words

    def __call__(self, windows):
        if os.path.exists("stop") and len(windows) % 1024:
            raise RuntimeError("not yet")
        return np.full((len(windows), 64), float(len(self.words)))

if __name__ == "__main__":
    feature = Words({"wren", "robin", "tit", "crow", "owl"})
    report = pl.extract("a.wav", "x.zarr", feature, window=0.004)
    print(report.computed, report.regions, len(report.failed))
"""


@pytest.fixture
def folder(tmp_path: Path, write_wav: Write, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with a recording of several regions."""
    write_wav("a.wav", 36, 2000)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def command(
    *arguments: str, seed: int = 0, text: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Python in a process of its own."""
    found = os.environ | {"PYTHONHASHSEED": str(seed), "PYTHONDONTWRITEBYTECODE": "1"}
    called = [sys.executable, *arguments]
    return subprocess.run(
        called, env=found, input=text, capture_output=True, text=True, timeout=100
    )


def extract(*more: str) -> Ended:
    job = "extract a.wav --out x.zarr --window 0.004 --feature mine:Base --retries 0"
    return start(
        *job.split(), *more, cwd=Path.cwd(), before="sys.dont_write_bytecode = True"
    ).wait()


def interrupted(text: str) -> None:
    """Begin a job of `mine.py`, of which the last region fails."""
    Path("mine.py").write_text(text)
    Path("stop").touch()
    ended = extract()
    assert "failed: region" in ended.err, ended.err
    assert ended.code == 1
    Path("stop").unlink()


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    "change", [("1.0 * self", "2.0 * self"), ("return", "# why\n        return")]
)
def test_a_feature_whose_code_was_changed_is_refused(change: tuple[str, str]) -> None:
    interrupted(MODULE)
    Path("mine.py").write_text(MODULE.replace(*change))
    ended = extract()
    assert ended.code == 2
    said = r"the code of the feature mine:Base was changed \(its source was \w{8}, and is now \w{8}"
    assert re.search(said, ended.err), ended.err
    assert ended.err.count("\n") == 1
    Path("mine.py").write_text(MODULE)
    assert extract().code == 0


@pytest.mark.usefixtures("folder")
def test_a_version_stands_for_the_code() -> None:
    versioned = MODULE.replace("    gain:", "    version = 3\n    gain:")
    interrupted(versioned)
    Path("mine.py").write_text("# another word\n" + versioned)
    assert extract("--quiet") == Ended(0, "", "")
    Path("mine.py").write_text(versioned.replace("version = 3", "version = 4"))
    assert "(its version was 3, and is now 4)" in extract().err
    Path("mine.py").write_text(versioned.replace("gain: float = 1.0", "gain: float = 2.0"))
    assert "gain was 1.0, and is now 2.0" in extract().err


@pytest.mark.usefixtures("folder")
def test_a_script_goes_on_under_any_seed_and_name() -> None:
    Path("one.py").write_text(SCRIPT)
    Path("stop").touch()
    began = command("one.py")
    assert began.stdout.split()[2] == "1", began.stderr
    job = json.loads((record_folder(Path("x.zarr")) / "job.json").read_text())
    assert job["identity"]["feature"]["name"] == "__main__:Words"
    Path("stop").unlink()
    (Path("x.zarr").parent / "one.py").rename("two.py")
    ended = command("two.py", seed=1)
    assert ended.stdout.split()[0] == "1", ended.stderr
    assert command("two.py", seed=2).stdout.split()[0] == "0"


@pytest.mark.usefixtures("folder")
def test_what_was_typed_in_has_no_source_and_needs_a_version() -> None:
    for line, code in (("", 1), ("    version = '1'\n", 0)):
        ended = command("-", text=SCRIPT.replace("    shape,", line + "    shape,"))
        assert ended.returncode == code
        if code:
            assert "source of the feature __main__:Words cannot be had" in ended.stderr
            assert "give it an attribute version" in ended.stderr


def test_the_class_of_a_notebook_is_known_by_its_own_text() -> None:
    def cell(text: str, name: str) -> Any:
        """As IPython runs one."""
        linecache.cache[name] = (len(text), None, text.splitlines(True), name)
        module = types.ModuleType("notebook_main")
        sys.modules["notebook_main"] = module
        exec(compile(text, name, "exec"), module.__dict__)
        return module.Own()

    text = (
        "x = 1\n@staticmethod\ndef f(): pass\nclass Own:\n    shape, frequencies, times = (1,), "
        "[0], None\n    def __call__(self, windows):\n        return windows[:, :1]\nprint()\n"
    )
    one = identify(cell(text, "<ipython-input-1>")).code
    other_cell = identify(cell(text.replace("x = 1", "y = 2"), "<ipython-input-2>")).code
    other_class = identify(cell(text.replace(":1]", ":1] * 2"), "<ipython-input-3>")).code
    assert one.by == "source"
    assert one == other_cell != other_class


def test_a_feature_of_ours_is_known_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    before = identify(pl.Spectrogram(hop_length=10, samplerate=8000)).as_dict()
    parameters = {"hop_length": 10, "samplerate": 8000}
    assert before == {"name": "spectrogram", "parameters": parameters, "code": ("package", "")}

    @dataclasses.dataclass(frozen=True)
    class Later(pl.Spectrogram):
        output: str = "log"

    monkeypatch.setitem(FEATURES, "spectrogram", Later)
    assert identify(Later(hop_length=10, samplerate=8000)).as_dict() == before
    assert identify(Later(hop_length=10, samplerate=8000, output="db")).as_dict() != before


def test_what_is_ours_is_known_by_its_wing_whose_files_may_move() -> None:
    (name,) = plain(pl.Spectrogram())
    assert name == "pipeline.features:Spectrogram"
    assert plain(pl.WindowGrid) == {"code": "pipeline.grid:WindowGrid"}


def test_equal_parameters_are_known_alike() -> None:
    given = pl.Spectrogram(n_fft=np.int64(256), log_offset=1, normalize=1)  # type: ignore[arg-type]
    same = pl.Spectrogram(n_fft=256, log_offset=1.0)
    assert identify(given).as_dict() == identify(same).as_dict()


def test_settings_as_they_are_by_default_are_not_in_the_identity(write_wav: Write) -> None:
    source = write_wav("a.wav", 2)
    plan = Plan.make(source, "x.zarr", pl.Spectrogram())
    assert plan.identity["settings"] == {}
    other = Plan.make(source, "x.zarr", pl.Spectrogram(), settings=pl.Settings(window=0.5))
    assert other.identity["settings"] == {"window": 0.5}


def test_info_says_what_the_feature_was(cli: Cli, write_wav: Write) -> None:
    write_wav("a.wav", 2)
    cli("extract", "a.wav", "--out", "x.zarr", "--hop-length", 10)
    found = json.loads(cli("info", "x.zarr", "--json").out)
    assert found["settings"]["hop"] == 1.0
    assert found["feature"]["name"] == "spectrogram"
    assert found["feature"]["parameters"]["n_fft"] == 512
    assert found["feature"]["parameters"]["hop_length"] == 10
    pl.extract("a.wav", "y.zarr", Own({"b", "a"}))
    shown = cli("info", "y.zarr").out
    (line,) = [line for line in shown.splitlines() if line.startswith("feature")]
    assert "test_identity:Own" in line
    assert re.search(r"source: \w{8}$", line)
    assert "set: a, b" in line


class Own:
    shape, frequencies, times = (1,), np.zeros(1), None

    def __init__(self, value: Any) -> None:
        self.value = value

    def __call__(self, windows: Any, /) -> Any:
        return windows[:, :1]


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


class Lazy:
    def __init__(self, value: int) -> None:
        self.value = value

    @functools.cached_property
    def twice(self) -> int:
        return 2 * self.value


@dataclasses.dataclass
class Parts:
    value: Any = 0


def ring() -> list[Any]:
    values: list[Any] = []
    values.append(values)
    return values


DIFFERENT = [
    *(None, 0, 1, 1.0, 0.0, -0.0, float("nan"), float("inf"), True, "1", "nan", b"1", 1j),
    *([1], [1, [2]], {1}, {1: 2}, {"1": 2}, Path("1"), Colour.RED, Colour.BLUE, np.float32(1)),
    *(np.float64(1), np.arange(3), np.arange(3.0), np.zeros((3, 1)), np.array([None, "x"])),
    *(np.mean, len, Own, np.add, Parts(1), Parts(2), Parts([Parts(1)]), Lazy(1), Lazy(2)),
]


def test_values_that_differ_are_told_apart_and_equal_ones_are_not() -> None:
    texts = [json.dumps(plain(value), sort_keys=True, allow_nan=False) for value in DIFFERENT]
    assert len(set(texts)) == len(texts)
    lazy = Lazy(1)
    assert lazy.twice == 2
    assert plain(lazy) == plain(Lazy(1))
    assert plain({"b": 1, "a": 2}) == plain({"a": 2, "b": 1})
    assert plain(np.array([None, "x"])) == plain(np.array([None, "x"]))


@pytest.mark.parametrize(
    "make",
    [
        *(ring, threading.Lock, lambda: lambda: 0, lambda: [].append, lambda: Own(0).__call__),
        *(lambda: functools.partial(len), object, lambda: np.ma.masked_array([1])),
    ],
)
def test_a_value_that_nothing_is_known_by_needs_a_version(make: Callable[[], Any]) -> None:
    value = make()
    with pytest.raises(UnknownError):
        plain(value)
    feature = Own(value)
    with pytest.raises(
        ValueError, match=r"^of the feature \S+Own, value is or holds .* version, a"
    ):
        identify(feature)
    feature.version = 7  # type: ignore[attr-defined]
    assert identify(feature).code == Code("version", 7)
    feature.version = 7.5  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match=r"Own is 7\.5; it must be a text or a whole number"):
        identify(feature)


def test_a_feature_may_be_a_function_or_an_object_that_pickles_itself() -> None:
    def mean(windows: Any) -> Any:
        return windows.mean(axis=1, keepdims=True)

    for name, value in {"shape": (1,), "frequencies": np.zeros(1), "times": None}.items():
        setattr(mean, name, value)
    found = identify(mean)  # type: ignore[arg-type]
    assert found.code.by == "source"
    assert found.parameters["shape"] == [1]

    class Reduced(Own):
        def __reduce__(self) -> tuple[Any, ...]:
            return Reduced, (self.value,)

    with pytest.raises(ValueError, match=r"Reduced, it is or holds a Reduced, .* version"):
        identify(Reduced(1))
    Reduced.version = "1"  # type: ignore[attr-defined]
    assert identify(Reduced(1)).as_dict()["code"] == ("version", "1")


def test_other_code_on_a_worker_ends_the_job(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "afield.py").write_text(MODULE)
    monkeypatch.syspath_prepend(folder)
    import afield  # type: ignore[import-not-found]

    plan = Plan.make("a.wav", "x.zarr", afield.Base())
    task = pipeline.job.execution._task(plan, new_store(plan.out), 0)
    (folder / "afield.py").write_text(MODULE + "# edited while it is in use\n")
    again = Plan.make("a.wav", "x.zarr", afield.Base())
    assert again.feature_identity == plan.feature_identity
    found = run_region(dataclasses.replace(task, code=Code("source", "ab12cd34" * 8)))
    assert isinstance(found, Failure)
    assert found.fatal
    assert "has other code of the feature afield:Base: source " in found.reason
    assert "where the client has source ab12cd34; install the same everywhere" in found.reason
