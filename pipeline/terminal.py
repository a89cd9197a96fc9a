"""The terminal: how the command line prints results, errors and progress."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

import click

from pipeline.steps import Step, Steps
from pipeline.text import printable, value_text

if TYPE_CHECKING:
    from tqdm import tqdm

    from pipeline.job import Progress

STEP_BAR, COUNT = "{n_fmt} of {total_fmt} ..., {remaining} left", "{n_fmt} ..."
JOB_BAR = "{percentage:3.0f}%|{bar:20}| {n_fmt} of {total_fmt} windows{postfix}, {remaining} left"


def say(line: str, to_stderr: bool = False) -> None:
    """Print a line, its control characters shown and not obeyed."""
    click.echo(printable(line), err=to_stderr)


def say_values(values: dict[str, Any], as_json: bool) -> None:
    """Print values one below the other, or as JSON."""
    if as_json:
        click.echo(json.dumps(values, indent=2))
        return
    width = max(map(len, values))
    for name, value in values.items():
        say(f"{name:<{width}}  {value_text(name, value)}")


def say_status(values: dict[str, Any], as_json: bool) -> None:
    """Print what `status` found: numbers, then a line for each share, failure and bad recording."""
    if as_json:
        say_values(values, as_json)
        return
    lists = {name: values.pop(name) for name in ("shares", "failed", "masked", "unreadable")}
    say_values(values | {name: len(items) for name, items in lists.items()}, as_json=False)
    for item in lists["shares"]:
        say(
            f"share {item['share']}: {item['done']} of {item['regions']} regions done, "
            f"{item['holder']} at work"
        )
    for item in lists["failed"]:
        say(f"failed: region {item['region']}: {item['reason']}")
    for item in lists["masked"]:
        start, stop = item["windows"]
        say(f"masked: windows {start} to {stop - 1}: {item['path']}: {item['reason']}")
    for path, reason in lists["unreadable"].items():
        say(f"not read: {path}: {reason}")
    if values["damaged_lines"]:
        say("damaged: the record itself, of which verify says more")


@contextmanager
def step_bars(quiet: bool = False) -> Iterator[Steps]:
    """Counts of steps, one after the other, on a terminal, where one takes more than a second."""
    bars = _StepBars(quiet)
    try:
        yield bars.step
    finally:
        bars.close()


class _StepBars:
    """The bar of the step that is under way."""

    def __init__(self, quiet: bool) -> None:
        self._hidden = True if quiet else None  # by None, only where there is no terminal
        self._bar: tqdm[NoReturn] | None = None
        self._counted = ""

    def step(self, counted: str) -> Step:
        """Shows how far a step is."""
        return partial(self._show, counted)

    def _show(self, counted: str, done: int, total: int = 0) -> None:
        if self._bar is None or counted != self._counted:
            self.close()
            self._bar, self._counted = self._begun(counted, total), counted
        self._bar.total = total or None
        self._bar.update(done - self._bar.n)

    def _begun(self, counted: str, total: int) -> tqdm[NoReturn]:
        from tqdm import tqdm

        return tqdm(
            disable=self._hidden,
            delay=1,
            leave=False,
            unit_scale=counted.startswith("bytes"),
            bar_format=(STEP_BAR if total else COUNT).replace("...", counted),
            file=sys.stderr,
        )

    def close(self) -> None:
        """Remove it."""
        if self._bar is not None:
            self._bar.close()


@contextmanager
def progress_bar(quiet: bool = False, hop: float = 1.0) -> Iterator[Callable[[Progress], None]]:
    """A progress bar on a terminal, nothing elsewhere; `hop` is seconds between windows."""
    from tqdm import tqdm

    hidden = True if quiet else None
    with tqdm(unit="window", disable=hidden, bar_format=JOB_BAR, file=sys.stderr) as bar:
        began: list[float] = []

        def show(state: Progress) -> None:
            if bar.disable:
                return
            if not began:  # the first call says what earlier runs have done
                bar.total, bar.initial = state.n_windows, state.windows
                began.append(time.monotonic())
            bar.update(state.windows - bar.n)
            rate = (bar.n - bar.initial) / max(1e-9, time.monotonic() - began[0])
            bar.set_postfix_str(
                f"{state.regions} of {state.n_regions} regions, {rate:.0f} windows/s, "
                f"{rate * hop:.0f} times real time"
            )

        yield show


def notice_above_bar(line: str) -> None:
    """Print a line to standard error, above a bar that is drawn there."""
    from tqdm import tqdm

    tqdm.write(line, file=sys.stderr)
