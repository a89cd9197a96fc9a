"""The examples in the help of the verbs: shown as they are, in order, and they run."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import numpy as np
import pytest
import soundfile
from conftest import SHIPPED, Cli

from pipeline.cli import commands
from pipeline.examples import EXAMPLES

VERBS = [*commands.commands]


def typed(verb: str) -> list[str]:
    """The words of an example, without the name of the program."""
    return shlex.split("\n".join(EXAMPLES[verb]).replace("\\\n", ""))[1:]


def test_each_verb_has_an_example_in_the_order_of_a_jobs_life(cli: Cli) -> None:
    listed = re.findall(r"^  ([a-z]+)  ", cli("--help").out, re.MULTILINE)
    assert listed == VERBS == [*EXAMPLES]


@pytest.mark.parametrize("verb", VERBS)
def test_an_example_is_one_line_or_two_and_shown_as_it_is_typed(cli: Cli, verb: str) -> None:
    lines = EXAMPLES[verb]
    assert 1 <= len(lines) <= 2
    assert max(map(len, lines)) <= 88
    assert "Example:\n" + "".join(f"  {line}\n" for line in lines) in cli(verb, "--help").out


@pytest.mark.parametrize("verb", VERBS)
def test_an_example_has_options_of_the_verb(verb: str) -> None:
    name, *words = typed(verb)
    assert name == verb
    with commands.commands[verb].make_context(verb, words) as context:
        assert isinstance(context, click.Context)


def test_the_examples_run_one_after_the_other(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "recordings").mkdir()
    (tmp_path / "annotations").mkdir()
    (tmp_path / "cluster.yaml").write_bytes(SHIPPED.read_bytes())
    rng = np.random.default_rng(0)
    for name in "abcdefgh":
        soundfile.write(tmp_path / "recordings" / f"{name}.wav", rng.normal(0, 0.1, 32000), 16000)
        (tmp_path / "annotations" / f"{name}.txt").write_text("0.5\t1.5\towl\n")
    made = cli("extract", "recordings", "--out", "features.h5", "--n-fft", 64, "--quiet")
    assert made.code == 0
    for verb in VERBS:
        shown = cli(*typed(verb))
        assert shown.code == 0, f"{verb}: {shown.err}"
    assert (tmp_path / "one-file.h5").exists()
    assert (tmp_path / "window.png").read_bytes().startswith(b"\x89PNG")
