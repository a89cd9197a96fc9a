"""The page: a report as one file of HTML, which needs nothing else."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pipeline.amounts import count, duration, moment, share, size, value
from pipeline.reports.charts import (
    coverage_chart,
    histogram_chart,
    level_chart,
    pace_chart,
    states_chart,
)
from pipeline.reports.window_states import STATES
from pipeline.text import printable, shortened, value_text

MOST_BYTES = 5_000_000
LETTERS = 80  # of a name
EMBEDDED = "png", "sound"  # files, of which all letters are known
LONGEST = 1000  # letters of a value of the settings
SECTIONS = {
    "what": "What it is",
    "coverage": "Coverage in time",
    "windows": "Windows and recordings",
    "labels": "Classes",
    "pictures": "Pictures",
    "values": "Values and levels",
    "failures": "What failed",
    "speed": "Throughput",
    "settings": "How it was made",
    "open": "How to open it",
}


def page_of(report: Mapping[str, Any]) -> str:
    """The page of a report; where it would be 5 MB or more, with less in it, and saying so."""
    shown, notes = _printable(report), dict[str, None]()
    text = _render(shown, notes)
    while len(text.encode()) >= MOST_BYTES:
        before, (shown, note) = shown, _smaller(shown)
        if shown == before:  # there is nothing more that could be left out
            break
        notes[note] = None
        text = _render(shown, notes)
    return text


def _render(report: Mapping[str, Any], notes: Iterable[str]) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("pipeline.reports"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    written = (count, duration, moment, share, size, value)
    environment.filters |= {function.__name__: function for function in written}
    environment.filters |= {"name": _name, "file": _file, "plain": _plain}
    script = environment.get_template("page.js").render()
    digest = b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.get_template("page.html").render(
        r=report,
        notes=notes,
        sections=SECTIONS.items(),
        states=STATES,
        seconds=report["windows"]["total"] * min(report["window"], report["hop"]),
        sounds=any(item["sound"] for item in _pictures(report)),
        charts=dict(_charts(report)),
        style=environment.get_template("page.css").render(),
        script=script,
        script_digest=f"sha256-{digest}",
    )


def _charts(report: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    coverage, throughput = report["coverage"], report["throughput"]
    yield "states", states_chart(report["windows"], STATES)
    if coverage and coverage["rows"]:
        yield "coverage", coverage_chart(coverage)
    if report["values"]:
        yield "histogram", histogram_chart(report["values"])
        yield "level", level_chart(report["level"])
    if throughput and throughput["timeline"]:
        yield "pace", pace_chart(throughput["timeline"])


def _pictures(report: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [*report["pictures"]["classes"], *report["pictures"]["recordings"]]


def _smaller(report: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """A report with less in it, and what was left out of it."""
    pictures, failures = report["pictures"], report["failures"]
    kinds = "classes", "recordings"
    if any(item["sound"] for item in _pictures(report)):
        silent = {kind: [{**item, "sound": None} for item in pictures[kind]] for kind in kinds}
        return {**report, "pictures": pictures | silent}, "Sounds are left out, as they are large."
    fewer: dict[str, Any] = {kind: pictures[kind][: len(pictures[kind]) // 2] for kind in kinds}
    cut = {
        name: [
            {**item, "trace": ""} if "trace" in item else item for item in some[: len(some) // 2]
        ]
        for name, some in failures.items()
        if isinstance(some, list)
    }
    rows = report["recordings"]["rows"]
    less = {
        "pictures": pictures | fewer,
        "failures": failures | cut,
        "recordings": report["recordings"] | {"rows": rows[: len(rows) // 2]},
    }
    return {**report, **less}, "Some of what was found is left out, as the page would be too large."


def _printable(value: Any) -> Any:
    """The same plain values, their texts without characters that a page cannot have."""
    if isinstance(value, str):
        return "\n".join(map(printable, value.split("\n")))
    if isinstance(value, list):
        return [*map(_printable, value)]
    if isinstance(value, dict):
        return {
            _printable(key): item if key in EMBEDDED else _printable(item)
            for key, item in value.items()
        }
    return value


def _name(text: str) -> str:
    return shortened(text, LETTERS)


def _file(path: str) -> str:
    return _name(path.rstrip("/").rpartition("/")[2] or path)


def _plain(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Plain values as pairs of text."""
    return [(name, shortened(value_text(name, value), LONGEST)) for name, value in values.items()]
