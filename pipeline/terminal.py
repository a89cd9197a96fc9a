"""The terminal: how the command line prints results, errors and progress."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from pipeline.text import printable, value_text

if TYPE_CHECKING:
    from pipeline.job import Progress

FILES_BAR = "{n_fmt} of {total_fmt} files looked at, {remaining} left"
WINDOWS_BAR = "{n_fmt} of {total_fmt} windows read, {remaining} left"
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
def looking_bar(
    quiet: bool = False, bar_format: str = FILES_BAR
) -> Iterator[Callable[[int, int], None]]:
    """A count of the files looked at, on a terminal, where that takes more than a second."""
    from tqdm import tqdm

    hidden = True if quiet else None  # by None, only where there is no terminal
    with tqdm(disable=hidden, delay=1, leave=False, bar_format=bar_format, file=sys.stderr) as bar:

        def show(done: int, total: int) -> None:
            if not bar.disable:
                bar.total = total
                bar.update(done - bar.n)

        yield show


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
