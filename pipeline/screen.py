"""The screen: looks at a job that runs, drawn in place on a terminal, or as one line each."""

from __future__ import annotations

import json
import math
import shutil
import sys
from collections.abc import Iterable
from typing import Any

import click

from pipeline.text import printable

BAR_WIDTH, BESIDE_BAR = 30, 40
HOSTS_SHOWN = 20
UP_AND_CLEAR = "\x1b[{}F\x1b[J"  # to the start of a line above, and nothing from there on


def show_looks(looks: Iterable[dict[str, Any]], as_json: bool) -> None:
    """Show each look as it comes: as JSON, over the last one on a terminal, or as a line."""
    screen = _Screen()
    for look in looks:
        if as_json:
            click.echo(json.dumps(look))
        elif sys.stdout.isatty():
            screen.draw(look)
        else:
            click.echo(line_of(look))


class _Screen:
    """Draws on the lines that it drew on before, which the terminal may have broken since."""

    def __init__(self) -> None:
        self._lengths: list[int] = []  # of the lines that are there

    def draw(self, look: dict[str, Any]) -> None:
        """Draw a look in place of the last one."""
        from tqdm.utils import disp_len

        width, height = shutil.get_terminal_size()
        rows = sum(max(1, math.ceil(length / width)) for length in self._lengths)
        lines = lines_of(look, width)[: height - 1]
        click.echo((UP_AND_CLEAR.format(rows) if rows else "") + "\n".join(lines))
        self._lengths = [disp_len(line) for line in lines]


def lines_of(look: dict[str, Any], width: int) -> list[str]:
    """A look as lines that fit a terminal: how far the job is, who is at work, what failed."""
    from tqdm.utils import disp_trim

    lines = [
        f"{look['path']}: {_state(look)}",
        f"{_bar(look, width)} {_regions(look)}",
        _speed(look),
        *map(_share, look["shares"]),
        *_hosts(look["hosts"]),
        *_failures(look),
    ]
    return [disp_trim(printable(line), width - 1) for line in lines if line]


def line_of(look: dict[str, Any]) -> str:
    """A look as one line."""
    failed = f"{look['failed']:,} failed" if look["failed"] else ""
    parts = look["time"], _regions(look), _speed(look), failed, _state(look)
    return ", ".join(filter(None, parts))


def _state(look: dict[str, Any]) -> str:
    if look["finished"]:
        return "finished"
    if not look["running"]:
        return "nobody is at work"
    first, *others = look["running"]
    return f"{first}{f' and {len(others):,} more' if others else ''} at work"


def _bar(look: dict[str, Any], width: int) -> str:
    from tqdm import tqdm

    length = max(4, min(BAR_WIDTH, width - BESIDE_BAR))
    return tqdm.format_meter(
        look["windows_done"],
        look["windows"],
        elapsed=0,
        ascii="utf" not in sys.stdout.encoding.lower(),
        bar_format=f"{{percentage:.1f}}%|{{bar:{length}}}|",
    )


def _regions(look: dict[str, Any]) -> str:
    return f"{look['done']:,} of {look['regions']:,} regions"


def _speed(look: dict[str, Any]) -> str:
    if look["seconds_left"] is None:
        return "" if look["finished"] else "time left is not known"
    return (
        f"{look['windows_per_second']:,.0f} windows/s, {look['times_real_time']:,.0f} times real "
        f"time, {_time(look['seconds_left'])} left"
    )


def _time(seconds: float) -> str:
    from tqdm import tqdm

    return tqdm.format_interval(seconds)


def _share(item: dict[str, Any]) -> str:
    return f"share {item['share']}: {_regions(item)}, {item['holder']}"


def _hosts(hosts: list[dict[str, Any]]) -> list[str]:
    if not hosts:
        return []
    width = max(len(host["host"]) for host in hosts)
    lines = [
        f"{host['host']:<{width}} {host['done']:>9,} regions {host['windows_per_second']:>9,.0f} "
        f"windows/s, seen {_time(host['seconds_ago'])} ago"
        for host in hosts[:HOSTS_SHOWN]
    ]
    more = len(hosts) - len(lines)
    return [*lines, f"and {more:,} hosts more"] if more else lines


def _failures(look: dict[str, Any]) -> list[str]:
    found = [f"region {item['region']}: {item['reason']}" for item in look["last_failed"]]
    return [f"failed: {look['failed']:,} regions, the last of them:", *found] if found else []
