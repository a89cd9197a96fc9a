"""The parameters of each feature are options of the command line, and its help shows them."""

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import Cli, Write, features_of

import pipeline as pl
from pipeline.features import FEATURES

BOUND = {"samplerate", "window"}


@pytest.mark.parametrize("name", FEATURES)
def test_help_shows_every_parameter_of_a_feature_with_its_default(cli: Cli, name: str) -> None:
    shown = cli("plan", "--feature", name, "--help").out
    section = shown[shown.index("\nFeature:") : shown.index("\nStore:")]
    # Each option up to the next one.
    texts = dict(re.findall(r"^  --([\w-]+) [^ ].*?\n?((?:.*\n)+?)(?=^  --|\Z)", section, re.M))
    for field in dataclasses.fields(FEATURES[name]):
        if field.name in BOUND:
            continue
        text = " ".join(texts[field.name.replace("_", "-")].split())
        assert "Of the feature" not in text, f"{field.name} is not documented"
        says = "given" if field.default is None else "Default: "
        if field.default is dataclasses.MISSING:
            continue
        assert says in text or "Default: none" in text, (field.name, text)
    assert "--window" in shown  # the options of the job are there as well


def test_presets_are_what_a_tool_has_and_parameters_override_them(
    cli: Cli, write_wav: Write
) -> None:
    write_wav("a.wav", 2, samplerate=16000)
    flags = ["--feature", "melspectrogram", "--preset", "kaldi", "--n-mels", "40"]
    planned = json.loads(cli("plan", "a.wav", "--out", "x.zarr", *flags, "--json").out)
    assert planned["shape"] == [2, 40, 100]
    parameters = planned["feature"]["parameters"]
    assert parameters["taper"] == "povey"
    assert parameters["preemphasis"] == 0.97
    assert cli("extract", "a.wav", "--out", "x.zarr", *flags).code == 0
    assert json.loads(cli("info", "x.zarr", "--json").out)["feature"]["parameters"] == parameters
    Path("run.yaml").write_text(
        "feature: {name: melspectrogram, preset: kaldi, n_mels: 40}\nsources: a.wav\nout: y.zarr"
    )
    assert cli("extract", "--config", "run.yaml").code == 0
    np.testing.assert_array_equal(features_of(Path("y.zarr")), features_of(Path("x.zarr")))
    feature = pl.MelSpectrogram.preset("kaldi", n_mels=40)
    pl.extract("a.wav", "z.zarr", feature)
    np.testing.assert_array_equal(features_of(Path("z.zarr")), features_of(Path("x.zarr")))
    shown = " ".join(cli("plan", *flags[:4], "--help").out.split())
    assert 'or "povey" of Kaldi. Default: "povey".' in shown
    refused = cli("plan", "a.wav", "--out", "w.zarr", *flags[:3], "kaldy")
    assert (refused.code, "did you mean 'kaldi'?" in refused.err) == (2, True)


def test_parameters_of_ones_own_feature_are_options_too(
    cli: Cli, write_wav: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "loudness.py").write_text('''
import dataclasses
import numpy as np

@dataclasses.dataclass(frozen=True)
class Loudest:
    """The loudest sample.

    Parameters
    ----------
    loudness_gain : float
        Multiplies the samples. There is more to it.
    """

    loudness_gain: float = 1.0
    shape = axes = ()

    def __call__(self, windows):
        return self.loudness_gain * np.abs(windows).max(axis=1)
''')
    monkeypatch.syspath_prepend(tmp_path)
    source = write_wav("a.wav", 2)
    own = ["--feature", "loudness:Loudest"]
    shown = cli("extract", *own, "--help").out
    assert "--loudness-gain VALUE Multiplies the samples. Default: 1.0." in " ".join(shown.split())
    assert "--n-fft" not in shown
    assert cli("extract", source, "--out", "x.zarr", *own, "--loudness-gain=2").code == 0
    samples = soundfile.read(source, dtype="float32")[0].reshape(2, 8000)
    np.testing.assert_array_equal(features_of(Path("x.zarr")), 2 * np.abs(samples).max(axis=1))
    refused = cli("extract", source, "--out", "y.zarr", *own, "--n-fft", "64")
    assert (refused.code, "No such option" in refused.err) == (2, True)
